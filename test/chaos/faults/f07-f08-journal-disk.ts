/** The disk of the journal fails once, or takes its time. */
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import { isAlive } from '../../e2e/processes.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { memoryOf, openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const fireTimeoutMs = 20_000
const endTimeoutMs = 5_000
const stallMs = 5_000
const stallGrowthBytesMax = 96 * 1024 * 1024

export const writeFails: Fault = {
  id: 'f7',
  title: "the journal's disk fails once (EIO)",
  injection: 'one durable write of each gateway returns EIO',
  expectation: 'the gateway takes no request more and ends by itself; what was durable is billed',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const course = await underLoad(scene, {}, async () => {
      for (const gateway of [1, 2]) {
        const victim = scene.gateways().find(({ index }) => index === gateway)
        const armed = scene.arm(gateway, 'journal.write', { do: 'fail', code: 'EIO' }, 5)
        await until(`gateway ${gateway} writes`, fireTimeoutMs, () => armed.fired)
        await until('it has ended', endTimeoutMs, () => !isAlive(victim?.pid ?? 0))
        say(`gateway ${gateway} ended by itself`)
        await scene.whole(victim ? [victim.pid] : [])
      }
      const stops = scene.platform.events.filter(({ event }) => event === 'role-stopped')
      return unless(
        stops.length === 2 && stops.every((stop) => stop['reason'] === 'exit code 1'),
        `it did not end by itself: ${JSON.stringify(stops)}`,
      )
    })
    return findingOf(course, '2 failed writes')
  },
}

export const writeStalls: Fault = {
  id: 'f8',
  title: "the journal's disk does not answer for 5 s",
  injection: 'one durable write of gateway 1 takes 5 s, at 100 requests a second',
  expectation: 'new requests are refused with 503 meanwhile; memory stays bounded; then it goes on',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    let growth = 0
    let refused = 0
    const course = await underLoad(scene, { ratePerSecond: 100 }, async (load) => {
      const victim = scene.gateways().find(({ index }) => index === 1)
      const before = memoryOf(victim?.pid ?? 0)
      const armed = scene.arm(1, 'journal.write', { do: 'stall', ms: stallMs })
      await until('gateway 1 writes', fireTimeoutMs, () => armed.fired)
      await sleep(stallMs - 500)
      growth = memoryOf(victim?.pid ?? 0) - before
      await sleep(2_000)
      refused = load.seen.filter(({ status }) => status === 503).length
      say(`${refused} refused, memory grew by ${Math.round(growth / 1024 / 1024)} MiB`)
      return [
        ...unless(refused > 0, 'nothing was refused while the disk did not answer'),
        ...unless(growth < stallGrowthBytesMax, `memory grew by ${growth} bytes`),
        ...unless(isAlive(victim?.pid ?? 0), 'the gateway has ended'),
      ]
    })
    return findingOf(course, `${refused} refused`)
  },
}
