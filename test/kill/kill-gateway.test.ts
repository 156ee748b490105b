import { expect, test } from 'vitest'
import { killRounds } from './kill-gateway.ts'

const rounds = 5
const seed = Math.floor(Math.random() * 2 ** 31)

test(`gateway killed ${rounds} times under load: nothing completed is unbilled or billed twice, every crash is settled by rule (seed ${seed})`, async () => {
  const verdict = await killRounds({ rounds, seed, say: () => {} })
  expect(verdict.faults).toEqual([])
  // Without these the test would prove nothing.
  expect(verdict.completed).toBeGreaterThan(20)
  expect(verdict.crashed).toBeGreaterThan(0)
}, 180_000)
