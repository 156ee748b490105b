/** The shortest faults of `npm run chaos`, so that what all of them stand on is tried with each change. */
import { expect, test } from 'vitest'
import { connectionsCut } from '../chaos/faults/f13-connections-cut.ts'
import { writeFails } from '../chaos/faults/f07-f08-journal-disk.ts'
import { seededRandom } from '../chaos/random.ts'

const seed = Math.floor(Math.random() * 2 ** 31)

test.each([writeFails, connectionsCut])(
  `$title: $expectation (seed ${seed})`,
  async (fault) => {
    const finding = await fault.run({ random: seededRandom(seed), say: () => {} })
    expect(finding.broken).toEqual([])
  },
  90_000,
)
