import { expect, test } from 'vitest'
import { readProbabilities } from './probabilities.ts'

test('probabilities are told as logarithms, with as many others as were asked for', () => {
  const { logprob, top } = readProbabilities([7, 0.5, 3, 0.25, 9, 0], 3, 2)
  expect(logprob).toBeCloseTo(Math.log(0.25))
  expect(top.map((candidate) => candidate.token)).toEqual([7, 3])
  expect(readProbabilities([7, 1, 9, 0], 9, 0)).toEqual({ logprob: -9999, top: [] })
})
