import { EventStreamCodec } from '@smithy/eventstream-codec'
import { expect, test } from 'vitest'
import { createFrameReader } from './event-frames.ts'

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString('utf8'),
  (text) => Buffer.from(text, 'utf8'),
)
const frame = (text: string): Buffer =>
  Buffer.from(
    codec.encode({
      headers: { ':event-type': { type: 'string', value: 'metadata' } },
      body: Buffer.from(text),
    }),
  )
const two = Buffer.concat([frame('{"a":1}'), frame('{"b":"ü"}')])
const codeOf = (work: () => unknown): unknown => {
  try {
    work()
    return 'accepted'
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error
  }
}

test('frames are the same, wherever the bytes were cut', () => {
  for (let cut = 0; cut <= two.length; cut += 1) {
    const reader = createFrameReader()
    const frames = [...reader.read(two.subarray(0, cut)), ...reader.read(two.subarray(cut))]
    expect(frames.map(({ payload }) => payload.toString())).toEqual(['{"a":1}', '{"b":"ü"}'])
    expect(frames[0]?.headers.get(':event-type')).toBe('metadata')
    expect(reader.isAmidFrame()).toBe(false)
  }
})

test('a frame with any one bit changed is never taken for whole', () => {
  const whole = frame('{"a":1}')
  for (let position = 0; position < whole.length; position += 1) {
    const damaged = Buffer.from(whole)
    damaged[position] = (damaged[position] ?? 0) ^ 1
    const reader = createFrameReader()
    let count = 0
    const code = codeOf(() => {
      count = reader.read(damaged).length
    })
    // A longer length waits for bytes that never come; anything else is seen at once.
    if (code === 'accepted') expect([count, reader.isAmidFrame()]).toEqual([0, true])
    else expect(code).toBe('upstream.invalid_response')
  }
})

test.each([0, 15, 1024 * 1024 + 1, 0xffffffff])(
  'a length of %i is refused before its bytes come',
  (length) => {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(length)
    expect(codeOf(() => createFrameReader().read(head))).toBe('upstream.invalid_response')
  },
)
