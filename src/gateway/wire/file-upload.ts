/**
 * A form with one large file, read as it arrives: the file's bytes go on to where they are kept, a slice at a time, and never stand in memory as a
 * whole. The fields may come before the file or after it.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import busboy from 'busboy'
import { Fault } from '../../platform/fault.ts'

export interface Upload {
  /** As the client wrote it, without a path; '' where it gave none. */
  readonly fileName: string
  /** The last value of each. */
  readonly fields: ReadonlyMap<string, string>
}

export interface UploadLimits {
  readonly field: string
  readonly fileBytesMax: number
}

const fieldsMax = 64
const fieldBytesMax = 1_024
const headersPerPartMax = 16
/** A boundary made to be searched slowly costs a few milliseconds for this much. */
const sliceBytes = 64 * 1024

/** `keep` gets the file piece by piece, each once the piece before is kept. Throws `client.*` for a form that is not such a one. */
export async function readUpload(
  pieces: AsyncIterable<Buffer>,
  headers: IncomingHttpHeaders,
  limits: UploadLimits,
  keep: (bytes: Buffer) => Promise<void>,
): Promise<Upload> {
  const parser = openParser(headers, limits)
  const fields = new Map<string, string>()
  let fileName: string | undefined
  let arrived: Buffer[] = []
  let failure: Fault | undefined
  const fail = (fault: Fault): void => {
    failure ??= fault
  }
  const closed = new Promise<void>((resolve) => {
    parser.on('close', resolve)
  })
  parser.on('error', () => fail(malformed()))
  parser.on('fieldsLimit', () => fail(tooManyParts()))
  parser.on('filesLimit', () => fail(tooManyParts()))
  parser.on('partsLimit', () => fail(tooManyParts()))
  // A part without a name has `undefined` here, whatever the types say.
  parser.on('field', (name: string | undefined, value, { valueTruncated }) => {
    if (valueTruncated) fail(tooManyParts())
    if (name !== undefined) fields.set(name, value)
  })
  parser.on('file', (name: string | undefined, stream, info) => {
    if (name !== limits.field) fail(wrongField(limits))
    fileName = (info.filename as string | undefined) ?? ''
    stream.on('data', (bytes: Buffer) => arrived.push(bytes))
    stream.on('error', () => fail(malformed()))
    stream.on('limit', () => fail(tooLarge(limits)))
  })
  const keepArrived = async (): Promise<void> => {
    const bytes = arrived
    arrived = []
    for (const each of bytes) await keep(each)
  }
  const feed = async (slice: Buffer): Promise<void> => {
    await new Promise<void>((resolve) => {
      parser.write(slice, () => resolve())
    })
    await nextTurn()
    if (failure) throw failure
    await keepArrived()
  }
  try {
    for await (const piece of pieces) {
      for (let start = 0; start < piece.length; start += sliceBytes)
        await feed(piece.subarray(start, start + sliceBytes))
    }
    parser.end()
    await closed
    if (failure) throw failure
    await keepArrived()
  } finally {
    parser.destroy()
  }
  if (fileName === undefined) throw noFile(limits)
  return { fileName, fields }
}

function openParser(headers: IncomingHttpHeaders, limits: UploadLimits): busboy.Busboy {
  try {
    return busboy({
      headers,
      defParamCharset: 'utf8',
      limits: {
        fields: fieldsMax,
        fieldSize: fieldBytesMax,
        files: 1,
        // The parser calls a file of exactly its limit too large.
        fileSize: limits.fileBytesMax + 1,
        parts: fieldsMax + 2,
        headerPairs: headersPerPartMax,
      },
    })
  } catch {
    throw new Fault({
      code: 'client.invalid_request',
      public: "The header 'content-type: multipart/form-data' has no valid boundary.",
    })
  }
}

function malformed(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'The body is not a valid form. Let your HTTP library build it.',
  })
}

function tooManyParts(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'The form takes one file, and few and short fields.',
  })
}

function wrongField({ field }: UploadLimits): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `The form takes its file in the field '${field}'.`,
    param: field,
  })
}

function noFile({ field }: UploadLimits): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `The form has no file in the field '${field}'.`,
    param: field,
  })
}

function tooLarge({ field, fileBytesMax }: UploadLimits): Fault {
  return new Fault({
    code: 'client.body_too_large',
    public: `The file is larger than the limit of ${Math.floor(fileBytesMax / 1024 / 1024)} MiB.`,
    param: field,
  })
}
