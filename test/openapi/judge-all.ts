/**
 * Set up before each file of integration tests: whatever they ask a gateway for is compared with the published description, and a file fails when
 * something does not fit. So the description is held against all traffic that tests think of.
 */
import { afterAll, expect } from 'vitest'
import type { ObservedExchange } from './exchange.ts'
import { watchTraffic } from './watch-traffic.ts'

/** More than any file makes. */
const exchangesMax = 10_000

const exchanges: ObservedExchange[] = []
const watch = watchTraffic((exchange) => {
  if (exchanges.length < exchangesMax) exchanges.push(exchange)
})

afterAll(async () => {
  watch.stop()
  if (exchanges.length === 0) return
  // Most files have nothing to do with it, and should not wait for it.
  const { judgePublished } = await import('./published.ts')
  const judge = judgePublished()
  const complaints = new Set<string>()
  for (const exchange of exchanges)
    for (const complaint of await judge.judge(exchange)) complaints.add(complaint)
  expect([...complaints], 'traffic that the OpenAPI document does not describe').toEqual([])
})
