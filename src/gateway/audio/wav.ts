/** WAV: the samples that are there, whatever the header says of their number. */
import type { Measurement } from './measurement.ts'

interface WavFormat {
  readonly samplesPerSecond: number
  readonly bytesPerBlock: number
  readonly samplesPerBlock: number
}

const chunksMax = 10_000

export function* measureWav(bytes: Buffer): Measurement {
  let format: WavFormat | undefined
  let dataBytes = 0
  let at = 12
  for (let chunks = 0; at + 8 <= bytes.length; chunks += 1) {
    if (chunks === chunksMax) return undefined
    const id = bytes.toString('latin1', at, at + 4)
    const size = bytes.readUInt32LE(at + 4)
    const start = at + 8
    if (id === 'fmt ') format ??= readFormat(bytes.subarray(start, start + size))
    at = start + size + (size % 2)
    if (id !== 'data') continue
    if (!isChunk(bytes, at)) {
      // The header says less than there is, or nothing, as recorders do that stream: all the rest is sound.
      dataBytes += bytes.length - start
      break
    }
    dataBytes += size
  }
  yield
  if (!format || dataBytes === 0) return undefined
  const samples = (dataBytes / format.bytesPerBlock) * format.samplesPerBlock
  return (samples / format.samplesPerSecond) * 1_000
}

/** Whether a further chunk, or the end of the file, is here. */
function isChunk(bytes: Buffer, at: number): boolean {
  if (at >= bytes.length) return at <= bytes.length + 1
  if (at + 8 > bytes.length) return false
  const id = bytes.toString('latin1', at, at + 4)
  return /^[\w ]{4}$/.test(id) && at + 8 + bytes.readUInt32LE(at + 4) <= bytes.length + 1
}

const codec = { pcm: 1, msAdpcm: 2, float: 3, aLaw: 6, muLaw: 7, imaAdpcm: 0x11, any: 0xfffe }

function readFormat(chunk: Buffer): WavFormat | undefined {
  if (chunk.length < 16) return undefined
  const tag = chunk.readUInt16LE(0)
  const channels = chunk.readUInt16LE(2)
  const samplesPerSecond = chunk.readUInt32LE(4)
  const bytesPerBlock = chunk.readUInt16LE(12)
  const bytesPerSample = Math.ceil(chunk.readUInt16LE(14) / 8)
  if (channels === 0 || samplesPerSecond === 0) return undefined
  if (tag === codec.msAdpcm || tag === codec.imaAdpcm) {
    const samplesPerBlock = chunk.length >= 20 ? chunk.readUInt16LE(18) : 0
    if (bytesPerBlock === 0 || samplesPerBlock === 0) return undefined
    return { samplesPerSecond, bytesPerBlock, samplesPerBlock }
  }
  const isPlain = [codec.pcm, codec.float, codec.aLaw, codec.muLaw, codec.any].includes(tag)
  if (!isPlain || bytesPerSample === 0) return undefined
  return { samplesPerSecond, bytesPerBlock: channels * bytesPerSample, samplesPerBlock: 1 }
}
