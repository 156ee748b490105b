import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { measureAudio } from './measure.ts'
import { toWav } from './wav-writer.ts'

const makeWav = (sound: { seconds: number; samplesPerSecond: number }): Buffer =>
  toWav(
    Buffer.alloc(Math.round(sound.seconds * sound.samplesPerSecond) * 2),
    sound.samplesPerSecond,
  )

const recording = (name: string): Buffer =>
  readFileSync(join(import.meta.dirname, 'fixtures', name))

const recordings: readonly { name: string; ms: number; mediaType: string }[] = [
  { name: 'vbr.mp3', ms: 1_500, mediaType: 'audio/mpeg' },
  { name: 'vbr-without-index.mp3', ms: 1_500, mediaType: 'audio/mpeg' },
  { name: 'opus.ogg', ms: 1_500, mediaType: 'audio/ogg' },
  { name: 'vorbis.ogg', ms: 1_500, mediaType: 'audio/ogg' },
  { name: 'flac.ogg', ms: 1_500, mediaType: 'audio/ogg' },
  { name: 'tone.flac', ms: 1_500, mediaType: 'audio/flac' },
  { name: 'aac.m4a', ms: 1_500, mediaType: 'audio/mp4' },
  { name: 'fragments.m4a', ms: 1_500, mediaType: 'audio/mp4' },
  { name: 'alac.m4a', ms: 1_500, mediaType: 'audio/mp4' },
  { name: 'opus.m4a', ms: 1_500, mediaType: 'audio/mp4' },
  { name: 'opus-fragments.m4a', ms: 1_500, mediaType: 'audio/mp4' },
  { name: 'opus.webm', ms: 1_500, mediaType: 'audio/webm' },
  { name: 'live.webm', ms: 1_500, mediaType: 'audio/webm' },
  { name: 'vorbis.webm', ms: 1_500, mediaType: 'audio/webm' },
  { name: 'tone.aac', ms: 1_500, mediaType: 'audio/aac' },
  { name: 'ima-adpcm.wav', ms: 1_500, mediaType: 'audio/wav' },
  { name: 'stereo-float.wav', ms: 200, mediaType: 'audio/wav' },
]
for (const { name, ms, mediaType } of recordings) {
  test(`${name} is as long as what was recorded, but for what its encoder added`, async () => {
    const measured = await measureAudio(recording(name))
    expect(measured?.mediaType).toBe(mediaType)
    expect(measured?.audioMs).toBeGreaterThanOrEqual(ms)
    expect(measured?.audioMs).toBeLessThanOrEqual(ms + 130)
  })
}

/** How often a recording's sound is repeated behind it. */
const longer = 40
const seconds = async (bytes: Buffer): Promise<number> =>
  ((await measureAudio(bytes))?.audioMs ?? 0) / 1_000

test('a WAV whose header says one second is as long as the sound in it', async () => {
  const wav = makeWav({ seconds: 60, samplesPerSecond: 8_000 })
  wav.writeUInt32LE(16_000, 40)
  wav.writeUInt32LE(36 + 16_000, 4)
  expect(await seconds(wav)).toBe(60)
  wav.writeUInt32LE(0, 40)
  expect(await seconds(wav)).toBe(60)
  wav.writeUInt32LE(0xffffffff, 40)
  expect(await seconds(wav)).toBe(60)
})

test('what stands behind the sound of a WAV is not sound', async () => {
  const list = Buffer.from('LIST\x04\0\0\0INFO', 'latin1')
  const wav = Buffer.concat([makeWav({ seconds: 2, samplesPerSecond: 8_000 }), list])
  expect(await seconds(wav)).toBe(2)
})

test('an MP3 whose index tells of one file is as long as all the frames behind it', async () => {
  const once = recording('vbr.mp3')
  const again = recording('vbr-without-index.mp3')
  const all = Buffer.concat([once, ...Array.from({ length: longer }, () => again)])
  expect(await seconds(all)).toBeGreaterThan(1.5 * (longer + 1))
})

