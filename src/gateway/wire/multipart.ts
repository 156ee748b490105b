/**
 * A form as it arrives with files (RFC 7578): the fields in any order, bounded in number and size. What comes is taken in slices, so that
 * no form, however it was built, holds the event loop for long.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import busboy from 'busboy'
import { Fault } from '../../platform/fault.ts'

export interface PartLimits {
  readonly fileBytesMax: number
  readonly filesMax: number
  readonly fieldBytesMax: number
  readonly fieldsMax: number
}

export interface FileHead {
  readonly field: string
  /** As the client wrote it, without a path; '' where it gave none. */
  readonly fileName: string
  readonly mediaType: string
}

/** Who is told what the form holds. A `Fault` that is thrown here ends the reading. */
export interface PartTaker {
  field(name: string, value: string): void
  /** Gives the file its taker, which gets its bytes piece by piece, each once the piece before is taken. */
  file(head: FileHead): (bytes: Buffer) => Promise<void> | void
}

export interface FormFile extends FileHead {
  readonly bytes: Buffer
}

export interface Form {
  /** By name; `name[]` and `name[0]` are further values of `name`. */
  readonly fields: ReadonlyMap<string, readonly string[]>
  readonly files: readonly FormFile[]
}

const fieldNameBytesMax = 200
const headersPerPartMax = 16
/** A boundary made to be searched slowly costs a few milliseconds for this much. */
const sliceBytes = 64 * 1024
/** With everything read, the end is a few turns away; some forms leave the parser waiting for a file that never ends. */
const endTurnsMax = 100
/** Of a form that is read as a whole. */
const wholeLimits = { fieldBytesMax: 1024 * 1024, fieldsMax: 256 }

/** A form that is there as a whole. Throws as `readParts`. */
export async function readForm(
  body: Iterable<Buffer>,
  headers: IncomingHttpHeaders,
  limits: Pick<PartLimits, 'fileBytesMax' | 'filesMax'>,
): Promise<Form> {
  const fields = new Map<string, string[]>()
  const files: { readonly head: FileHead; readonly pieces: Buffer[] }[] = []
  await readParts(
    body,
    headers,
    { ...wholeLimits, ...limits },
    {
      field(name, value) {
        const plain = plainName(name)
        fields.set(plain, [...(fields.get(plain) ?? []), value])
      },
      file(head) {
        const pieces: Buffer[] = []
        files.push({ head: { ...head, field: plainName(head.field) }, pieces })
        return (bytes) => void pieces.push(bytes)
      },
    },
  )
  return {
    fields,
    files: files.map(({ head, pieces }) => ({ ...head, bytes: Buffer.concat(pieces) })),
  }
}

const plainName = (name: string): string => name.replace(/\[\d{0,3}\]$/, '')

/** A form in the pieces in which it arrives. Throws `client.invalid_request`, or `client.body_too_large` for a file beyond its limit. */
export async function readParts(
  body: Iterable<Buffer> | AsyncIterable<Buffer>,
  headers: IncomingHttpHeaders,
  limits: PartLimits,
  taker: PartTaker,
): Promise<void> {
  const parser = openParser(headers, limits)
  let arrived: (() => Promise<void> | void)[] = []
  let failure: unknown
  const fail = (error: unknown): void => {
    failure ??= error
  }
  let hasEnded = false
  /** What is malformed may end the parser without a word to who waits for a write. */
  const ended = new Promise<void>((resolve) => {
    const end = (): void => {
      hasEnded = true
      resolve()
    }
    parser.on('close', end)
    parser.on('error', () => {
      fail(malformed())
      end()
    })
  })
  parser.on('fieldsLimit', () => fail(tooManyParts()))
  parser.on('filesLimit', () => fail(tooManyParts()))
  parser.on('partsLimit', () => fail(tooManyParts()))
  // A part without a name has `undefined` here, whatever the types say.
  parser.on('field', (name: string | undefined, value, { valueTruncated }) => {
    if (valueTruncated) fail(fieldTooLarge(name, limits))
    if (name === undefined || name.length > fieldNameBytesMax) return
    arrived.push(() => taker.field(name, value))
  })
  parser.on('file', (name: string | undefined, stream, info) => {
    let take: ReturnType<PartTaker['file']> = () => {}
    if (name !== undefined) {
      const fileName = (info.filename as string | undefined) ?? ''
      const head = { field: name, fileName, mediaType: info.mimeType.toLowerCase() }
      arrived.push(() => {
        take = taker.file(head)
      })
    }
    stream.on('data', (bytes: Buffer) => arrived.push(() => take(bytes)))
    stream.on('error', () => fail(malformed()))
    stream.on('limit', () => fail(fileTooLarge(name, limits)))
  })
  const hand = async (): Promise<void> => {
    if (failure) throw failure
    const all = arrived
    arrived = []
    for (const each of all) await each()
  }
  try {
    for await (const piece of body) {
      for (let start = 0; start < piece.length; start += sliceBytes) {
        const taken = new Promise<void>((resolve) => {
          parser.write(piece.subarray(start, start + sliceBytes), () => resolve())
        })
        await Promise.race([taken, ended])
        await nextTurn()
        await hand()
      }
    }
    parser.end()
    for (let turn = 0; turn < endTurnsMax && !hasEnded; turn += 1) await nextTurn()
    if (!hasEnded) fail(malformed())
    await hand()
  } finally {
    parser.destroy()
  }
}

function openParser(headers: IncomingHttpHeaders, limits: PartLimits): busboy.Busboy {
  try {
    return busboy({
      headers,
      defParamCharset: 'utf8',
      limits: {
        fields: limits.fieldsMax,
        fieldSize: limits.fieldBytesMax,
        fieldNameSize: fieldNameBytesMax,
        files: limits.filesMax,
        // The parser calls a file of exactly its limit too large.
        fileSize: limits.fileBytesMax + 1,
        parts: limits.fieldsMax + limits.filesMax + 1,
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
    public: 'The form has too many fields or files.',
  })
}

function fieldTooLarge(name: string | undefined, { fieldBytesMax }: PartLimits): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `A field of the form is larger than ${fieldBytesMax} bytes.`,
    param: name?.slice(0, fieldNameBytesMax),
  })
}

function fileTooLarge(name: string | undefined, { fileBytesMax }: PartLimits): Fault {
  return new Fault({
    code: 'client.body_too_large',
    public: `The file is larger than the limit of ${Math.floor(fileBytesMax / 1024 / 1024)} MiB.`,
    param: name?.slice(0, fieldNameBytesMax),
  })
}
