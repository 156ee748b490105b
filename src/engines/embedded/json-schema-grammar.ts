/**
 * JSON Schema to GBNF, the grammar language of llama.cpp. An answer written under the grammar is valid by construction: keys come in the
 * schema's order, and white space is bounded, so that a small model cannot lose itself in it. What a grammar cannot express is
 * refused when the schema is strict, and left to the model otherwise. Pure.
 */
import { Fault } from '../../platform/fault.ts'
import { integerRule, magnitudeRule } from './number-grammar.ts'

export type JsonSchema = boolean | { readonly [keyword: string]: unknown }

export interface GrammarRules {
  /** Adds a rule, and returns its name. */
  define(hint: string, body: string): string
  /** Adds what the schema asks for, and returns the name of its rule. */
  addSchema(schema: JsonSchema, options: SchemaOptions): string
  /** Any JSON object. */
  addObject(): string
  text(root: string): string
}

export interface SchemaOptions {
  readonly isStrict: boolean
  /** The request field that holds the schema. */
  readonly param: string
}

const rulesMax = 10_000
const depthMax = 64
/** Beyond this, repetition makes a grammar slower than it is worth. */
const repetitionMax = 1_000
const freeDepthMax = 8

/** What no rule here expresses. Titles, descriptions, formats and defaults constrain nothing, and are not in this list. */
const inexpressible = [
  'pattern',
  'patternProperties',
  'not',
  'if',
  'contains',
  'uniqueItems',
  'multipleOf',
  'propertyNames',
  'minProperties',
  'maxProperties',
  'dependentRequired',
  'dependentSchemas',
  'unevaluatedProperties',
  'unevaluatedItems',
]

const primitives = {
  space: '" "?',
  character: '[^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})',
  string: '"\\"" character* "\\""',
  integer: '"-"? ("0" | [1-9] [0-9]{0,15})',
  number: 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?',
  boolean: '"true" | "false"',
  null: '"null"',
}

export function createGrammarRules(): GrammarRules {
  const rules = new Map<string, string>(Object.entries(primitives))

  const define = (hint: string, body: string): string => {
    if (rules.size >= rulesMax) throw unsupported('The schema is too large.', undefined)
    const name = `${hint.replace(/[^a-zA-Z0-9]/g, '-').slice(0, 40)}-${rules.size}`
    rules.set(name, body)
    return name
  }

  /** Any value, to a bounded depth: a rule that nests without end lets a small model nest without end. */
  const addValue = (depth: number): string => {
    const name = `value-${depth}`
    if (rules.has(name)) return name
    const simple = 'string | number | boolean | null'
    if (depth >= freeDepthMax) {
      rules.set(name, simple)
      return name
    }
    const inner = addValue(depth + 1)
    const object = addFreeObject(depth, inner)
    rules.set(name, `${object} | array-${depth} | ${simple}`)
    rules.set(`array-${depth}`, `"[" space (${inner} (space "," space ${inner})*)? space "]"`)
    return name
  }

  const addFreeObject = (depth: number, value: string): string => {
    const name = `object-${depth}`
    const pair = `string space ":" space ${value}`
    rules.set(name, `"{" space (${pair} (space "," space ${pair})*)? space "}"`)
    return name
  }

  const addObject = (): string => {
    addValue(0)
    return 'object-0'
  }

  return {
    define,
    addObject,
    addSchema: (schema, options) =>
      createSchemaRules({ define, reserve, addValue, addObject }, schema, options),
    text(root) {
      const all = [['root', root], ...rules]
      return `${all.map(([name, body]) => `${name} ::= ${body}`).join('\n')}\n`
    },
  }

  /** A name first and its body later: for schemas that contain themselves. */
  function reserve(hint: string): { name: string; fill: (body: string) => void } {
    const name = define(hint, '')
    return { name, fill: (body) => rules.set(name, body) }
  }
}

interface RuleWriter {
  define(hint: string, body: string): string
  reserve(hint: string): { name: string; fill: (body: string) => void }
  addValue(depth: number): string
  addObject(): string
}

type Keywords = Readonly<Record<string, unknown>>

