import { expect, test } from 'vitest'
import { renderOpenApi } from './documentation.ts'
import { operations } from './operations.ts'

interface Rendered {
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: {
    readonly content: Readonly<
      Record<string, { readonly schema: Readonly<Record<string, unknown>> }>
    >
  }
  readonly responses: Readonly<Record<string, unknown>>
}

const document = renderOpenApi(operations, '/api/v1')
const paths = document['paths'] as Readonly<Record<string, Readonly<Record<string, Rendered>>>>
const rendered = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

test('the description is OpenAPI 3.1 and holds every operation once', () => {
  expect(document['openapi']).toBe('3.1.0')
  expect(rendered.map(({ operation }) => operation.operationId).toSorted()).toEqual(
    operations.map(({ id }) => id).toSorted(),
  )
})

test('each operation stands at its path and method, and says what it needs', () => {
  for (const { id, method, path, permission } of operations) {
    const at = paths[`/api/v1${path.replaceAll(/:(\w+)/g, '{$1}')}`]?.[method.toLowerCase()]
    expect(at?.operationId).toBe(id)
    expect(at?.description).toContain(permission)
    expect(at?.summary.length).toBeGreaterThan(5)
  }
})

test('the parameters of a path are those that are described', () => {
  for (const { path, operation } of rendered) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const described = operation.parameters.filter((parameter) => parameter.in === 'path')
    expect(
      described.map(({ name }) => name),
      operation.operationId,
    ).toEqual(inPath)
  }
})

test('every reference leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)]
  expect(references.length).toBeGreaterThan(0)
  for (const [, pointer = ''] of references) {
    const target = pointer
      .split('/')
      .reduce<unknown>((at, key) => (at as Readonly<Record<string, unknown>>)[key], document)
    expect(target, pointer).toBeDefined()
  }
})

test('no body takes a field that its description does not name', () => {
  // Agents of the next version may report more than this one knows.
  const tolerant = new Set(['agent.report'])
  for (const { operation } of rendered) {
    if (!operation.requestBody || tolerant.has(operation.operationId)) continue
    const schema = operation.requestBody.content['application/json']?.schema
    expect(schema?.['additionalProperties'], operation.operationId).toBe(false)
  }
})

test('every answer that holds a secret says so in its summary', () => {
  for (const { operation } of rendered) {
    if (!JSON.stringify(operation.responses).includes('"secret"')) continue
    expect(operation.summary, operation.operationId).toMatch(/secret/)
  }
})

test('every change tells of its Idempotency-Key, and no read does', () => {
  for (const { method, operation } of rendered) {
    const header = operation.parameters.find((parameter) => parameter.in === 'header')
    expect(header?.name, operation.operationId).toBe(
      method === 'get' ? undefined : 'Idempotency-Key',
    )
  }
})
