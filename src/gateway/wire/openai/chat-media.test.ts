import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import { readImageSize } from './chat-media.ts'
import { needsOf, parseChatRequest, toEngineBody } from './chat-request.ts'

/** The smallest headers that tell a size. */
function png(width: number, height: number): Buffer {
  const bytes = Buffer.alloc(33)
  Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]).copy(bytes)
  bytes.writeUInt32BE(13, 8)
  bytes.write('IHDR', 12)
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  return bytes
}
function gif(width: number, height: number): Buffer {
  const bytes = Buffer.alloc(13)
  bytes.write('GIF89a')
  bytes.writeUInt16LE(width, 6)
  bytes.writeUInt16LE(height, 8)
  return bytes
}
function jpeg(width: number, height: number): Buffer {
  const exif = Buffer.alloc(40)
  exif.writeUInt16BE(0xffe1, 0)
  exif.writeUInt16BE(38, 2)
  // What looks like a frame inside of another segment is none.
  exif.writeUInt16BE(0xffc0, 20)
  const frame = Buffer.alloc(20)
  frame.writeUInt16BE(0xffff, 0)
  frame.writeUInt8(0xc2, 2)
  frame.writeUInt16BE(17, 3)
  frame.writeUInt16BE(height, 6)
  frame.writeUInt16BE(width, 8)
  return Buffer.concat([Buffer.from([0xff, 0xd8]), exif, frame])
}
function webp(layout: 'VP8 ' | 'VP8L' | 'VP8X', width: number, height: number): Buffer {
  const bytes = Buffer.alloc(40)
  bytes.write('RIFF')
  bytes.write(`WEBP${layout}`, 8)
  if (layout === 'VP8X') {
    bytes.writeUIntLE(width - 1, 24, 3)
    bytes.writeUIntLE(height - 1, 27, 3)
  } else if (layout === 'VP8L') {
    bytes.writeUInt8(0x2f, 20)
    bytes.writeUInt32LE((((height - 1) << 14) | (width - 1)) >>> 0, 21)
  } else {
    bytes.writeUInt16LE(width | 0x4000, 26)
    bytes.writeUInt16LE(height, 28)
  }
  return bytes
}

test.each([
  ['PNG', png(1_200, 900)],
  ['GIF', gif(1_200, 900)],
  ['JPEG', jpeg(1_200, 900)],
  ['lossy WebP', webp('VP8 ', 1_200, 900)],
  ['lossless WebP', webp('VP8L', 1_200, 900)],
  ['extended WebP', webp('VP8X', 1_200, 900)],
])('the size of a %s image is read from its header', (_, bytes) => {
  expect(readImageSize(bytes)).toEqual({ width: 1_200, height: 900 })
  for (let cut = 0; cut < bytes.length; cut += 1) readImageSize(bytes.subarray(0, cut))
})

const uri = (bytes: Buffer, type = 'image/png'): string =>
  `data:${type};base64,${bytes.toString('base64')}`
const picture = (url: string) => ({ type: 'image_url', image_url: { url } })
const request = (...content: object[]) => ({
  model: 'm',
  messages: [
    { role: 'system', content: 'look' },
    { role: 'user', content },
  ],
})

function refusal(...content: object[]): string {
  try {
    parseChatRequest(request(...content))
    return 'accepted'
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return `${error.status} ${error.param}`
  }
}

const image = 'messages[1].content[0].image_url.url'
test.each([
  ['a remote image', picture('https://example.com/a.png'), `400 ${image}`],
  ['the cloud metadata address', picture('http://169.254.169.254/latest'), `400 ${image}`],
  ['a file address', picture('file:///etc/passwd'), `400 ${image}`],
  ['a media type that is no image', picture(uri(png(1, 1), 'text/html')), `400 ${image}`],
  ['bytes that are no image', picture(uri(Buffer.from('hello'))), `400 ${image}`],
  ['data that is not base64', picture('data:image/png;base64,$$$$'), `400 ${image}`],
  ['data with line breaks', picture(`data:image/png;base64,\niVBORw0KGgo=`), `400 ${image}`],
  ['an image that unpacks to gigabytes', picture(uri(png(60_000, 60_000))), `400 ${image}`],
  [
    'an image larger than the limit',
    picture(uri(Buffer.concat([png(9, 9), Buffer.alloc(21 * 1024 * 1024)]))),
    `413 ${image}`,
  ],
  [
    'a stored file',
    { type: 'file', file: { file_id: 'file-1' } },
    '400 messages[1].content[0].file',
  ],
  [
    'a file by address',
    { type: 'file', file: { file_data: 'https://example.com/a.pdf' } },
    '400 messages[1].content[0].file.file_data',
  ],
  [
    'sound that is not base64',
    { type: 'input_audio', input_audio: { data: 'a b', format: 'wav' } },
    '400 messages[1].content[0].input_audio.data',
  ],
])('%s is refused, and param says where', (_, part, want) => {
  expect(refusal(part)).toBe(want)
})

test('many images together are bounded like one', () => {
  const large = picture(uri(png(7_000, 7_000)))
  expect(refusal(large, large, large, large)).toBe('accepted')
  expect(refusal(large, large, large, large, large)).toBe('400 messages[1].content[4]')
  const small = picture(uri(png(1, 1)))
  expect(refusal(...Array.from({ length: 129 }, () => small))).toBe('400 messages[1].content[128]')
})

test('images, sounds and files by data pass, and say what the model must have', () => {
  const parsed = parseChatRequest(
    request(
      { type: 'text', text: 'what is this?' },
      { type: 'image_url', image_url: { url: uri(png(8, 8)), detail: 'low' } },
      { type: 'image', image: uri(jpeg(8, 8), 'image/jpg') },
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
      { type: 'file', file: { filename: 'a.pdf', file_data: uri(png(8, 8), 'application/pdf') } },
    ),
  )
  expect(needsOf(parsed).map((need) => need.capability)).toEqual([
    'vision',
    'vision',
    'audio',
    'files',
  ])
  expect(needsOf(parsed)[0]?.param).toBe('messages[1].content[1]')
  const body = toEngineBody(parsed) as { messages: { content: { type: string }[] }[] }
  const sent = body.messages[1]?.content ?? []
  expect(sent.map((part) => part.type)).toEqual([
    'text',
    'image_url',
    'image_url',
    'input_audio',
    'file',
  ])
  expect(sent[2]).toEqual(picture(uri(jpeg(8, 8), 'image/jpg')))
})
