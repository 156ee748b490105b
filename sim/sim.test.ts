import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runSeed } from './sim.ts'
import { plants } from './world/plant.ts'

let directory: string
beforeAll(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-sim-'))
})
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))

const cleanSeeds = 50
const plantedSeedsMax = 1_000

test(
  'whatever dies, stalls or lies: nothing is lost, billed twice, or spent beyond a limit',
  { timeout: 120_000 },
  async () => {
    for (let seed = 1; seed <= cleanSeeds; seed += 1) {
      const { violations } = await runSeed({ seed, directory })
      expect(violations, `replay: npm run sim -- --seed ${seed}`).toEqual([])
    }
  },
)

test('equal seeds have equal histories, and others have others', { timeout: 30_000 }, async () => {
  const hashes: string[] = []
  for (const seed of [3, 4, 3, 4]) hashes.push((await runSeed({ seed, directory })).historyHash)
  expect(hashes.slice(2)).toEqual(hashes.slice(0, 2))
  expect(hashes[0]).not.toBe(hashes[1])
})

/** A checker that finds nothing proves nothing. */
test.each(plants)('the planted bug %s is found', { timeout: 120_000 }, async (plant) => {
  for (let seed = 1; seed <= plantedSeedsMax; seed += 1) {
    const { violations } = await runSeed({ seed, plant, directory })
    if (violations.length > 0) return
  }
  throw new Error(`${plantedSeedsMax} seeds do not find it`)
})
