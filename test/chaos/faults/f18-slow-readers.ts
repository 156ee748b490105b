import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { memoryOf, openScene } from '../scene.ts'
import { openRawStream } from './raw-stream.ts'

const clients = 40
const flooding = 'stub/flooding:1'
const fillMs = 12_000
const watchMs = 10_000
const growthBytesMax = 24 * 1024 * 1024
const endTimeoutMs = 90_000
/** What the sockets between engine and gateway hold: emitted, and never read. */
const socketTokensMax = 200_000

export const slowReaders: Fault = {
  id: 'f18',
  title: 'clients that read one byte a second',
  injection: `${clients} such clients of an engine that emits as fast as it can`,
  expectation: 'the engine is slowed down, memory stays flat, and after 30 s they are given up',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const streams = Array.from({ length: clients }, () => openRawStream(scene, flooding, 1_000_000))
    const reading = setInterval(() => {
      for (const { socket } of streams) socket.read(1)
    }, 1_000)
    try {
      for (const { socket } of streams) {
        socket.removeAllListeners('data')
        socket.pause()
      }
      await sleep(fillMs)
      const pids = scene.gateways().map(({ pid }) => pid)
      const memory = (): number => pids.reduce((sum, pid) => sum + memoryOf(pid), 0)
      const emitted = (): number =>
        [...scene.engine.truth.values()].reduce((sum, [one]) => sum + (one?.outputTokens ?? 0), 0)
      const [memoryBefore, emittedBefore] = [memory(), emitted()]
      await sleep(watchMs)
      const growth = memory() - memoryBefore
      const more = emitted() - emittedBefore
      say(`grew by ${Math.round(growth / 1024)} KiB, ${more} tokens more, within ${watchMs} ms`)
      await until('all were given up', endTimeoutMs, async () => {
        const rows = await scene.books.usage()
        return rows.filter(({ outcome }) => outcome === 'client_left').length >= clients
      })
      const verdict = await scene.verdict([], { leavingTokensMax: socketTokensMax })
      return {
        facts: `${clients} clients, memory ${growth < 0 ? '' : '+'}${Math.round(growth / 1024 / 1024)} MiB in ${watchMs / 1_000} s, ${verdict.left} given up`,
        broken: [
          ...verdict.faults,
          ...unless(growth < growthBytesMax, `memory grew by ${growth} bytes`),
          ...unless(verdict.left === clients, `${verdict.left} were settled as left`),
        ],
      }
    } finally {
      clearInterval(reading)
      for (const { socket } of streams) socket.destroy()
    }
  },
}
