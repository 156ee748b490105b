import { expect, test } from 'vitest'
import { afterExit, neverFailed } from './restart-policy.ts'

test('each early end doubles the delay, up to ten seconds', () => {
  let state = neverFailed
  const delays = Array.from({ length: 9 }, () => {
    const next = afterExit(state, 100)
    state = next.state
    return next.delayMs
  })
  expect(delays).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000])
})

test('a role that ran for half a minute starts again at once', () => {
  expect(afterExit({ failuresInARow: 8 }, 30_000).delayMs).toBe(200)
})
