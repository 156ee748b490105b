/** From zod to JSON Schema 2020-12, which is the one of OpenAPI 3.1: the schema that reads a request is the schema that is published. */
import { z } from 'zod'
import { assert } from '../../platform/assert.ts'
import type { NamedSchema } from './operation.ts'

export type JsonSchema = Record<string, unknown>

/** `input`: what a client may send, unknown fields included. `output`: what is answered, and nothing else. */
export type Direction = 'input' | 'output'

/** By name. Where one stands within another, it is a reference. */
export function renderSchemas(
  shapes: readonly NamedSchema[],
  direction: Direction,
): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>()
  const byName = new Map<string, z.ZodType>()
  for (const { name, schema } of shapes) {
    const known = byName.get(name)
    assert(known === undefined || known === schema, `two schemas are called ${name}`)
    if (known) continue
    byName.set(name, schema)
    registry.add(schema, { id: name })
  }
  const { schemas } = z.toJSONSchema(registry, {
    io: direction,
    uri: toReference,
    unrepresentable: 'any',
    override,
  })
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, bare(schema)]))
}

/** Without a name: for parameters. */
export function renderSchema(schema: z.ZodType, direction: Direction): JsonSchema {
  return bare(z.toJSONSchema(schema, { io: direction, unrepresentable: 'any', override }))
}

export function toReference(name: string): string {
  return `#/components/schemas/${name}`
}

function bare(schema: object): JsonSchema {
  const { $schema: _dialect, $id: _id, ...rest } = { ...schema } as JsonSchema
  return rest
}

function override(context: {
  readonly zodSchema: z.core.$ZodTypes
  readonly jsonSchema: JsonSchema
}): void {
  const { zodSchema, jsonSchema } = context
  // Every integer has these; they say nothing.
  if (jsonSchema['minimum'] === Number.MIN_SAFE_INTEGER) delete jsonSchema['minimum']
  if (jsonSchema['maximum'] === Number.MAX_SAFE_INTEGER) delete jsonSchema['maximum']
  const shorthand = shorthandOf(zodSchema)
  if (shorthand) {
    const full = { ...jsonSchema }
    for (const key of Object.keys(jsonSchema)) delete jsonSchema[key]
    jsonSchema['anyOf'] = [shorthand, full]
  }
}

/**
 * What a preprocessing takes beside what it makes: in Anthropic's dialect, a text in place of a list of blocks; in a form, a field that is left empty in
 * place of one that is left out.
 */
function shorthandOf(schema: z.core.$ZodTypes): JsonSchema | undefined {
  const { def } = schema._zod
  if (def.type !== 'pipe' || def.in._zod.def.type !== 'transform') return undefined
  const made = def.out._zod.def.type
  if (made === 'array') return { type: 'string' }
  return made === 'optional' ? { const: '' } : undefined
}
