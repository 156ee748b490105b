/**
 * What stands in a chat's messages beside text: images, sounds and files, always as data within the request. The gateway fetches nothing, so there is
 * nothing to be forged. A picture's size is read from its header: an engine that unpacks it must not find a thousand times the pixels that its
 * bytes suggest.
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'

/** What a part of a message takes that not every model has, and where it stands. */
export interface PartNeed {
  readonly capability: 'vision' | 'audio' | 'files'
  readonly param: string
}

const imageBytesMax = 20 * 1024 * 1024
const audioBytesMax = 25 * 1024 * 1024
const fileBytesMax = 32 * 1024 * 1024
const pixelsMax = 50_000_000
/** Of all images together. */
const pixelsTotalMax = 200_000_000
const mediaMax = 128
/** `data:`, a media type with its parameters, and `;base64,`. */
const uriHeadLengthMax = 256

export const mediaParts = [
  z.object({
    type: z.literal('image_url'),
    image_url: z.object({ url: z.string(), detail: z.enum(['auto', 'low', 'high']).nullish() }),
  }),
  /** A short form of the same. */
  z.object({ type: z.literal('image'), image: z.string() }),
  z.object({
    type: z.literal('input_audio'),
    input_audio: z.object({
      data: z.string(),
      format: z.enum(['wav', 'mp3', 'flac', 'ogg', 'opus', 'aac', 'm4a', 'webm', 'pcm16']),
    }),
  }),
  z.object({
    type: z.literal('file'),
    file: z.object({
      file_data: z.string().nullish(),
      file_id: z.string().nullish(),
      filename: z.string().max(255).nullish(),
    }),
  }),
] as const

type MediaPart = z.infer<(typeof mediaParts)[number]>
interface MessageWithParts {
  readonly content?:
    | string
    | readonly (MediaPart | { readonly type: 'text' } | { readonly type: 'refusal' })[]
    | null
    | undefined
}

/** Throws a `client.*` fault, with the part's place in `param`, for data that is not what it says, or too much of it. */
export function checkMedia(messages: readonly MessageWithParts[]): void {
  let pixels = 0
  for (const [index, { part, place }] of findMedia(messages).entries()) {
    if (index >= mediaMax) {
      throw refuse(`A request takes at most ${mediaMax} images, sounds and files.`, place)
    }
    pixels += checkPart(part, place)
    if (pixels > pixelsTotalMax) {
      throw refuse(`The images of a request take at most ${pixelsTotalMax} pixels together.`, place)
    }
  }
}

/** What a model must have to take the parts in. */
export function mediaNeeds(messages: readonly MessageWithParts[]): readonly PartNeed[] {
  return findMedia(messages).map(({ part, place }) => ({
    capability: capabilities[part.type],
    param: place,
  }))
}

function findMedia(
  messages: readonly MessageWithParts[],
): readonly { readonly part: MediaPart; readonly place: string }[] {
  return messages.flatMap(({ content }, position) => {
    if (typeof content !== 'object' || content === null) return []
    return content.flatMap((part, index) =>
      part.type === 'text' || part.type === 'refusal'
        ? []
        : [{ part, place: `messages[${position}].content[${index}]` }],
    )
  })
}

const capabilities = {
  image_url: 'vision',
  image: 'vision',
  input_audio: 'audio',
  file: 'files',
} as const

/** Returns how many pixels the part has. */
function checkPart(part: MediaPart, place: string): number {
  switch (part.type) {
    case 'image_url':
      return checkImage(part.image_url.url, `${place}.image_url.url`)
    case 'image':
      return checkImage(part.image, `${place}.image`)
    case 'input_audio':
      decode(part.input_audio.data, { bytesMax: audioBytesMax, param: `${place}.input_audio.data` })
      return 0
    case 'file':
      checkFile(part.file, `${place}.file`)
      return 0
  }
}

function checkFile(file: Extract<MediaPart, { type: 'file' }>['file'], place: string): void {
  if (typeof file.file_id === 'string') {
    throw refuse("Stored files cannot be named in a chat. Send the content as 'file_data'.", place)
  }
  const param = `${place}.file_data`
  const { data } = readDataUri(file.file_data ?? '', 'files', param)
  decode(data, { bytesMax: fileBytesMax, param })
}

