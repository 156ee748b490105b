import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { corpus } from '../../../test/fuzz/targets/corpus.ts'
import { lookUp, resolve, type Operation, type Parameter } from '../../../test/openapi/document.ts'
import { openApiMetaSchema } from '../../../test/openapi/meta-schema.ts'
import { publishedDocument } from '../../../test/openapi/published.ts'
import { toFault } from '../../platform/fault.ts'
import { createSeal, type Seal } from '../../platform/seal.ts'
import { endpoints, routes, sockets } from '../routes.ts'
import { tolerant } from '../wire/openai/field-policy.ts'
import { toPath } from './document.ts'

const document = await publishedDocument()
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)
const ajv = new Ajv2020({ strict: false, validateFormats: false }).addSchema(document, 'api')
const requestType = 'application/json'

test('every route and every socket describes itself', () => {
  expect(routes.filter(({ doc }) => !doc).map(({ path }) => path)).toEqual([])
  expect(sockets.filter(({ doc }) => !doc).map(({ path }) => path)).toEqual([])
})

test('the document has exactly the addresses that are served', () => {
  const served = [
    ...routes.map(({ method, path }) => `${method.toLowerCase()} ${toPath(path)}`),
    ...sockets.map(({ path }) => `get ${path}`),
  ]
  const described = operations.map(({ method, path }) => `${method} ${path}`)
  expect(described.toSorted()).toEqual(served.toSorted())
})

test('the document is valid OpenAPI 3.1, with schemas of JSON Schema 2020-12', () => {
  const check = new Ajv2020({ strict: false, validateFormats: false }).compile(openApiMetaSchema)
  check(document)
  expect(check.errors ?? []).toEqual([])
})

test.each([
  ['a status that is none', { 200: undefined, ok: { description: 'x' } }],
  ['a response without a description', { 200: { content: {} } }],
  ['a reference beside other fields', { 200: { $ref: '#/components/responses/x', content: {} } }],
])('%s would not be valid', (_what, responses) => {
  const check = new Ajv2020({ strict: false, validateFormats: false }).compile(openApiMetaSchema)
  const operation = { operationId: 'a', summary: 'A', tags: ['A'], parameters: [], responses }
  const broken: unknown = JSON.parse(
    JSON.stringify({ ...document, paths: { '/a': { get: operation } } }),
  )
  expect(check(broken)).toBe(false)
})

test('every reference leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)]
  expect(references.length).toBeGreaterThan(100)
  for (const [, reference = ''] of references)
    expect(lookUp(document, reference), reference).toBeDefined()
})

test('every operation has an id of its own', () => {
  const ids = operations.map(({ operation }) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
})

test('the parameters of a path are those that are described', () => {
  for (const { path, operation } of operations) {
    const described = operation.parameters
      .map((parameter) => resolve<Parameter>(document, parameter))
      .filter((parameter) => parameter.in === 'path')
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    expect(
      described.map(({ name }) => name),
      path,
    ).toEqual(named)
  }
})

test('every operation but this description needs a key, and says what is answered without one', () => {
  const open = operations.filter(({ operation }) => !('401' in operation.responses))
  expect(open.map(({ path }) => path)).toEqual(['/v1/openapi.json', '/docs', '/docs/{file}'])
  for (const { operation } of open) expect(operation.security).toEqual([])
})

test('every schema can be compiled', () => {
  for (const name of Object.keys(document.components['schemas'] ?? {}))
    expect(() => ajv.compile({ $ref: `api#/components/schemas/${name}` }), name).not.toThrow()
})

test('every JSON request has an example, and each is what its schema describes', () => {
  for (const { path, operation } of operations) {
    const content = operation.requestBody?.content[requestType]
    if (!content) continue
    const check = checkerOf(operation)
    const examples = Object.values(content.examples ?? {})
    expect(examples.length, path).toBeGreaterThan(0)
    for (const { value } of examples)
      expect([check(value), check.errors], path).toEqual([true, null])
  }
})

test.each(
  endpoints.filter(({ path }) => path in corpus).map((endpoint) => [endpoint.path, endpoint]),
)(
  '%s: what is accepted is what is described, and examples are accepted',
  async (path, endpoint) => {
    const operation = document.paths[path as string]?.['post']
    if (!operation || typeof endpoint === 'string') throw new Error('it is described')
    const content = operation.requestBody?.content[requestType]
    const check = checkerOf(operation)
    const examples = Object.values(content?.examples ?? {}).map(({ value }) => value)
    let accepted = 0
    for (const body of [...examples, ...(corpus[endpoint.path] ?? [])]) {
      const refusal = await refusalOf(endpoint, body)
      if (examples.includes(body)) expect(refusal).toBeUndefined()
      if (refusal !== undefined) continue
      accepted += 1
      expect([check(body), check.errors]).toEqual([true, null])
    }
    expect(accepted).toBeGreaterThan(examples.length)
  },
)

function checkerOf(operation: Operation): ReturnType<typeof ajv.compile> {
  const schema = operation.requestBody?.content[requestType]?.schema
  return ajv.compile(
    JSON.parse(JSON.stringify(schema).replace('"#/', '"api#/')) as Record<string, unknown>,
  )
}

async function refusalOf(
  endpoint: (typeof endpoints)[number],
  body: unknown,
): Promise<string | undefined> {
  const seal = (): Seal => createSeal(Buffer.alloc(32))
  const context = { headers: {}, fieldPolicy: tolerant, seal, memory: () => undefined }
  try {
    await endpoint.parse([Buffer.from(JSON.stringify(body))], context)
    return undefined
  } catch (error) {
    return toFault(error).message
  }
}
