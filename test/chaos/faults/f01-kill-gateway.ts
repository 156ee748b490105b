import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { below } from '../random.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const kills = 6
const latestMs = 1_500
const recoveryMsMax = 30_000

export const killGateway: Fault = {
  id: 'f1',
  title: 'kill -9 of a gateway under load',
  injection: `${kills} times SIGKILL to one of two gateways, at random instants`,
  expectation: 'nothing completed is unbilled or billed twice; what was cut is settled by rule',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const recoveriesMs: number[] = []
    const course = await underLoad(scene, {}, async () => {
      for (let kill = 1; kill <= kills; kill += 1) {
        await sleep(random() * latestMs)
        const living = scene.gateways()
        const victim = living[below(random, living.length)]
        if (!victim) continue
        process.kill(victim.pid, 'SIGKILL')
        const atMs = performance.now()
        await scene.whole([victim.pid])
        recoveriesMs.push(performance.now() - atMs)
        say(`killed gateway ${victim.index}; back after ${Math.round(recoveriesMs.at(-1) ?? 0)} ms`)
      }
      return unless(
        recoveriesMs.every((ms) => ms < recoveryMsMax),
        `a gateway was away for ${Math.round(Math.max(...recoveriesMs))} ms`,
      )
    })
    return findingOf(course, `${kills} kills`)
  },
}
