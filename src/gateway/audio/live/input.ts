/**
 * Sound as it comes in, cut into segments: where the client says so, where a speaker pauses, or where a segment has become as long as one may be. It
 * never holds more than that. Loudness tells speech from silence, frame by frame. Pure.
 */
import type { TurnDetection } from './settings.ts'

export const segmentMsMax = 60_000
const frameMs = 20
/** A click is shorter than this. */
const speechFramesMin = 3
/** Thresholds of 0 and 1, in decibels below the loudest: a whisper into a good microphone, and a voice raised. */
const levelDecibels = { least: -60, most: -20 }
const sampleMax = 32_768

export type InputEvent =
  | { readonly type: 'speech-started'; readonly atMs: number }
  | { readonly type: 'speech-stopped'; readonly atMs: number }
  | { readonly type: 'segment'; readonly samples: Buffer }

export interface LiveInput {
  readonly isEmpty: boolean
  /** Where in the session all that has come in ends. */
  readonly positionMs: number
  /** 16-bit samples, little-endian, cut anywhere. */
  append(samples: Buffer): readonly InputEvent[]
  /** All that is there becomes a segment; `undefined` when nothing is. */
  commit(): Buffer | undefined
  clear(): void
}

export function createLiveInput(
  samplesPerSecond: number,
  detection: TurnDetection | undefined,
  startMs = 0,
): LiveInput {
  const frameBytes = (samplesPerSecond / 1_000) * frameMs * 2
  const framesMax = segmentMsMax / frameMs
  let frames: Buffer[] = []
  let rest: Buffer = Buffer.alloc(0)
  let framesSeen = 0
  let speaks = false
  let loudInRow = 0
  let quietInRow = 0

  const take = (): Buffer => {
    const samples = Buffer.concat(frames)
    frames = []
    return samples
  }
  const reset = (): void => {
    frames = []
    rest = Buffer.alloc(0)
    speaks = false
    loudInRow = 0
    quietInRow = 0
  }

  /** With the frame already among `frames`. */
  const listen = (
    frame: Buffer,
    { threshold, prefixPaddingMs, silenceMs }: TurnDetection,
  ): InputEvent[] => {
    const isLoud = loudnessOf(frame) >= levelOf(threshold)
    loudInRow = isLoud ? loudInRow + 1 : 0
    quietInRow = isLoud ? 0 : quietInRow + 1
    if (!speaks) {
      const kept = Math.ceil(prefixPaddingMs / frameMs) + speechFramesMin
      if (frames.length > kept) frames = frames.slice(-kept)
      if (loudInRow < speechFramesMin) return []
      speaks = true
      return [{ type: 'speech-started', atMs: startMs + (framesSeen - frames.length) * frameMs }]
    }
    if (quietInRow * frameMs < silenceMs) return []
    speaks = false
    return [
      { type: 'speech-stopped', atMs: startMs + framesSeen * frameMs },
      { type: 'segment', samples: take() },
    ]
  }

  return {
    get isEmpty() {
      return frames.length === 0 && rest.length < 2
    },
    get positionMs() {
      return startMs + framesSeen * frameMs
    },
    append(samples) {
      const events: InputEvent[] = []
      const all = rest.length === 0 ? samples : Buffer.concat([rest, samples])
      let at = 0
      for (; at + frameBytes <= all.length; at += frameBytes) {
        const frame = all.subarray(at, at + frameBytes)
        frames.push(frame)
        framesSeen += 1
        if (detection) events.push(...listen(frame, detection))
        if (frames.length >= framesMax) events.push({ type: 'segment', samples: take() })
      }
      rest = Buffer.from(all.subarray(at))
      return events
    },
    commit() {
      if (frames.length === 0 && rest.length < 2) return undefined
      const samples = Buffer.concat([...frames, rest.subarray(0, rest.length & ~1)])
      reset()
      return samples
    },
    clear: reset,
  }
}

function levelOf(threshold: number): number {
  const { least, most } = levelDecibels
  return 10 ** ((least + threshold * (most - least)) / 20)
}

/** The root of the mean square, 0 to 1. */
function loudnessOf(frame: Buffer): number {
  let sum = 0
  for (let at = 0; at < frame.length; at += 2) {
    const sample = frame.readInt16LE(at) / sampleMax
    sum += sample * sample
  }
  return Math.sqrt(sum / (frame.length / 2))
}
