import { expect, test } from 'vitest'
import { decodeG711 } from './g711.ts'
import { createLiveInput, segmentMsMax, type InputEvent, type LiveInput } from './input.ts'
import { createMinuteMeter } from './minutes.ts'

const samplesPerSecond = 8_000
const detection = { threshold: 0.5, prefixPaddingMs: 100, silenceMs: 200 }

/** A sine of 400 Hz. */
function tone(ms: number, amplitude = 8_000): Buffer {
  const samples = Buffer.alloc((samplesPerSecond / 1_000) * ms * 2)
  for (let index = 0; index < samples.length / 2; index += 1) {
    const angle = (2 * Math.PI * 400 * index) / samplesPerSecond
    samples.writeInt16LE(Math.round(Math.sin(angle) * amplitude), index * 2)
  }
  return samples
}
const silence = (ms: number): Buffer => tone(ms, 0)
const lengthMs = (samples: Buffer): number => (samples.length / 2 / samplesPerSecond) * 1_000

/** In pieces of an odd size, as networks deliver. */
function append(input: LiveInput, sound: Buffer, pieceBytes = 333): InputEvent[] {
  const events: InputEvent[] = []
  for (let at = 0; at < sound.length; at += pieceBytes) {
    events.push(...input.append(sound.subarray(at, at + pieceBytes)))
  }
  return events
}

test('speech between silences becomes one segment, with its padding and its pause', () => {
  const input = createLiveInput(samplesPerSecond, detection)
  const sound = Buffer.concat([silence(1_000), tone(500), silence(600)])
  const events = append(input, sound)
  expect(events.map(({ type }) => type)).toEqual(['speech-started', 'speech-stopped', 'segment'])
  const [started, stopped, segment] = events
  expect(started).toEqual({ type: 'speech-started', atMs: 900 })
  expect(stopped).toEqual({ type: 'speech-stopped', atMs: 1_700 })
  expect(segment?.type === 'segment' && lengthMs(segment.samples)).toBe(800)
})

test('a pause shorter than asked for does not end a segment', () => {
  const input = createLiveInput(samplesPerSecond, detection)
  const sound = Buffer.concat([tone(300), silence(160), tone(300), silence(300)])
  expect(append(input, sound).filter(({ type }) => type === 'segment')).toHaveLength(1)
})

test('a click and a hum below the threshold are no speech', () => {
  const input = createLiveInput(samplesPerSecond, detection)
  const sound = Buffer.concat([silence(200), tone(20), silence(200), tone(1_000, 200)])
  expect(append(input, sound)).toEqual([])
})

test('an hour of silence leaves only the padding in memory', () => {
  const input = createLiveInput(samplesPerSecond, detection)
  const minute = silence(60_000)
  for (let minutes = 0; minutes < 60; minutes += 1) input.append(minute)
  expect(lengthMs(input.commit() ?? Buffer.alloc(0))).toBeLessThanOrEqual(200)
})

test('without detection nothing is cut but what is too long, and no sample is lost', () => {
  const input = createLiveInput(samplesPerSecond, undefined)
  const sound = tone(segmentMsMax + 1_234)
  const events = append(input, sound, 99_999)
  const cut = events.flatMap((event) => (event.type === 'segment' ? [event.samples] : []))
  expect(cut.map(lengthMs)).toEqual([segmentMsMax])
  const rest = input.commit() ?? Buffer.alloc(0)
  expect(Buffer.concat([...cut, rest]).equals(sound)).toBe(true)
  expect(input.isEmpty).toBe(true)
  expect(input.commit()).toBeUndefined()
})

test('what was cleared is gone', () => {
  const input = createLiveInput(samplesPerSecond, undefined)
  append(input, tone(100))
  input.clear()
  expect(input.commit()).toBeUndefined()
})

test('the telephone codes stand for the samples that the standard gives them', () => {
  const samplesOf = (law: 'g711_ulaw' | 'g711_alaw', codes: number[]): number[] => {
    const samples = decodeG711(law, Buffer.from(codes))
    return codes.map((_, index) => samples.readInt16LE(index * 2))
  }
  expect(samplesOf('g711_ulaw', [0xff, 0x7f, 0x80, 0x00])).toEqual([0, 0, 32_124, -32_124])
  expect(samplesOf('g711_alaw', [0xd5, 0x55, 0xaa, 0x2a])).toEqual([8, -8, 32_256, -32_256])
})

test('a session of many short segments is billed by its started minutes, as one recording would be', () => {
  const meter = createMinuteMeter()
  const bill = (segmentMs: number): number => {
    const billedMs = meter.billedMs(segmentMs)
    meter.served(segmentMs)
    return billedMs
  }
  expect(Array.from({ length: 13 }, () => bill(5_000))).toEqual([
    60_000,
    ...Array.from({ length: 11 }, () => 0),
    60_000,
  ])
  expect(bill(130_000)).toBe(120_000)
})

test('a segment that was not served starts no minute', () => {
  const meter = createMinuteMeter()
  expect(meter.billedMs(5_000)).toBe(60_000)
  expect(meter.billedMs(5_000)).toBe(60_000)
})
