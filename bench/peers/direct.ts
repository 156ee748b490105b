/** No proxy: what load and mock engine do by themselves. Added latency is measured against it. */
import { answers, type Peer } from './peer.ts'

const timeoutMs = 5_000

export const direct: Peer = {
  name: 'no proxy',
  streamsMax: 1_000,
  install: () => Promise.resolve(),
  async start(options) {
    const peer = {
      url: options.mockUrl,
      headers: {},
      model: 'mock',
      version: '',
      pids: () => [],
      otherPids: () => [],
      stop: () => Promise.resolve(),
    }
    await answers(peer, timeoutMs, () => '')
    return peer
  },
}