test('a FLAC whose header says nothing, or too little, is as long as its frames', async () => {
  const flac = recording('tone.flac')
  // The number of samples: 36 bits in the middle of STREAMINFO.
  flac.writeUInt32BE(1, 8 + 14)
  expect(await seconds(flac)).toBe(1.5)
  flac.writeUInt32BE(0, 8 + 14)
  expect(await seconds(flac)).toBe(1.5)
})

for (const name of ['opus.ogg', 'vorbis.ogg', 'flac.ogg']) {
  test(`pages of ${name} that lie about their position do not make it shorter`, async () => {
    const bytes = recording(name)
    for (let at = bytes.indexOf('OggS'); at !== -1; at = bytes.indexOf('OggS', at + 4)) {
      bytes.writeBigInt64LE(1n, at + 6)
    }
    expect(await seconds(bytes)).toBeGreaterThanOrEqual(1.48)
  })
}

for (const name of ['aac.m4a', 'opus.m4a']) {
  test(`${name}, were its tables to say that its frames last no time, is as long as its frames`, async () => {
    const bytes = recording(name)
    const table = bytes.indexOf('stts')
    const entries = bytes.readUInt32BE(table + 8)
    for (let entry = 0; entry < entries; entry += 1) {
      bytes.writeUInt32BE(1, table + 12 + entry * 8 + 4)
    }
    expect(await seconds(bytes)).toBeGreaterThanOrEqual(1.5)
  })
}

test('a WebM that says that it lasts no time is as long as its packets', async () => {
  const bytes = recording('opus.webm')
  const duration = bytes.indexOf(Buffer.from([0x44, 0x89, 0x88]))
  expect(duration).toBeGreaterThan(0)
  bytes.writeDoubleBE(1, duration + 3)
  expect(await seconds(bytes)).toBeGreaterThanOrEqual(1.5)
})

test('what encoders add to a whole minute starts no new one; more does', async () => {
  expect(await seconds(makeWav({ seconds: 60.08, samplesPerSecond: 8_000 }))).toBe(60)
  expect(await seconds(makeWav({ seconds: 60.2, samplesPerSecond: 8_000 }))).toBe(60.2)
})

const noRecordings: readonly { what: string; bytes: Buffer }[] = [
  { what: 'nothing', bytes: Buffer.alloc(0) },
  { what: 'a text', bytes: Buffer.from('Once upon a time. '.repeat(1_000)) },
  { what: 'zeros', bytes: Buffer.alloc(100_000) },
  { what: 'a PNG', bytes: Buffer.from('\x89PNG\r\n\x1a\n' + 'x'.repeat(1_000), 'latin1') },
  { what: 'a WAV without sound', bytes: makeWav({ seconds: 0, samplesPerSecond: 8_000 }) },
  {
    what: 'the beginning of a WAV',
    bytes: makeWav({ seconds: 1, samplesPerSecond: 8_000 }).subarray(0, 20),
  },
  { what: 'an MP4 without a track', bytes: Buffer.from('\0\0\0\x10ftypM4A \0\0\0\0', 'latin1') },
  { what: 'an Ogg without a stream', bytes: Buffer.from('OggS'.repeat(100)) },
]
for (const { what, bytes } of noRecordings) {
  test(`${what} is no recording`, async () => {
    expect(await measureAudio(bytes)).toBeUndefined()
  })
}

test('no cut and no flipped byte of a recording makes the reader fail', async () => {
  for (const { name } of recordings) {
    const whole = recording(name)
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 60)) {
      await measureAudio(whole.subarray(0, at))
      const broken = Buffer.from(whole)
      broken[at] = 0xff - (broken[at] ?? 0)
      await measureAudio(broken)
    }
  }
})

