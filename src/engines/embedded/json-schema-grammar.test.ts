/** Every grammar is tried in llama.cpp's own parser. */
import * as fc from 'fast-check'
import { getLlama } from 'node-llama-cpp'
import { beforeAll, expect, test } from 'vitest'
import { createGrammarRules, type JsonSchema } from './json-schema-grammar.ts'
import { integerRule, magnitudeRule } from './number-grammar.ts'

let accepts: (grammar: string, text: string) => boolean

beforeAll(async () => {
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1 })
  const { AddonGrammar } = Reflect.get(llama, '_bindings')
  accepts = (grammar, text) => new AddonGrammar(grammar).isTextCompatible(text)
})

function grammarOf(schema: JsonSchema, isStrict = true): string {
  const rules = createGrammarRules()
  return rules.text(rules.addSchema(schema, { isStrict, param: 'schema' }))
}

function expectFits(schema: JsonSchema, good: readonly unknown[], bad: readonly unknown[]): void {
  const grammar = grammarOf(schema)
  for (const value of good)
    expect([value, accepts(grammar, JSON.stringify(value))]).toEqual([value, true])
  for (const value of bad)
    expect([value, accepts(grammar, JSON.stringify(value))]).toEqual([value, false])
}

test('objects have the keys of the schema, required ones always, in its order', () => {
  const schema = {
    type: 'object',
    properties: { a: { type: 'string' }, b: { type: 'integer' }, c: { type: 'boolean' } },
    required: ['b'],
    additionalProperties: false,
  }
  expectFits(
    schema,
    [{ b: 1 }, { a: 'x', b: 1 }, { b: 1, c: true }, { a: '', b: -3, c: false }],
    [{}, { a: 'x' }, { b: 1, a: 'x' }, { b: 1, d: 1 }, { b: '1' }, { b: 1.5 }, []],
  )
})

test('objects whose keys are all optional may be empty', () => {
  const properties = { a: { type: 'null' }, b: { type: 'null' }, c: { type: 'null' } }
  expectFits(
    { type: 'object', properties, additionalProperties: false },
    [
      {},
      { a: null },
      { b: null },
      { c: null },
      { a: null, c: null },
      { a: null, b: null, c: null },
    ],
    [{ d: null }, { c: null, a: null }],
  )
})

test('additional properties follow the named ones, by their own schema', () => {
  expectFits(
    {
      type: 'object',
      properties: { a: { type: 'integer' } },
      required: ['a'],
      additionalProperties: { type: 'string' },
    },
    [{ a: 1 }, { a: 1, x: 'y' }, { a: 1, x: 'y', z: '' }],
    [{ x: 'y' }, { a: 1, x: 2 }],
  )
})

test('references, also to itself, are followed', () => {
  expectFits(
    {
      $defs: {
        node: {
          type: 'object',
          properties: {
            value: { type: 'integer' },
            next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] },
          },
          required: ['value', 'next'],
          additionalProperties: false,
        },
      },
      $ref: '#/$defs/node',
    },
    [
      { value: 1, next: null },
      { value: 1, next: { value: 2, next: null } },
    ],
    [{ value: 1 }, { value: 1, next: 2 }],
  )
})

test('enums, constants, unions and nullable types say what they say', () => {
  expectFits({ enum: ['a "b"', 1, null] }, ['a "b"', 1, null], ['a', 2])
  expectFits({ const: { a: [1] } }, [{ a: [1] }], [{ a: [2] }])
  expectFits({ type: ['string', 'null'] }, ['x', null], [1])
  expectFits(
    { anyOf: [{ type: 'integer' }, { type: 'array', items: {} }] },
    [1, [], [1, 'a']],
    ['x'],
  )
})

