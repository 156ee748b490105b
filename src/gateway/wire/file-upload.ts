/**
 * A form with one large file, read as it arrives: the file's bytes go on to where they are kept, a slice at a time, and never stand in memory as a
 * whole. The fields may come before the file or after it.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../platform/fault.ts'
import { readParts } from './multipart.ts'

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

const fieldLimits = { fieldsMax: 64, fieldBytesMax: 1_024 }

/** `keep` gets the file piece by piece, each once the piece before is kept. Throws `client.*` for a form that is not such a one. */
export async function readUpload(
  pieces: AsyncIterable<Buffer>,
  headers: IncomingHttpHeaders,
  { field, fileBytesMax }: UploadLimits,
  keep: (bytes: Buffer) => Promise<void>,
): Promise<Upload> {
  const fields = new Map<string, string>()
  let fileName: string | undefined
  await readParts(
    pieces,
    headers,
    { ...fieldLimits, fileBytesMax, filesMax: 1 },
    {
      field: (name, value) => void fields.set(name, value),
      file(head) {
        if (head.field !== field)
          throw misplaced(`The form takes its file in the field '${field}'.`, field)
        fileName = head.fileName
        return keep
      },
    },
  )
  if (fileName === undefined)
    throw misplaced(`The form has no file in the field '${field}'.`, field)
  return { fileName, fields }
}

function misplaced(text: string, param: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
