/** The short version of `npm run outage`. */
import { expect, test } from 'vitest'
import { outage } from '../chaos/outage.ts'
import { seededRandom } from '../chaos/random.ts'

const seed = Math.floor(Math.random() * 2 ** 31)

test(`PostgreSQL is away for 15 s with limits on: requests are served meanwhile, and the ledger is exact afterwards (seed ${seed})`, async () => {
  const result = await outage({
    random: seededRandom(seed),
    ratePerSecond: 25,
    warmMs: 3_000,
    awayMs: 15_000,
    leave: (scene) => scene.database.stop(),
    comeBack: (scene) => scene.database.start(),
    say: () => {},
  })
  expect([...result.broken, ...result.verdict.faults]).toEqual([])
  expect(result.served).toBeGreaterThan(200)
}, 120_000)
