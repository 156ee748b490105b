/**
 * Compares what goes over the wire with the published description: address, method, status, headers, media types, bodies, and each event of a
 * stream. Says in sentences what does not fit. A request has to fit only where it was accepted.
 */
import { gunzipSync } from 'node:zlib'
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import {
  resolve,
  type ApiDocument,
  type ApiResponse,
  type Header,
  type MediaType,
  type Operation,
  type Parameter,
} from './document.ts'
import type { ObservedExchange } from './exchange.ts'

export interface TrafficJudge {
  /** Empty when all fits. */
  judge(exchange: ObservedExchange): Promise<readonly string[]>
  /** One message of a socket. */
  judgeMessage(path: string, by: 'client' | 'server', text: string): readonly string[]
  /** What was judged so far: `POST /v1/files 200 application/json`. */
  readonly seen: ReadonlySet<string>
}

/** Of the platform, and not of the API. */
const outside: ReadonlySet<string> = new Set([
  '/health',
  '/ready',
  '/.well-known/colonnade/receipt-keys.json',
])
/** Of HTTP itself, and of browsers. */
const transportHeaders =
  /^(date|connection|keep-alive|content-length|content-type|transfer-encoding|vary|access-control-.*)$/
const complaintsMax = 3
const errorReference = '#/components/schemas/Error'

type Complain = (what: string) => void

