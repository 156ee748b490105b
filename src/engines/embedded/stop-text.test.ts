import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createStopText } from './stop-text.ts'

function feed(pieces: readonly string[], stops: readonly string[]) {
  const stopText = createStopText(stops)
  let text = ''
  for (const piece of pieces) {
    const { text: shown, isStopped } = stopText.push(piece)
    text += shown
    if (isStopped) return { text, isStopped }
  }
  return { text: text + stopText.flush(), isStopped: false }
}

test('a stop sequence is cut out wherever the text is split', () => {
  const all = 'one two END three'
  for (let at = 0; at <= all.length; at += 1) {
    const pieces = [all.slice(0, at), all.slice(at)]
    expect(feed(pieces, ['END', 'zzz'])).toEqual({ text: 'one two ', isStopped: true })
  }
})

test('a beginning of a stop sequence that comes to nothing is shown after all', () => {
  expect(feed(['a E', 'N', 'x'], ['END'])).toEqual({ text: 'a ENx', isStopped: false })
  expect(feed(['a E', 'N'], ['END'])).toEqual({ text: 'a EN', isStopped: false })
})

test('any split of any text gives what a search in the whole text gives', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 })
  fc.assert(
    fc.property(fc.array(letters), fc.array(letters, { maxLength: 3 }), (pieces, wanted) => {
      const stops = wanted.filter((stop) => stop !== '')
      const whole = pieces.join('')
      const found = stops.map((stop) => whole.indexOf(stop)).filter((position) => position >= 0)
      const { text, isStopped } = feed(pieces, stops)
      expect(isStopped).toBe(found.length > 0)
      if (!isStopped) expect(text).toBe(whole)
      // A longer stop may begin earlier and end later than a shorter one, which then ends the text first.
      else expect(whole.startsWith(text)).toBe(true)
    }),
  )
})

test('of several stop sequences the one that comes first in the text is named', () => {
  const { text, stoppedBy } = createStopText(['zzz', 'END', 'EN']).push('one END zzz')
  expect([text, stoppedBy]).toEqual(['one ', 'END'])
})