function createSchemaRules(
  writer: RuleWriter,
  document: JsonSchema,
  { isStrict, param }: SchemaOptions,
): string {
  const references = new Map<string, string>()
  return visit(document, 0)

  function visit(schema: unknown, depth: number): string {
    if (depth > depthMax) throw unsupported('The schema is nested too deeply.', param)
    if (schema === true || schema === undefined) return writer.addValue(0)
    if (!isRecord(schema)) throw unsupported('A schema is an object.', param)
    if (typeof schema['$ref'] === 'string') return reference(schema['$ref'], depth)
    const found = isStrict ? inexpressible.find((keyword) => keyword in schema) : undefined
    if (found) throw unsupported(`The schema keyword '${found}' is not supported.`, param)
    if ('const' in schema) return writer.define('const', literal(schema['const']))
    if (Array.isArray(schema['enum'])) {
      if (schema['enum'].length === 0) throw unsupported("An 'enum' needs a value.", param)
      return writer.define('enum', schema['enum'].map(literal).join(' | '))
    }
    const alternatives = schema['anyOf'] ?? schema['oneOf']
    if (Array.isArray(alternatives)) return oneOf(schema, alternatives, depth)
    if (Array.isArray(schema['allOf'])) return visit(mergeAll(schema, schema['allOf']), depth + 1)
    if (Array.isArray(schema['type'])) {
      const types = schema['type'].map((type: unknown) => visit({ ...schema, type }, depth + 1))
      return writer.define('types', types.join(' | '))
    }
    return typed(schema, depth)
  }

  function typed(schema: Keywords, depth: number): string {
    const type: unknown = schema['type'] ?? inferType(schema)
    switch (type) {
      case 'object':
        return object(schema, depth)
      case 'array':
        return array(schema, depth)
      case 'string':
        return string(schema)
      case 'integer':
      case 'number':
        return number(schema, type)
      case 'boolean':
      case 'null':
        return type
      case undefined:
        return writer.addValue(0)
      default:
        throw unsupported("A schema's 'type' is not one of JSON Schema's.", param)
    }
  }

  function reference(pointer: string, depth: number): string {
    const known = references.get(pointer)
    if (known) return known
    const { name, fill } = writer.reserve('ref')
    references.set(pointer, name)
    fill(visit(resolve(pointer), depth + 1))
    return name
  }

  function resolve(pointer: string): unknown {
    if (!pointer.startsWith('#')) throw unsupported("A '$ref' must point into the schema.", param)
    let target: unknown = document
    for (const step of pointer.slice(1).split('/').filter(Boolean)) {
      const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
      const isThere =
        (isRecord(target) && Object.hasOwn(target, key)) || (Array.isArray(target) && key in target)
      if (!isThere) throw unsupported("A '$ref' points to nothing.", param)
      target = Reflect.get(Object(target), key)
    }
    return target
  }

  function oneOf(schema: Keywords, alternatives: readonly unknown[], depth: number): string {
    if (alternatives.length === 0) throw unsupported("An 'anyOf' needs a schema.", param)
    const { anyOf: _anyOf, oneOf: _oneOf, ...base } = schema
    const hasBase = inferType(base) !== undefined || base['type'] !== undefined
    const names = alternatives.map((alternative) =>
      visit(hasBase ? mergeAll(base, [alternative]) : alternative, depth + 1),
    )
    return writer.define('any', names.join(' | '))
  }

  function mergeAll(schema: Keywords, parts: readonly unknown[]): Keywords {
    const { allOf: _allOf, ...own } = schema
    const merged: Record<string, unknown> = own
    for (const part of parts) {
      const resolved =
        isRecord(part) && typeof part['$ref'] === 'string' ? resolve(part['$ref']) : part
      if (!isRecord(resolved)) continue
      const properties = { ...asRecord(merged['properties']), ...asRecord(resolved['properties']) }
      const required = [...asList(merged['required']), ...asList(resolved['required'])]
      Object.assign(merged, resolved)
      if (Object.keys(properties).length > 0) merged['properties'] = properties
      if (required.length > 0) merged['required'] = required
    }
    return merged
  }

  function object(schema: Keywords, depth: number): string {
    const properties = Object.entries(asRecord(schema['properties']))
    const required = new Set(asList(schema['required']))
    const extra = schema['additionalProperties']
    for (const name of required) {
      if (!properties.some(([key]) => key === name)) properties.push([String(name), true])
    }
    if (properties.length === 0) {
      // Naming no property is asking for none; naming not even that is asking for any.
      const isClosed = extra === false || (extra === undefined && 'properties' in schema)
      if (isClosed) return writer.define('empty', '"{" space "}"')
      if (!isRecord(extra)) return writer.addObject()
    }
    const pairs = properties.map(([key, value]) => ({
      isRequired: required.has(key),
      pair: `${literal(key)} space ":" space ${visit(value, depth + 1)}`,
    }))
    // More keys than the schema names are allowed unless it says otherwise, and never needed.
    const extraPair = isRecord(extra)
      ? `string space ":" space ${visit(extra, depth + 1)}`
      : undefined
    return writer.define('object', `"{" space ${members(pairs, extraPair)} space "}"`)
  }

  /** Members in the schema's order: each either follows another, with a comma, or is the first. */
  function members(
    pairs: readonly { readonly isRequired: boolean; readonly pair: string }[],
    extraPair: string | undefined,
  ): string {
    const comma = 'space "," space'
    let following = extraPair ? `(${comma} ${extraPair})*` : ''
    let leading = extraPair ? `(${extraPair} (${comma} ${extraPair})*)?` : ''
    for (const { isRequired, pair } of pairs.toReversed()) {
      const followed = following === '' ? '' : ` ${writer.define('rest', following)}`
      const nextFollowing = `${comma} ${pair}${followed}`
      if (isRequired) {
        leading = `${pair}${followed}`
        following = nextFollowing
      } else {
        const lead = leading === '' ? '' : ` | ${writer.define('lead', leading)}`
        leading = lead === '' ? `(${pair}${followed})?` : `(${pair}${followed}${lead})`
        following = followed === '' ? `(${nextFollowing})?` : `(${nextFollowing} |${followed})`
      }
    }
    return leading
  }

  function array(schema: Keywords, depth: number): string {
    const comma = 'space "," space'
    const prefix = Array.isArray(schema['prefixItems']) ? schema['prefixItems'] : []
    const fixed = prefix.map((item: unknown) => visit(item, depth + 1))
    if (fixed.length > 0) {
      return writer.define('tuple', `"[" space ${fixed.join(` ${comma} `)} space "]"`)
    }
    const item = visit(schema['items'] ?? true, depth + 1)
    const min = bound(schema['minItems']) ?? 0
    const max = bound(schema['maxItems'])
    if (max === 0) return writer.define('array', '"[" space "]"')
    const tail = `(${comma} ${item})${repetition(Math.max(0, min - 1), max === undefined ? undefined : max - 1)}`
    const items = min > 0 ? `${item} ${tail}` : `(${item} ${tail})?`
    return writer.define('array', `"[" space ${items} space "]"`)
  }

  function string(schema: Keywords): string {
    const format = typeof schema['format'] === 'string' ? formats[schema['format']] : undefined
    if (format) return writer.define('format', format)
    const min = bound(schema['minLength']) ?? 0
    const max = bound(schema['maxLength'])
    if (min === 0 && max === undefined) return 'string'
    return writer.define('string', `"\\"" character${repetition(min, max)} "\\""`)
  }

  function number(schema: Keywords, type: 'integer' | 'number'): string {
    const isInteger = type === 'integer'
    const step = isInteger ? 1 : 0
    const above = numeric(schema['exclusiveMinimum'])
    const below = numeric(schema['exclusiveMaximum'])
    if (isStrict && !isInteger && (above !== undefined || below !== undefined)) {
      throw unsupported("Exclusive bounds of a 'number' are not supported.", param)
    }
    const min = above === undefined ? numeric(schema['minimum']) : Math.floor(above) + step
    const max = below === undefined ? numeric(schema['maximum']) : Math.ceil(below) - step
    if (min === undefined && max === undefined) return type
    if (min !== undefined && max !== undefined && min > max) {
      throw unsupported("A schema's minimum is above its maximum.", param)
    }
    const body = isInteger ? integerRule(min, max) : magnitudeRule(min, max)
    if (body !== undefined) return writer.define(type, body)
    if (isStrict) throw unsupported('Bounds of a number must be whole numbers.', param)
    return type
  }

  function bound(value: unknown): number | undefined {
    if (value === undefined) return undefined
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
      throw unsupported('A length in the schema is not a whole number.', param)
    }
    if (value > repetitionMax) {
      if (isStrict) throw unsupported(`Lengths above ${repetitionMax} are not supported.`, param)
      return undefined
    }
    return value
  }
}