export function createTrafficJudge(document: ApiDocument): TrafficJudge {
  const seen = new Set<string>()
  const { validate, validateText } = createValidators(document)
  const findPath = createPathFinder(Object.keys(document.paths))

  const judgeHeaders = (
    { headers }: ObservedExchange,
    response: ApiResponse,
    complain: Complain,
  ): void => {
    for (const [name, described] of Object.entries(response.headers)) {
      const { required, schema } = resolve<Header>(document, described)
      const value = headers[name]
      if (value === undefined) {
        if (required) complain(`the header ${name} is missing`)
      } else {
        for (const error of validateText(schema, value)) complain(`the header ${name}: ${error}`)
      }
    }
    for (const name of Object.keys(headers)) {
      if (transportHeaders.test(name) || Object.hasOwn(response.headers, name)) continue
      complain(`the header ${name} is not described`)
    }
  }

  const judgeEvents = (
    { body, isWhole }: ObservedExchange,
    { 'x-event-schema': events }: MediaType,
    complain: Complain,
  ): void => {
    if (!events) return complain('its events are not described')
    const { end, isNamed, data: schema } = events
    let last: 'event' | 'end' | 'error' | undefined
    for (const [index, { event: name, data }] of parseEvents(body).entries()) {
      const at = `event ${index}`
      if (last === 'end') complain(`${at} comes after the end`)
      if (data === end.data) {
        last = 'end'
        continue
      }
      const value = parseJson(data)
      if (value === undefined) {
        complain(`${at} is not JSON`)
        continue
      }
      for (const error of validate(schema, value)) complain(`${at}: ${error}`)
      const type = fieldOf(value, 'type')
      if (isNamed ? fieldOf(value, 'error') === undefined && name !== type : name !== undefined)
        complain(`${at} has the name ${name}, and the type ${String(type)}`)
      const isEnd = typeof type === 'string' && end.types?.includes(type) === true
      const isError = type === 'error' || fieldOf(value, 'error') !== undefined
      last = isEnd ? 'end' : isError ? 'error' : 'event'
    }
    if (isWhole && last !== 'end' && last !== 'error') complain('the stream has no end')
  }

  const judgeAnswer = (
    exchange: ObservedExchange,
    response: ApiResponse,
    complain: Complain,
  ): void => {
    judgeHeaders(exchange, response, complain)
    const { content } = response
    if (exchange.method === 'HEAD') return
    if (!content) {
      if (exchange.body.length > 0) complain('no body is described, and there is one')
      return
    }
    const type = mediaTypeOf(exchange.headers)
    const described = content[type] ?? content[type.replace(/\/.*/, '/*')]
    if (!described) return complain(`the content type ${type || 'none'} is not described`)
    if (type === 'text/event-stream') return judgeEvents(exchange, described, complain)
    if (type !== 'application/json' || !exchange.isWhole) return
    const value = parseJson(exchange.body.toString('utf8'))
    if (value === undefined) return complain('the body is not JSON')
    for (const error of validate(described.schema, value)) complain(`the body: ${error}`)
  }

  const judgeRequest = async (
    exchange: ObservedExchange,
    operation: Operation,
    complain: Complain,
  ): Promise<void> => {
    for (const { name, in: where, required, schema } of operation.parameters.map((parameter) =>
      resolve<Parameter>(document, parameter),
    )) {
      if (where === 'path') continue
      const value =
        where === 'query'
          ? new URLSearchParams(exchange.path.split('?')[1]).get(name)
          : exchange.requestHeaders[name]
      if (value === null || value === undefined) {
        if (required) complain(`it was accepted without the ${where} parameter ${name}`)
      } else {
        for (const error of validateText(schema, value)) complain(`accepted ${name}: ${error}`)
      }
    }
    const content = operation.requestBody?.content
    if (!content) return
    const type = mediaTypeOf(exchange.requestHeaders)
    const described = content[type]
    if (!described) return complain(`it was accepted with the content type ${type || 'none'}`)
    const check = type === 'application/json' ? validate : validateText
    const value = await readRequest(exchange, type)
    for (const error of check(described.schema, value)) complain(`the accepted body: ${error}`)
  }

  /** As errors of the address are, where it has operations for other methods. */
  const errorOf = (template: string | undefined): object => {
    const [operation] = Object.values(document.paths[template ?? ''] ?? {})
    const described = operation?.responses[400] ?? operation?.responses[401]
    const response = described && resolve<ApiResponse>(document, described)
    return response?.content?.['application/json']?.schema ?? { $ref: errorReference }
  }

  /** What no operation describes is refused, always in the same form. */
  const judgeUnknown = (
    exchange: ObservedExchange,
    template: string | undefined,
    complain: Complain,
  ): void => {
    const wanted = template === undefined ? 404 : 405
    const { status, headers, body } = exchange
    if (!('x-request-id' in headers)) complain('the header x-request-id is missing')
    if (status === 405 && !headers['allow']) complain('it does not say which methods are allowed')
    if (status !== wanted) return complain(`it is not described, and answered with ${status}`)
    if (exchange.method === 'HEAD') return
    const value = parseJson(body.toString('utf8'))
    for (const error of validate(errorOf(template), value)) complain(`the body: ${error}`)
  }

  return {
    seen,
    async judge(exchange) {
      const { method, path, status } = exchange
      const plain = plainPath(path)
      if (outside.has(plain) || method === 'OPTIONS') return []
      const complaints: string[] = []
      const complain = (what: string): void =>
        void complaints.push(`${method} ${plain} → ${status}: ${what}`)
      const template = findPath(plain)
      const operation =
        template === undefined
          ? undefined
          : document.paths[template]?.[method === 'HEAD' ? 'get' : method.toLowerCase()]
      if (!operation) {
        judgeUnknown(exchange, template, complain)
        return complaints
      }
      const described = operation.responses[status]
      if (!described) return [`${method} ${plain}: the status ${status} is not described`]
      const response = resolve<ApiResponse>(document, described)
      judgeAnswer(exchange, response, complain)
      if (status < 300) await judgeRequest(exchange, operation, complain)
      const type = response.content ? mediaTypeOf(exchange.headers) : ''
      seen.add(`${method} ${template} ${status} ${type}`.trimEnd())
      return complaints
    },
    judgeMessage(path, by, text) {
      const schema = document.paths[path]?.['get']?.['x-websocket']?.[by]
      if (!schema) return [`${path}: the socket is not described`]
      seen.add(`socket ${path} ${by}`)
      const value = parseJson(text)
      return validate(schema, value).map((error) => `${path}, ${by}: ${error}`)
    },
  }
}

interface Validators {
  validate(schema: object, value: unknown): readonly string[]
  /** For what is always text on the wire: `20` is a number, where one is described. */
  validateText(schema: object, value: unknown): readonly string[]
}

