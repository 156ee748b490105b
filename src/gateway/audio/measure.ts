/**
 * How long a recording is, by its content: samples, frames and packets are counted, and what a header says of the whole is not believed. Nothing
 * is decoded. The event loop goes on in between, however the file was built.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { measureFlac } from './flac.ts'
import type { AudioKind, Measurement } from './measurement.ts'
import { afterTags, measureFrames, readAdtsFrame, readMp3Frame } from './mpeg.ts'
import { measureMp4 } from './mp4.ts'
import { measureOgg } from './ogg.ts'
import { measureWav } from './wav.ts'
import { measureWebm } from './webm.ts'

export interface MeasuredAudio extends AudioKind {
  /** At least 1. */
  readonly audioMs: number
}

/** Encoders fill their last frame, and add some silence before the first: that alone starts no new minute. */
const paddingMsMax = 100
const minuteMs = 60_000

/** `undefined` for bytes that are no recording in a container that is known here, or without a sound in it. */
export async function measureAudio(bytes: Buffer): Promise<MeasuredAudio | undefined> {
  const found = recognise(bytes)
  if (!found) return undefined
  for (;;) {
    const step = found.measurement.next()
    if (step.done !== true) {
      await nextTurn()
      continue
    }
    if (step.value === undefined || !(step.value > 0)) return undefined
    const { mediaType, extension } = found
    return { mediaType, extension, audioMs: withoutPadding(Math.max(1, Math.round(step.value))) }
  }
}

function withoutPadding(audioMs: number): number {
  const beyond = audioMs % minuteMs
  return audioMs > minuteMs && beyond <= paddingMsMax ? audioMs - beyond : audioMs
}

/** By the first bytes; names and declared types are the client's. */
function recognise(bytes: Buffer): (AudioKind & { measurement: Measurement }) | undefined {
  const at = afterTags(bytes)
  const head = bytes.toString('latin1', at, at + 12)
  if (/^(RIFF|RF64)....WAVE/s.test(head)) {
    return { mediaType: 'audio/wav', extension: 'wav', measurement: measureWav(bytes) }
  }
  if (head.startsWith('fLaC')) {
    return { mediaType: 'audio/flac', extension: 'flac', measurement: measureFlac(bytes, at) }
  }
  if (head.startsWith('OggS')) {
    return { mediaType: 'audio/ogg', extension: 'ogg', measurement: measureOgg(bytes) }
  }
  if (head.startsWith('\x1a\x45\xdf\xa3')) {
    return { mediaType: 'audio/webm', extension: 'webm', measurement: measureWebm(bytes) }
  }
  if (head.slice(4, 8) === 'ftyp') {
    return { mediaType: 'audio/mp4', extension: 'm4a', measurement: measureMp4(bytes) }
  }
  if (readAdtsFrame(bytes, at)) {
    const measurement = measureFrames(bytes, readAdtsFrame)
    return { mediaType: 'audio/aac', extension: 'aac', measurement }
  }
  if (readMp3Frame(bytes, at) || head.length < bytes.length) {
    const measurement = measureFrames(bytes, readMp3Frame)
    return { mediaType: 'audio/mpeg', extension: 'mp3', measurement }
  }
  return undefined
}
