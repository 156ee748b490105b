/** Clients that hang up: in the middle of an answer, and right behind its end. */
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { below } from '../random.ts'
import { model, openScene } from '../scene.ts'
import { openRawStream, type RawStream } from './raw-stream.ts'

const clients = 24
const steady = 'stub/steady:1'
const steadyTokenMs = 50
const abortMsMax = 1_000
const waitMs = 20_000

export const leavesMidStream: Fault = {
  id: 'f16',
  title: 'a client resets its connection in the middle of an answer',
  injection: `${clients} streams, each reset after some tokens`,
  expectation: 'the engine is stopped within a second; what it emitted is billed, once',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const streams = Array.from({ length: clients }, () => openRawStream(scene, steady, 10_000))
    const ids: string[] = []
    let emittedAfter = 0
    for (const stream of streams) {
      const ticks = 1 + below(random, 20)
      await until('some tokens came', waitMs, () => countTicks(stream) >= ticks)
      const id = stream.requestId ?? ''
      ids.push(id)
      stream.socket.resetAndDestroy()
      const before = emitted(id)
      await sleep(abortMsMax)
      const stopped = emitted(id)
      await sleep(4 * steadyTokenMs)
      emittedAfter = Math.max(emittedAfter, emitted(id) - stopped)
      if (ids.length === 1) say(`emitted ${before} when it left, ${stopped} a second later`)
    }
    const verdict = await scene.verdict([], { leavingTokensMax: abortMsMax / steadyTokenMs })
    const rows = (await scene.books.usage()).filter((row) => ids.includes(row.requestId))
    return {
      facts: `${clients} clients left, ${verdict.left} settled as such`,
      broken: [
        ...verdict.faults,
        ...unless(emittedAfter === 0, `an engine still emitted ${emittedAfter} a second later`),
        ...unless(
          rows.length === clients && rows.every(({ outcome }) => outcome === 'client_left'),
          `${rows.length} of ${clients} settled: ${rows.map(({ outcome }) => outcome).join(' ')}`,
        ),
      ],
    }

    function emitted(id: string): number {
      return scene.engine.truth.get(id)?.[0]?.outputTokens ?? 0
    }
  },
}

export const leavesBehindEnd: Fault = {
  id: 'f17',
  title: 'a client closes its connection right behind the end of the answer',
  injection: `${clients} streams, each reset in the turn in which [DONE] arrives`,
  expectation: 'recorded as completed',
  async run({ random }) {
    await using scene = await openScene({ random })
    const ids: string[] = []
    for (let n = 0; n < clients; n += 1) {
      const stream = openRawStream(scene, model, 1 + below(random, 30))
      await new Promise<void>((resolve) => {
        stream.socket.on('data', () => {
          if (!stream.text().includes('data: [DONE]')) return
          stream.socket.resetAndDestroy()
          resolve()
        })
      })
      ids.push(stream.requestId ?? '')
    }
    const verdict = await scene.verdict([])
    const rows = (await scene.books.usage()).filter((row) => ids.includes(row.requestId))
    const completed = rows.filter(({ outcome }) => outcome === 'completed').length
    return {
      facts: `${clients} clients left, ${completed} recorded as completed`,
      broken: [
        ...verdict.faults,
        ...unless(completed === clients, `${clients - completed} are not recorded as completed`),
      ],
    }
  },
}

function countTicks(stream: RawStream): number {
  return stream.text().split('tick').length - 1
}
