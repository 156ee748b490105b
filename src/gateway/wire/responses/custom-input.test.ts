import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createCustomInput } from './custom-input.ts'

/** Pushes the text in the given pieces. */
function read(pieces: readonly string[]): { readonly early: string; readonly whole: string } {
  const reader = createCustomInput()
  const early = pieces.map((piece) => reader.push(piece)).join('')
  return { early, whole: early + reader.end() }
}

function cut(text: string, every: number): readonly string[] {
  return text.match(new RegExp(`[^]{1,${every}}`, 'g')) ?? []
}

test('the input of a custom tool is read out of its arguments, wherever they are cut', () => {
  const input = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }))
  fc.assert(
    fc.property(input, fc.integer({ min: 1, max: 9 }), fc.boolean(), (text, every, isAscii) => {
      const json = JSON.stringify({ input: text })
      const escaped = isAscii ? json.replaceAll(/[^ -~]/g, toEscape) : json
      // All of it before the end: a tool's input is shown while it is written.
      expect(read(cut(escaped, every))).toEqual({ early: text, whole: text })
    }),
    { numRuns: 200 },
  )
})

function toEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

test.each([
  ['another field first', '{"x":1,"input":"ls"}', 'ls'],
  ['no JSON at all', 'ls -l', 'ls -l'],
  ['JSON without the field', '{"cmd":"ls"}', '{"cmd":"ls"}'],
  ['a line break that JSON would escape', '{"input":"a\nb"}', 'a\nb'],
  ['an escape that is none', String.raw`{"input":"a\qb"}`, String.raw`a\qb`],
  ['half a pair of surrogates', String.raw`{"input":"a\ud83d!"}`, 'a\ud83d!'],
  ['a text that was cut in an escape', String.raw`{"input":"a\u00`, 'a'],
  ['nothing', '', ''],
])('a model that writes %s is understood', (_, args, input) => {
  for (const every of [1, 3, 100]) expect(read(cut(args, every)).whole).toBe(input)
})