test('parts of allOf are one schema', () => {
  expectFits(
    {
      allOf: [
        { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
        { properties: { b: { type: 'string' } }, required: ['b'] },
      ],
    },
    [{ a: 1, b: 'x' }],
    [{ a: 1 }, { b: 'x' }],
  )
})

test('arrays keep their bounds, strings their lengths and formats', () => {
  const items = { type: 'integer' }
  expectFits(
    { type: 'array', items, minItems: 2, maxItems: 3 },
    [
      [1, 2],
      [1, 2, 3],
    ],
    [[], [1], [1, 2, 3, 4]],
  )
  expectFits({ type: 'array', items, maxItems: 1 }, [[], [1]], [[1, 2]])
  expectFits(
    { type: 'array', prefixItems: [items, { type: 'string' }] },
    [[1, 'a']],
    [[1], ['a', 1]],
  )
  expectFits({ type: 'string', minLength: 2, maxLength: 3 }, ['ab', 'äöü', '😀"\\'], ['a', 'abcd'])
  expectFits({ type: 'string', format: 'date' }, ['2026-02-28'], ['2026-13-01', 'x'])
  expectFits({ type: 'string' }, ['', 'a\n\t"\\\u0001 😀'], [1])
})

test('a schema that asks for nothing takes any JSON', () => {
  expectFits({}, [1, 'a', null, [1, { a: [] }], { a: { b: {} } }, 1.5e-7], [])
  expectFits({ type: 'object' }, [{}, { a: [1] }], [1, []])
})

test('white space is bounded', () => {
  const grammar = grammarOf({
    type: 'object',
    properties: { a: { type: 'integer' } },
    required: ['a'],
  })
  expect(accepts(grammar, '{ "a" : 1 }')).toBe(true)
  expect(accepts(grammar, '{  "a": 1}')).toBe(false)
  expect(accepts(grammar, '{"a": 1}\n')).toBe(false)
})

test('what a strict schema cannot be held to is refused by name, and left out otherwise', () => {
  expect(() => grammarOf({ type: 'string', pattern: 'a+' })).toThrow("'pattern'")
  expect(() => grammarOf({ type: 'number', minimum: 0.5 })).toThrow('whole numbers')
  expect(() => grammarOf({ $ref: '#/$defs/missing' })).toThrow('points to nothing')
  expect(() => grammarOf({ type: 'strnig' })).toThrow("'type'")
  expect(accepts(grammarOf({ type: 'string', pattern: 'a+' }, false), '"b"')).toBe(true)
})

test('a schema of a thousand levels is refused, not followed', () => {
  let schema: JsonSchema = { type: 'string' }
  for (let level = 0; level < 1_000; level += 1) schema = { type: 'array', items: schema }
  expect(() => grammarOf(schema)).toThrow('too deeply')
})

test('integer bounds hold exactly', () => {
  const bound = fc.integer({ min: -1_200, max: 1_200 })
  fc.assert(
    fc.property(bound, bound, fc.array(fc.integer({ min: -1_500, max: 1_500 })), (a, b, values) => {
      const [min, max] = [Math.min(a, b), Math.max(a, b)]
      const grammar = `root ::= ${integerRule(min, max)}\n`
      for (const value of [...values, min - 1, min, max, max + 1]) {
        expect([value, accepts(grammar, String(value))]).toEqual([
          value,
          value >= min && value <= max,
        ])
      }
    }),
    { numRuns: 60 },
  )
})

test('one-sided and decimal bounds hold', () => {
  const atLeast = `root ::= ${integerRule(18, undefined)}\n`
  for (const [value, fits] of [
    [17, false],
    [18, true],
    [1_000_000, true],
    [-18, false],
  ] as const) {
    expect([value, accepts(atLeast, String(value))]).toEqual([value, fits])
  }
  const atMost = `root ::= ${integerRule(undefined, -5)}\n`
  for (const [value, fits] of [
    [-4, false],
    [-5, true],
    [-123, true],
    [5, false],
  ] as const) {
    expect([value, accepts(atMost, String(value))]).toEqual([value, fits])
  }
  const unit = `root ::= ${magnitudeRule(-1, 1)}\n`
  for (const [value, fits] of [
    [0, true],
    [0.25, true],
    [-0.75, true],
    [1, true],
    [1.5, false],
    [-2, false],
  ] as const) {
    expect([value, accepts(unit, String(value))]).toEqual([value, fits])
  }
})