const hex = '[0-9a-fA-F]'
const date = '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
const time =
  '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [+-] [01] [0-9] ":" [0-5] [0-9])'
/** Formats whose text follows a simple rule. Others constrain nothing, as JSON Schema has it. */
const formats: Readonly<Record<string, string | undefined>> = {
  date: `"\\"" ${date} "\\""`,
  time: `"\\"" ${time} "\\""`,
  'date-time': `"\\"" ${date} "T" ${time} "\\""`,
  uuid: `"\\"" ${hex}{8} "-" ${hex}{4} "-" ${hex}{4} "-" ${hex}{4} "-" ${hex}{12} "\\""`,
}

function repetition(min: number, max: number | undefined): string {
  return max === undefined ? (min === 0 ? '*' : `{${min},}`) : `{${min},${max}}`
}

function inferType(schema: Keywords): string | undefined {
  if ('properties' in schema || 'additionalProperties' in schema || 'required' in schema) {
    return 'object'
  }
  if ('items' in schema || 'prefixItems' in schema) return 'array'
  return undefined
}

/** A JSON value as a GBNF string. */
export function literal(value: unknown): string {
  return quote(JSON.stringify(value) ?? 'null')
}

/** A text as a GBNF string. */
export function quote(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t')
  return `"${escaped}"`
}

function numeric(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function asRecord(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {}
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unsupported(text: string, param: string | undefined): Fault {
  return new Fault({ code: 'client.unsupported_value', public: text, param })
}