const hostileBytes = 25 * 1024 * 1024
const filled = (head: Buffer, pattern: Buffer): Buffer => {
  const bytes = Buffer.alloc(hostileBytes, pattern)
  head.copy(bytes)
  return bytes
}
const hostile: readonly { what: string; bytes: () => Buffer }[] = [
  {
    what: '25 MiB of bytes that all could begin a frame',
    bytes: () => filled(Buffer.from([0xff, 0xfb, 0x90, 0]), Buffer.from([0xff])),
  },
  {
    what: '25 MiB of the smallest MP3 frames',
    bytes: () => filled(Buffer.alloc(0), smallestMp3Frame()),
  },
  {
    what: '25 MiB of false beginnings of FLAC frames',
    bytes: () =>
      filled(recording('tone.flac').subarray(0, 42), Buffer.from([0xff, 0xf8, 0x19, 0x02, 0x7f])),
  },
  {
    what: '25 MiB of the smallest Ogg pages',
    bytes: () => filled(recording('opus.ogg').subarray(0, 47), smallestOggPage()),
  },
  {
    what: '25 MiB of bytes that all could begin an Ogg page',
    bytes: () => filled(Buffer.from('OggS'), Buffer.from('O')),
  },
  {
    what: '25 MiB of a description of a codec without end',
    bytes: () =>
      filled(
        Buffer.from(
          '\0\0\0\x08ftyp\0\0\0\x08trak\0\0\0\0stsd\0\0\0\0\0\0\0\x01\0\0\0\0mp4a',
          'latin1',
        ),
        Buffer.from('esd'),
      ),
  },
  { what: 'tables that list more packets than there are', bytes: () => withEndlessTables() },
  {
    what: '25 MiB of the smallest WebM elements',
    bytes: () => filled(Buffer.from([0x1a, 0x45, 0xdf, 0xa3, 0x80]), Buffer.from([0xec, 0x80])),
  },
  {
    what: '25 MiB of the smallest MP4 boxes',
    bytes: () =>
      filled(
        Buffer.from('\0\0\0\x10ftypM4A \0\0\0\0', 'latin1'),
        Buffer.from('\0\0\0\x08free', 'latin1'),
      ),
  },
]
for (const { what, bytes } of hostile) {
  test(`${what} leave the event loop free`, async () => {
    const file = bytes()
    // The thread's own time: what other processes take from it says nothing of the reader.
    const spentMs = (): number => {
      const { user, system } = process.threadCpuUsage()
      return (user + system) / 1_000
    }
    let longestMs = 0
    let lastMs = spentMs()
    let isDone = false
    const watch = (): void => {
      const nowMs = spentMs()
      longestMs = Math.max(longestMs, nowMs - lastMs)
      lastMs = nowMs
      if (!isDone) setImmediate(watch)
    }
    setImmediate(watch)
    await measureAudio(file)
    isDone = true
    expect(longestMs).toBeLessThan(50)
  })
}

function smallestMp3Frame(): Buffer {
  // MPEG 2.5, layer 3, 8 kbit/s at 12 kHz.
  const frame = Buffer.alloc(48)
  Buffer.from([0xff, 0xe3, 0x14, 0x00]).copy(frame)
  return frame
}

function smallestOggPage(): Buffer {
  const page = Buffer.alloc(27)
  page.write('OggS')
  return page
}

function withEndlessTables(): Buffer {
  const bytes = recording('opus.m4a')
  // The number of packets, their size, and the number of chunks and of their kinds.
  bytes.writeUInt32BE(0xffffffff, bytes.indexOf('stsz') + 12)
  bytes.writeUInt32BE(1, bytes.indexOf('stsz') + 8)
  bytes.writeUInt32BE(0xffffffff, bytes.indexOf('stco') + 8)
  bytes.writeUInt32BE(0xffffffff, bytes.indexOf('stsc') + 8)
  bytes.writeUInt32BE(0xffffffff, bytes.indexOf('stsc') + 16)
  return bytes
}
