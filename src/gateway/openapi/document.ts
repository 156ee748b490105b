/** OpenAPI 3.1 of the public API, from the list of its routes and sockets. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { z } from 'zod'
import type { FaultCode } from '../../platform/fault.ts'
import type { Route } from '../route.ts'
import type { SocketRoute } from '../sockets/socket-route.ts'
import { openAiErrors, type ErrorDialect } from '../wire/openai/errors.ts'
import { faultsByStatus, openAiError } from './errors.ts'
import {
  billedParameters,
  commonHeaders,
  errorHeaderNames,
  headerReferences,
  keyedParameters,
  meteredHeaders,
  parameterReferences,
  renderHeaderComponents,
  renderParameterComponents,
  streamHeaders,
  type HeaderName,
} from './headers.ts'
import { renderSchema, renderSchemas, toReference } from './json-schema.ts'
import {
  tags,
  type AnswerDoc,
  type ContentDoc,
  type NamedSchema,
  type OperationDoc,
  type RequestDoc,
  type SocketDoc,
} from './operation.ts'

export interface Described {
  readonly routes: readonly Pick<Route, 'method' | 'path' | 'errors' | 'doc'>[]
  readonly sockets: readonly Pick<SocketRoute, 'path' | 'doc'>[]
}

/** In several turns of the event loop, since streams are under way meanwhile. */
export async function renderDocument({
  routes,
  sockets,
}: Described): Promise<Record<string, unknown>> {
  const docs = routes.flatMap(({ doc }) => doc ?? [])
  const socketDocs = sockets.flatMap(({ doc }) => doc ?? [])
  const failures = createFailures()
  const paths = renderPaths({ routes, sockets }, failures)
  await nextTurn()
  const requests = renderSchemas(requestShapes(docs, socketDocs), 'input')
  await nextTurn()
  const answers = renderSchemas(answerShapes(docs, socketDocs), 'output')
  await nextTurn()
  return {
    openapi: '3.1.0',
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    info: {
      title: 'Colonnade',
      version: '1',
      summary: 'The public API.',
      description,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'This gateway.' }],
    security: [{ bearer: [] }, { apiKey: [] }],
    tags: Object.entries(tags).map(([name, text]) => ({ name, description: text })),
    paths,
    components: {
      schemas: { ...requests, ...answers },
      responses: failures.components(),
      headers: renderHeaderComponents(),
      parameters: renderParameterComponents(),
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key of a project, as OpenAI’s clients send it.',
        },
        apiKey: {
          type: 'apiKey',
          in: 'header',
          name: 'x-api-key',
          description: 'The same key, as Anthropic’s clients send it.',
        },
      },
    },
  }
}

const description =
  'One address for many models, in the dialects that clients speak already. Fields that are not known here are passed over unless the operator refuses them. ' +
  'Every answer names its request in `x-request-id`. Errors have one form for each dialect, whatever failed.'

/** `{model*}` takes slashes too, for which OpenAPI has no words. */
export function toPath(path: string): string {
  return path.replaceAll('*}', '}')
}

function renderPaths(
  { routes, sockets }: Described,
  failures: Failures,
): Record<string, Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const { method, path, errors, doc } of routes) {
    if (doc)
      (paths[toPath(path)] ??= {})[method.toLowerCase()] = renderOperation(
        doc,
        failures.refer(doc, errors),
      )
  }
  for (const { path, doc } of sockets) {
    if (doc)
      (paths[toPath(path)] ??= {})['get'] = renderSocket(
        doc,
        failures.refer(socketFailures, openAiErrors),
      )
  }
  return paths
}

function renderOperation(
  doc: OperationDoc,
  failures: Record<string, unknown>,
): Record<string, unknown> {
  return {
    operationId: doc.id,
    summary: doc.summary,
    ...(doc.description === undefined ? {} : { description: doc.description }),
    tags: [doc.tag],
    ...(doc.isPublic ? { security: [] } : {}),
    parameters: [
      ...Object.entries(doc.pathParameters ?? {}).map(([name, text]) => ({
        name,
        in: 'path',
        required: true,
        description: text,
        schema: { type: 'string' },
      })),
      ...renderQuery(doc.query),
      ...parameterReferences([
        ...(doc.isPublic ? [] : keyedParameters),
        ...(doc.isBilled ? billedParameters : []),
        ...(doc.headerParameters ?? []),
      ]),
    ],
    ...(doc.request ? { requestBody: renderRequest(doc.request) } : {}),
    responses: {
      ...renderAnswers(doc),
      ...failures,
    },
  }
}

function renderQuery(query: z.ZodObject | undefined): readonly unknown[] {
  if (!query) return []
  return Object.entries(query.shape).map(([name, field]) => {
    const schema = renderSchema(field, 'input')
    return { name, in: 'query', required: !field.safeParse(undefined).success, schema }
  })
}

function renderRequest({ type, name, examples }: RequestDoc): Record<string, unknown> {
  return {
    required: true,
    content: {
      [type]: { schema: { $ref: toReference(name) }, examples: renderExamples(examples) },
    },
  }
}

function renderExamples(examples: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(examples).map(([name, value]) => [name, { summary: name, value }]),
  )
}

function renderAnswers(doc: OperationDoc): Record<string, unknown> {
  const statuses = Map.groupBy(doc.answers, ({ status }) => status ?? 200)
  return Object.fromEntries(
    [...statuses].map(([status, answers]) => [status, renderAnswer(answers, doc)]),
  )
}