function createValidators(document: ApiDocument): Validators {
  const create = (coerceTypes: boolean): Validators['validate'] => {
    const options = { strict: false, validateFormats: false, allErrors: true, coerceTypes }
    const ajv = new Ajv2020(options).addSchema(document, 'api')
    const compiled = new WeakMap<object, ReturnType<typeof ajv.compile>>()
    return (schema, value) => {
      let check = compiled.get(schema)
      if (!check) {
        // A reference within the document is followed from there.
        const root = JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"api#/')
        check = ajv.compile(JSON.parse(root) as object)
        compiled.set(schema, check)
      }
      return check(value) ? [] : describe(check.errors ?? [])
    }
  }
  return { validate: create(false), validateText: create(true) }
}

/** Of a union only the branch that was meant: the others are of another `type`. What lies deepest says most. */
function describe(errors: readonly ErrorObject[]): readonly string[] {
  const otherBranches = errors
    .filter(({ keyword, instancePath }) => keyword === 'const' && instancePath.endsWith('/type'))
    .map(({ schemaPath }) => schemaPath.replace(/properties\/type\/const$/, ''))
  const meant = errors.filter(
    ({ schemaPath }) => !otherBranches.some((branch) => schemaPath.startsWith(branch)),
  )
  const hasMore = meant.some(({ keyword }) => keyword !== 'oneOf' && keyword !== 'anyOf')
  const depth = ({ instancePath }: ErrorObject): number => instancePath.split('/').length
  return (hasMore ? meant : errors)
    .toSorted((one, other) => depth(other) - depth(one))
    .slice(0, complaintsMax)
    .map(({ instancePath, message, params }) => {
      const { additionalProperty } = params as { readonly additionalProperty?: string }
      const extra = additionalProperty === undefined ? '' : ` (${additionalProperty})`
      return `${instancePath || 'it'} ${message ?? 'is not valid'}${extra}`
    })
}

/** The one with most of its segments written out. Where a path ends in a name, the name may hold slashes. */
function createPathFinder(templates: readonly string[]): (path: string) => string | undefined {
  const fixed = (template: string): number =>
    template.split('/').filter((step) => !step.startsWith('{')).length
  const patterns = templates
    .toSorted((one, other) => fixed(other) - fixed(one))
    .map((template) => ({
      template,
      pattern: new RegExp(
        `^${template
          .replaceAll('.', '\\.')
          .replace(/\{\w+\}$/, '.+')
          .replaceAll(/\{\w+\}/g, '[^/]+')}$`,
      ),
    }))
  return (path) => patterns.find(({ pattern }) => pattern.test(path))?.template
}

function plainPath(path: string): string {
  const plain = (path.split('?')[0] ?? '').replaceAll(/\/+/g, '/')
  return plain.length > 1 ? plain.replace(/\/$/, '') : plain
}

function mediaTypeOf(headers: Readonly<Record<string, string>>): string {
  return (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

function parseEvents(body: Buffer): readonly EventSourceMessage[] {
  const events: EventSourceMessage[] = []
  createParser({ onEvent: (event) => void events.push(event) }).feed(body.toString('utf8'))
  return events
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // `undefined` is no JSON, and whoever asked says so.
    return undefined
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined
}

async function readRequest(
  { requestHeaders, requestBody }: ObservedExchange,
  type: string,
): Promise<unknown> {
  const bytes =
    requestHeaders['content-encoding'] === 'gzip' ? gunzipSync(requestBody) : requestBody
  if (type === 'application/json') return parseJson(bytes.toString('utf8'))
  const headers = { 'content-type': requestHeaders['content-type'] ?? '' }
  const form = await new Response(new Uint8Array(bytes), { headers }).formData()
  const fields: Record<string, unknown> = {}
  for (const name of new Set(form.keys())) {
    // A file stands for its content.
    const values = form.getAll(name).map((value) => (typeof value === 'string' ? value : 'file'))
    fields[name] = name.endsWith('[]') ? values : values.at(-1)
  }
  return fields
}
