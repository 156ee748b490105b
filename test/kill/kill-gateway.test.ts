import { expect, test } from 'vitest'
import { killRounds } from './kill-gateway.ts'

const rounds = 3
const seed = Math.floor(Math.random() * 2 ** 31)

test(`a gateway killed ${rounds} times under load, and its journal applied again: nothing completed is unbilled or billed twice (seed ${seed})`, async () => {
  const report = await killRounds({
    rounds,
    seed,
    ratePerSecond: 40,
    requestsMin: 0,
    replays: 1,
    say: () => {},
  })
  expect(report.faults).toEqual([])
  // Without these the test would prove nothing.
  expect(report.completed).toBeGreaterThan(20)
  expect(report.replayedEvents).toBeGreaterThan(40)
}, 180_000)
