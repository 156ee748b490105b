/**
 * A form as it arrives with files (RFC 7578): the fields in any order, bounded in number and size. A large body is taken in slices, so that
 * no form, however it was built, holds the event loop for long.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import busboy from 'busboy'
import { Fault } from '../../platform/fault.ts'

export interface FormFile {
  readonly field: string
  /** As the client wrote it, without a path; '' where it gave none. */
  readonly fileName: string
  readonly mediaType: string
  readonly bytes: Buffer
}

export interface Form {
  /** By name; `name[]` and `name[0]` are further values of `name`. */
  readonly fields: ReadonlyMap<string, readonly string[]>
  readonly files: readonly FormFile[]
}

export interface FormLimits {
  readonly fileBytesMax: number
  readonly filesMax: number
}

const fieldsMax = 256
const fieldBytesMax = 1024 * 1024
const fieldNameBytesMax = 200
const headersPerPartMax = 16
/** A boundary made to be searched slowly costs a few milliseconds for this much. */
const sliceBytes = 64 * 1024

/** Throws `client.invalid_request`, or `client.body_too_large` for a file beyond its limit. */
export async function readForm(
  body: Buffer,
  headers: IncomingHttpHeaders,
  limits: FormLimits,
): Promise<Form> {
  const parser = openParser(headers, limits)
  const fields = new Map<string, string[]>()
  const files: FormFile[] = []
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
    if (valueTruncated) fail(fieldTooLarge(name))
    if (name === undefined || name.length > fieldNameBytesMax) return
    const plain = name.replace(/\[\d{0,3}\]$/, '')
    fields.set(plain, [...(fields.get(plain) ?? []), value])
  })
  parser.on('file', (name: string | undefined, stream, info) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', () => fail(malformed()))
    stream.on('limit', () => fail(fileTooLarge(name, limits)))
    stream.on('end', () => {
      if (name === undefined) return
      files.push({
        field: name.replace(/\[\d{0,3}\]$/, ''),
        fileName: (info.filename as string | undefined) ?? '',
        mediaType: info.mimeType.toLowerCase(),
        bytes: Buffer.concat(chunks),
      })
    })
  })
  for (let start = 0; start < body.length && !failure; start += sliceBytes) {
    await new Promise<void>((resolve) => {
      parser.write(body.subarray(start, start + sliceBytes), () => resolve())
    })
    await nextTurn()
  }
  if (failure) parser.destroy()
  else parser.end()
  await closed
  if (failure) throw failure
  return { fields, files }
}

function openParser(headers: IncomingHttpHeaders, limits: FormLimits): busboy.Busboy {
  try {
    return busboy({
      headers,
      defParamCharset: 'utf8',
      limits: {
        fields: fieldsMax,
        fieldSize: fieldBytesMax,
        fieldNameSize: fieldNameBytesMax,
        files: limits.filesMax,
        // The parser calls a file of exactly its limit too large.
        fileSize: limits.fileBytesMax + 1,
        parts: fieldsMax + limits.filesMax + 1,
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

function fieldTooLarge(name: string | undefined): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `A field of the form is larger than ${fieldBytesMax} bytes.`,
    param: name?.slice(0, fieldNameBytesMax),
  })
}

function fileTooLarge(name: string | undefined, limits: FormLimits): Fault {
  return new Fault({
    code: 'client.body_too_large',
    public: `The file is larger than the limit of ${Math.floor(limits.fileBytesMax / 1024 / 1024)} MiB.`,
    param: name?.slice(0, fieldNameBytesMax),
  })
}
