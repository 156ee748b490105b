/** A client that leaves ends the engine's work, seen in the engine: by its own count of running requests, or by its processes' rest. */
import { setTimeout as delay } from 'node:timers/promises'
import { findAdapter } from '../../../src/engines/registry.ts'
import type { Offer } from '../engine.ts'
import { isBusy, msUntilIdle } from '../process.ts'
import { hold, no, type Check } from './check.ts'

const endMsMax = 1_000
const watchMsMax = 5_000
const pollMs = 20
const story = 'Write a very long story about the sea, with many chapters.'

export const cancelChecks: readonly Check[] = [
  {
    name: 'cancel ends the work',
    task: 'chat',
    async run({ client, offer, kind }) {
      const leaving = new AbortController()
      const stream = await client.chat.completions.create(
        {
          model: offer.model,
          messages: [{ role: 'user', content: story }],
          max_tokens: 1_500,
          stream: true,
        },
        { signal: leaving.signal },
      )
      let chunks = 0
      for await (const _chunk of stream) {
        chunks += 1
        if (chunks < 5) continue
        hold(await works(kind, offer), 'the engine did not work while it answered')
        break
      }
      hold(chunks === 5, 'the answer ended by itself')
      leaving.abort()
      const tookMs = (await msUntilNoneRuns(kind, offer)) ?? (await msUntilRest(offer))
      if (tookMs === undefined) return no('nothing of the engine can be seen')
      hold(tookMs <= endMsMax, `it still worked after ${endMsMax} ms`)
      return { state: 'yes', note: `${Math.round(tookMs)} ms` }
    },
  },
]

/** So that rest afterwards means something. */
async function works(kind: string, { baseUrl, processId }: Offer): Promise<boolean> {
  const engine = findAdapter(kind)?.connect({ baseUrl })
  try {
    const load = await engine?.readLoad?.(AbortSignal.timeout(1_000))
    if (load?.runningRequests !== undefined) return load.runningRequests > 0
  } finally {
    await engine?.close()
  }
  return processId === undefined || (await isBusy(processId))
}

async function msUntilNoneRuns(kind: string, { baseUrl }: Offer): Promise<number | undefined> {
  const engine = findAdapter(kind)?.connect({ baseUrl })
  const beganMs = performance.now()
  try {
    while (performance.now() - beganMs < watchMsMax) {
      const load = await engine?.readLoad?.(AbortSignal.timeout(1_000))
      if (load?.runningRequests === undefined) return undefined
      if (load.runningRequests === 0) return performance.now() - beganMs
      await delay(pollMs)
    }
    return Infinity
  } finally {
    await engine?.close()
  }
}

async function msUntilRest({ processId }: Offer): Promise<number | undefined> {
  if (processId === undefined) return undefined
  return (await msUntilIdle(processId, watchMsMax)) ?? Infinity
}
