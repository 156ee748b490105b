/** The short version of `npm run budget`. */
import { expect, test } from 'vitest'
import { budgetRounds } from '../chaos/budget.ts'

const seed = Math.floor(Math.random() * 2 ** 31)

test(`40 requests at once against a budget for some of them, ten times, two gateways, one killed: as many are served as the budget is for (seed ${seed})`, async () => {
  const report = await budgetRounds({
    rounds: 10,
    concurrency: 40,
    kills: 1,
    seed,
    say: () => {},
  })
  expect(report.faults).toEqual([])
  expect(report).toMatchObject({ overshootNanos: 0n, falseRefusals: 0 })
  // Without these the test would prove nothing.
  expect(report.served).toBeGreaterThan(20)
  expect(report.refused).toBeGreaterThan(20)
}, 120_000)
