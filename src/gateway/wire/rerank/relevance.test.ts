import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromScores, fromVectors, rank } from './relevance.ts'

const finite = fc.double({ noNaN: true, noDefaultInfinity: true })

test('relevance lies between 0 and 1 and never contradicts the order, whatever the scores', () => {
  fc.assert(
    fc.property(
      fc.array(finite, { minLength: 1, maxLength: 50 }),
      fc.constantFrom('logit' as const, 'probability' as const),
      (scores, scale) => {
        const ranked = rank(fromScores(scores, scale))
        expect(ranked).toHaveLength(scores.length)
        let before = 1
        for (const { relevance } of ranked) {
          expect(relevance).toBeGreaterThanOrEqual(0)
          expect(relevance).toBeLessThanOrEqual(before)
          before = relevance
        }
      },
    ),
  )
})

test('a logit becomes a probability, and a probability the logit that belongs to it', () => {
  const [zero] = fromScores([0], 'logit')
  expect(zero?.relevance).toBe(0.5)
  const [sure] = fromScores([0.9], 'probability')
  expect(sure?.relevance).toBe(0.9)
  const [again] = fromScores([sure?.raw ?? 0], 'logit')
  expect(again?.relevance).toBeCloseTo(0.9, 12)
})

test('raw scores have an end, even of what is certain', () => {
  for (const { raw } of fromScores([0, 1], 'probability')) expect(Number.isFinite(raw)).toBe(true)
})

test('equal documents keep their order, and the best are cut off last', () => {
  const ranked = rank(fromScores([0.5, 0.9, 0.5, 0.9], 'probability'), 3)
  expect(ranked.map((judgement) => judgement.index)).toEqual([1, 3, 0])
})

test('a cosine knows no length of vectors; what points away is not relevant, but still in order', () => {
  const ranked = rank(
    fromVectors([
      [3, 0],
      [-1, 0],
      [100, 0],
      [0, 0],
      [-1, 1],
    ]),
  )
  expect(ranked.map(({ index, relevance }) => [index, relevance])).toEqual([
    [1, 1],
    [2, 0],
    [3, 0],
    [0, 0],
  ])
})
