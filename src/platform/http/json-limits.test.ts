import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fault } from '../fault.ts'
import { jsonDepthMax, parseBoundedJson } from './json-limits.ts'

const parse = (text: string): unknown => parseBoundedJson(Buffer.from(text))
const codeOf = (text: string): string => {
  try {
    parse(text)
    return 'accepted'
  } catch (error) {
    return error instanceof Fault ? error.code : 'not a fault'
  }
}

const cases = [
  { name: 'a plain object passes', given: '{"a":[1,2,{"b":"c"}]}', want: 'accepted' },
  {
    name: 'the deepest allowed nesting passes',
    given: '['.repeat(jsonDepthMax) + ']'.repeat(jsonDepthMax),
    want: 'accepted',
  },
  {
    name: 'one level more is refused',
    given: '['.repeat(jsonDepthMax + 1) + ']'.repeat(jsonDepthMax + 1),
    want: 'client.invalid_json',
  },
  {
    name: 'a depth bomb is refused without building it',
    given: '['.repeat(5_000_000),
    want: 'client.invalid_json',
  },
  {
    name: 'too many values are refused',
    given: `[${'0,'.repeat(1_000_001)}0]`,
    want: 'client.invalid_json',
  },
  {
    name: '__proto__ is refused',
    given: '{"a":{"__proto__":{"isAdmin":true}}}',
    want: 'client.invalid_json',
  },
  {
    name: 'an escaped __proto__ is refused',
    given: '{"\\u005f_proto__":1}',
    want: 'client.invalid_json',
  },
  {
    name: '__proto__ deep inside a schema is refused',
    given: `${'{"a":'.repeat(10)}{"__proto__":1}${'}'.repeat(10)}`,
    want: 'client.invalid_json',
  },
  {
    name: 'constructor among own fields is refused',
    given: '{"constructor":1}',
    want: 'client.invalid_json',
  },
  {
    name: 'a tool parameter may be called constructor',
    given:
      '{"tools":[{"function":{"parameters":{"properties":{"constructor":{"type":"string"}}}}}]}',
    want: 'accepted',
  },
  {
    name: '__proto__ as a value is a text like any other',
    given: '{"content":"__proto__"}',
    want: 'accepted',
  },
  {
    name: 'a repeated key is refused',
    given: '{"model":"a","model":"b"}',
    want: 'client.invalid_json',
  },
  {
    name: 'a key repeated by an escape is refused',
    given: '{"model":"a","m\\u006fdel":"b"}',
    want: 'client.invalid_json',
  },
  { name: 'the same key in two objects passes', given: '[{"a":1},{"a":2}]', want: 'accepted' },
  {
    name: 'brackets and quotes inside strings do not count',
    given: '{"a":"[[[{{\\"\\\\"}',
    want: 'accepted',
  },
  { name: 'a string without end is refused', given: '{"a":"b', want: 'client.invalid_json' },
  { name: 'a closing bracket too many is refused', given: '{}}', want: 'client.invalid_json' },
  { name: 'an empty body is refused', given: '', want: 'client.invalid_json' },
]
for (const { name, given, want } of cases) {
  test(name, () => {
    expect(codeOf(given)).toBe(want)
  })
}

test('the refusal never quotes the body', () => {
  try {
    parse('{"password":"hunter2" oops}')
    expect.unreachable()
  } catch (error) {
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  }
})

test('what JSON.stringify makes is read back the same', () => {
  const ordinary = fc
    .jsonValue({ maxDepth: 5 })
    .filter((value) => !/__proto__|constructor|prototype/.test(JSON.stringify(value)))
  fc.assert(
    fc.property(ordinary, (value) => {
      expect(parse(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

/** Long texts without an escape are read apart from the rest. */
test('long texts come to the places where they were written', () => {
  const long = (seed: string): string => `${seed} é 漢 ${'data '.repeat(4_000)}`
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(1, true, null, 'short', '', '"', 'a\\b'),
      fc.constantFrom('one', 'two').map(long),
      fc.constantFrom('line\n', 'quote"').map((seed) => seed + long('escaped')),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b"', 'ü', '0', '', long('key')), tie('any'), {
        maxKeys: 3,
      }),
    ),
  })).any
  fc.assert(
    fc.property(value, fc.nat(7), (wanted, offset) => {
      const text = JSON.stringify(wanted)
      const bytes = Buffer.from(' '.repeat(offset) + text).subarray(offset)
      expect(JSON.stringify(parseBoundedJson(bytes))).toBe(text)
    }),
  )
})

test('a control character is refused wherever it stands in a long text', () => {
  const body = (text: string): string => `{"messages":[{"content":"${text}"}]}`
  const filler = 'x'.repeat(20_000)
  for (const character of ['\0', '\n', '\t', '\u001f']) {
    for (const at of [0, 1, 2, 3, 4, 5, 10_000, 19_996, 19_997, 19_998, 19_999, 20_000]) {
      const text = filler.slice(0, at) + character + filler.slice(at)
      expect(codeOf(body(text))).toBe('client.invalid_json')
    }
  }
  expect(codeOf(body(`\u007f${filler} ~é`))).toBe('accepted')
  expect(codeOf(`{"a" "${filler}"}`)).toBe('client.invalid_json')
  expect(codeOf(`{"a":"${filler}","b":"${filler}"`)).toBe('client.invalid_json')
  expect(codeOf(`"${filler}"`)).toBe('accepted')
})

test('a body is the same value in whatever pieces it came, and is not overwritten by the next one', () => {
  const body = (name: string): Buffer =>
    Buffer.from(JSON.stringify({ name, text: `é\n${name.repeat(10_000)}`, deep: [{ a: 'ü' }] }))
  const first = body('one')
  const split = (bytes: Buffer, at: number): Buffer[] => [bytes.subarray(0, at), bytes.subarray(at)]
  for (let at = 0; at <= 60; at += 1)
    expect(parseBoundedJson(split(first, at))).toEqual(JSON.parse(first.toString()))
  const value = parseBoundedJson(split(first, 5_000))
  parseBoundedJson(split(body('two'), 5_000))
  expect(value).toEqual(JSON.parse(first.toString()))
  const long = Buffer.from(JSON.stringify('x'.repeat(3 * 1024 * 1024)))
  expect(parseBoundedJson(split(long, 2_000_000))).toHaveLength(3 * 1024 * 1024)
  expect(() => parseBoundedJson([])).toThrow(/not valid JSON/)
})
