import { expect, test } from 'vitest'
import type { StreamPart } from '../../engines/engine.ts'
import { manualClock } from '../../platform/clock.ts'
import { streamAnswer } from './respond.ts'

/** Proxies and SDKs give up on connections that are silent for too long. */
test('comments bridge a silence of ten seconds, and none comes while the engine speaks', async () => {
  const clock = manualClock()
  const written: string[] = []
  const exchange = {
    requestId: 'req_test',
    startedMs: 0,
    signal: new AbortController().signal,
    streamStarted: false,
    startStream() {
      exchange.streamStarted = true
      written.push('head')
    },
    write(text: string): undefined {
      written.push(text)
    },
    endStream: () => void written.push('end'),
  }
  let speak = Promise.withResolvers<StreamPart | undefined>()
  async function* listen(): AsyncGenerator<StreamPart> {
    for (let part = await speak.promise; part; part = await speak.promise) {
      speak = Promise.withResolvers()
      yield part
    }
  }
  const hear = async (text: string): Promise<void> => {
    speak.resolve({ type: 'text-delta', choice: 0, text })
    await new Promise((resolve) => setImmediate(resolve))
  }
  const answer = streamAnswer({
    exchange,
    parts: listen(),
    encode: (part) => ('text' in part ? part.text : ''),
    keepAlive: ':',
    clock,
  })
  clock.advance(9_999)
  expect(written).toEqual([])
  clock.advance(1)
  expect(written).toEqual(['head', ':'])
  clock.advance(9_000)
  await hear('one')
  clock.advance(9_999)
  expect(written.slice(2)).toEqual(['one'])
  await hear('two')
  clock.advance(20_000)
  expect(written.slice(3)).toEqual(['two', ':', ':'])
  speak.resolve(undefined)
  await answer
  clock.advance(60_000)
  expect(written.slice(6)).toEqual(['end'])
})