function checkImage(uri: string, param: string): number {
  const { mediaType, data } = readDataUri(uri, 'images', param)
  if (!/^image\/(png|jpe?g|webp|gif)$/.test(mediaType)) {
    throw refuse('Images are PNG, JPEG, WebP or GIF.', param)
  }
  const size = readImageSize(decode(data, { bytesMax: imageBytesMax, param }))
  if (!size) throw refuse('The data is not a PNG, JPEG, WebP or GIF image.', param)
  const pixels = size.width * size.height
  if (pixels > pixelsMax) {
    const text = `The image has ${size.width} × ${size.height} pixels, and at most ${pixelsMax} are taken. Make it smaller.`
    throw refuse(text, param)
  }
  return pixels
}

function readDataUri(
  uri: string,
  kind: string,
  param: string,
): { readonly mediaType: string; readonly data: string } {
  const head = /^data:([a-z]+\/[a-z0-9.+-]+)(?:;[^;,]*)*;base64,/i.exec(
    uri.slice(0, uriHeadLengthMax),
  )
  if (head?.[1]) return { mediaType: head[1].toLowerCase(), data: uri.slice(head[0].length) }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(uri.slice(0, uriHeadLengthMax))) {
    throw refuse(
      `Remote ${kind} are not fetched. Send the content as a data URI: data:<media type>;base64,…`,
      param,
    )
  }
  throw refuse('Send the content as a data URI: data:<media type>;base64,…', param)
}

/** Node skips what is not base64, and knows the alphabet of URLs too; other decoders do neither. */
function decode(
  text: string,
  limit: { readonly bytesMax: number; readonly param: string },
): Buffer {
  const bytesMax = Math.ceil((limit.bytesMax * 4) / 3)
  if (text.length > bytesMax) {
    throw new Fault({
      code: 'client.body_too_large',
      public: `The data is larger than the limit of ${limit.bytesMax / 1024 / 1024} MiB. Make it smaller.`,
      param: limit.param,
    })
  }
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const bytes = Buffer.from(text, 'base64')
  const isWhole = bytes.length === Math.floor(((text.length - padding) * 3) / 4)
  if (bytes.length > 0 && isWhole && !text.includes('-') && !text.includes('_')) return bytes
  throw refuse('The data is not valid base64.', limit.param)
}

interface ImageSize {
  readonly width: number
  readonly height: number
}

const pngStart = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

/** `undefined` for bytes that are none of the four formats, or whose size nobody can tell. */
export function readImageSize(bytes: Buffer): ImageSize | undefined {
  const size = readSize(bytes)
  return size && size.width > 0 && size.height > 0 ? size : undefined
}

function readSize(bytes: Buffer): ImageSize | undefined {
  // The longest of the fixed headers.
  if (bytes.length < 30) return bytes.length >= 10 && isGif(bytes) ? gifSize(bytes) : undefined
  if (bytes.subarray(0, 8).equals(pngStart)) {
    return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }
  }
  if (isGif(bytes)) return gifSize(bytes)
  if (bytes.readUInt16BE(0) === 0xffd8) return jpegSize(bytes)
  const isWebp =
    bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP'
  return isWebp ? webpSize(bytes) : undefined
}

function isGif(bytes: Buffer): boolean {
  return /^GIF8[79]a$/.test(bytes.toString('latin1', 0, 6))
}

function gifSize(bytes: Buffer): ImageSize {
  return { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) }
}

/** Segments follow each other, each with its length, until the one that begins a frame. */
function jpegSize(bytes: Buffer): ImageSize | undefined {
  let at = 2
  while (at + 9 <= bytes.length) {
    if (bytes[at] !== 0xff) return undefined
    const marker = bytes[at + 1] ?? 0
    const isFrame =
      marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
    if (isFrame) return { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) }
    // A marker may be preceded by any number of fill bytes.
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2)
  }
  return undefined
}

/** The first chunk says which of the three layouts it is. */
function webpSize(bytes: Buffer): ImageSize | undefined {
  const layout = bytes.toString('latin1', 12, 16)
  if (layout === 'VP8X') {
    return { width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 }
  }
  if (layout === 'VP8 ') {
    return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff }
  }
  if (layout !== 'VP8L') return undefined
  const packed = bytes.readUInt32LE(21)
  return { width: (packed & 0x3fff) + 1, height: ((packed >>> 14) & 0x3fff) + 1 }
}

function refuse(text: string, param: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: text, param })
}
