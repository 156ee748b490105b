import { expect, test } from 'vitest'
import { describePull, reportStepBytes } from './progress.ts'

test('progress is a fraction that never passes 1, and unknown without a total', () => {
  const received = (receivedBytes: number, totalBytes: number | undefined) =>
    describePull({ event: 'bytes-received', source: 'hf:o/n/a.gguf', receivedBytes, totalBytes })
  expect(received(49_000_000, 98_000_000)).toEqual({
    fraction: 0.5,
    detail: '49.0 of 98.0 MB from hf:o/n/a.gguf',
  })
  expect(received(11, 10).fraction).toBe(1)
  expect(received(0, 0).fraction).toBe(0)
  expect(received(1_000_000, undefined)).toEqual({
    fraction: undefined,
    detail: '1.0 MB from hf:o/n/a.gguf',
  })
})

test('a large file is reported in at most 200 steps', () => {
  expect(40e9 / reportStepBytes(40e9)).toBeLessThanOrEqual(200)
})

test('a source that is passed over is said so, with the reason', () => {
  const { detail } = describePull({ event: 'source-skipped', source: 'hf:a', reason: 'silent' })
  expect(detail).toBe('passed over hf:a: silent')
})