function renderAnswer(
  answers: readonly AnswerDoc[],
  { isBilled, meteredHeaders: further = [] }: OperationDoc,
): Record<string, unknown> {
  const contents = answers.flatMap(({ content }) => content ?? [])
  const hasEvents = contents.some(({ type }) => type === 'text/event-stream')
  const names: readonly HeaderName[] = [
    ...commonHeaders,
    ...(isBilled ? meteredHeaders : []),
    ...further,
    ...answers.flatMap((answer) => answer.headers ?? []),
  ]
  return {
    description: answers.map((answer) => answer.description ?? 'Done.').join(' '),
    headers: {
      ...headerReferences(names),
      // Only where it streams.
      ...(hasEvents ? optionalHeaders(streamHeaders) : {}),
    },
    ...(contents.length === 0
      ? {}
      : { content: Object.fromEntries(contents.map((each) => [each.type, renderContent(each)])) }),
  }
}

function optionalHeaders(names: readonly HeaderName[]): Record<string, unknown> {
  const all = renderHeaderComponents()
  return Object.fromEntries(names.map((name) => [name, { ...Object(all[name]), required: false }]))
}

function renderContent(content: ContentDoc): Record<string, unknown> {
  if (!('schema' in content)) {
    const { description: text, isText } = content
    return { schema: { type: 'string', description: text, ...(isText ? {} : binary) } }
  }
  const schema = { $ref: toReference(content.name) }
  if ('isNamed' in content) {
    const { isNamed, end } = content
    return { schema, 'x-event-schema': { data: schema, isNamed, end } }
  }
  const { examples } = content
  return examples ? { schema, examples: renderExamples(examples) } : { schema }
}

const binary = { contentMediaType: 'application/octet-stream' }

type FailingDoc = Pick<
  OperationDoc,
  'isPublic' | 'isBilled' | 'meteredHeaders' | 'request' | 'faults' | 'error'
>

interface Failures {
  /** By status. */
  refer(doc: FailingDoc, dialect: Pick<ErrorDialect, 'status'>): Record<string, unknown>
  components(): Record<string, unknown>
}

/** Most operations fail in the same ways, which stand in the document once. */
function createFailures(): Failures {
  const names = new Map<string, string>()
  const components: Record<string, unknown> = {}
  const nameOf = (base: string, response: unknown): string => {
    const content = JSON.stringify(response)
    const known = names.get(content)
    if (known !== undefined) return known
    let name = base
    for (let variant = 2; name in components; variant += 1) name = `${base}.${variant}`
    names.set(content, name)
    components[name] = response
    return name
  }
  return {
    refer(doc, dialect) {
      const { name } = doc.error ?? openAiError
      const faults = [...faultsByStatus(doc, dialect)].toSorted(([one], [other]) => one - other)
      return Object.fromEntries(
        faults.map(([status, codes]) => {
          const response = renderFailure({ status, codes, schemaName: name, doc })
          return [
            status,
            { $ref: `#/components/responses/${nameOf(`${name}.${status}`, response)}` },
          ]
        }),
      )
    },
    components: () => components,
  }
}

function renderFailure(failure: {
  readonly status: number
  readonly codes: readonly FaultCode[]
  readonly schemaName: string
  readonly doc: FailingDoc
}): Record<string, unknown> {
  const { status, codes, schemaName, doc } = failure
  return {
    description: `${codes.map((code) => `\`${code}\``).join(', ')}.`,
    headers: headerReferences([
      ...commonHeaders,
      ...errorHeaderNames(status),
      ...(doc.isBilled ? meteredHeaders : []),
      ...(doc.meteredHeaders ?? []),
    ]),
    content: { 'application/json': { schema: { $ref: toReference(schemaName) } } },
  }
}

function renderSocket(doc: SocketDoc, failures: Record<string, unknown>): Record<string, unknown> {
  return {
    operationId: doc.id,
    summary: doc.summary,
    description: doc.description,
    tags: [doc.tag],
    parameters: [...renderQuery(doc.query), ...parameterReferences(keyedParameters)],
    responses: {
      101: {
        description: 'From here on, each message is one JSON text.',
        headers: headerReferences(['x-request-id']),
      },
      ...failures,
    },
    'x-websocket': {
      client: { $ref: toReference(doc.clientMessage.name) },
      server: { $ref: toReference(doc.serverMessage.name) },
    },
  }
}

/** Who does not ask for a socket is told to. */
const socketFailures: FailingDoc = {
  faults: [
    'capacity.draining',
    'limits.rate_exceeded',
    'client.upgrade_required',
    'client.method_not_allowed',
  ],
}

function requestShapes(
  docs: readonly OperationDoc[],
  sockets: readonly SocketDoc[],
): readonly NamedSchema[] {
  return [
    ...docs.flatMap(({ request }) => request ?? []),
    ...sockets.map(({ clientMessage }) => clientMessage),
  ]
}

function answerShapes(
  docs: readonly OperationDoc[],
  sockets: readonly SocketDoc[],
): readonly NamedSchema[] {
  return [
    openAiError,
    ...docs.flatMap(({ error, answers, parts }) => [
      ...(error ? [error] : []),
      ...(parts ?? []),
      ...answers
        .flatMap(({ content }) => content ?? [])
        .flatMap((content) => ('schema' in content ? content : [])),
    ]),
    ...sockets.map(({ serverMessage }) => serverMessage),
  ]
}
