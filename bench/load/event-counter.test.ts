import { expect, test } from 'vitest'
import { createEventCounter, type EventCounter } from './event-counter.ts'

const answer = Buffer.from(
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n' +
    '10\r\ndata: {"a":1}\n\n\r\n10\r\ndata: {"a":2}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n',
)

function counted(chunks: readonly Buffer[]): EventCounter {
  const counter = createEventCounter()
  const sum = chunks.reduce((total, chunk) => total + counter.count(chunk), 0)
  expect(sum).toBe(counter.events)
  return counter
}

test('events are counted once wherever the bytes are cut', () => {
  for (let cut = 13; cut < answer.length; cut += 1) {
    const counter = counted([answer.subarray(0, cut), answer.subarray(cut)])
    expect(counter).toMatchObject({ events: 3, complete: true })
  }
})

test('an answer without [DONE] or with an error status is not complete', () => {
  const cut = answer.subarray(0, answer.indexOf('e\r\ndata: [DONE]'))
  expect(counted([cut])).toMatchObject({ events: 2, complete: false })
  const refused = Buffer.from(answer.toString('latin1').replace('200 OK', '500 No'))
  expect(counted([refused])).toMatchObject({ complete: false })
})
