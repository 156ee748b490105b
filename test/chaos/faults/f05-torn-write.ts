import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const rounds = 6
const passagesMax = 60
const fireTimeoutMs = 20_000

export const tornWrite: Fault = {
  id: 'f5',
  title: 'torn write: the last frame of the journal is there in part',
  injection: `${rounds} times: a random share of a frame reaches the disk, and the gateway dies`,
  expectation: 'the torn end is dropped; nothing that anybody was told is lost',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const course = await underLoad(scene, {}, async () => {
      for (let round = 0; round < rounds; round += 1) {
        const gateway = 1 + (round % 2)
        const victim = scene.gateways().find(({ index }) => index === gateway)
        const passage = 1 + Math.floor(random() * passagesMax)
        const share = random()
        const armed = scene.arm(gateway, 'journal.write', { do: 'tear', share }, passage)
        await until(`gateway ${gateway} writes`, fireTimeoutMs, () => armed.fired)
        say(`gateway ${gateway} died with ${Math.round(share * 100)} % of a frame written`)
        await scene.whole(victim ? [victim.pid] : [])
      }
      return []
    })
    return findingOf(course, `${rounds} torn frames`)
  },
}
