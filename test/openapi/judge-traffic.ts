/** For harnesses of gateways: whatever a test asks for is held against the published description, so that it is checked by all traffic that tests think of. */
import type { ObservedExchange } from './exchange.ts'
import { judgePublished } from './published.ts'
import { watchTraffic } from './watch-traffic.ts'

export interface JudgedTraffic {
  /** Throws with all that was not as it is described. */
  finish(): Promise<void>
}

/** What comes after these is not kept. */
const bytesMax = 64 * 1024 * 1024

/** Judges at the end, so that no test waits for it. */
export function judgeTraffic(): JudgedTraffic {
  const exchanges: ObservedExchange[] = []
  let bytes = 0
  const watch = watchTraffic((exchange) => {
    bytes += exchange.requestBody.length + exchange.body.length
    if (bytes <= bytesMax) exchanges.push(exchange)
  })
  return {
    async finish() {
      watch.stop()
      if (exchanges.length === 0) return
      const judge = await judgePublished()
      const complaints = new Set<string>()
      for (const exchange of exchanges)
        for (const complaint of await judge.judge(exchange)) complaints.add(complaint)
      if (complaints.size === 0) return
      const what = 'Traffic is not as src/gateway/openapi describes it'
      throw new Error(`${what}:\n${[...complaints].join('\n')}`)
    },
  }
}
