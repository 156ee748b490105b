/** OpenAI's files, in and out. */
import { z } from 'zod'
import {
  fileNameLengthMax,
  filePurposes,
  lifeMsMax,
  lifeMsMin,
  pageRowsMax,
  uploadLifeMs,
  uploadPurposes,
  type FilePurpose,
  type StoredFile,
} from '../../../batches/file.ts'
import type { FileFacts, FilePage } from '../../../batches/files.ts'
import { Fault } from '../../../platform/fault.ts'
import type { Upload } from '../file-upload.ts'
import { invalidField } from './chat-request.ts'

const seconds = z.coerce
  .number()
  .int()
  .min(lifeMsMin / 1_000)
  .max(lifeMsMax / 1_000)

/** How long something is kept: from its creation, an hour to thirty days. */
export const expiresAfter = z.object({ anchor: z.literal('created_at'), seconds })

/** SDKs write nested fields of a form in brackets. */
export function parseUpload({ fields, fileName }: Upload): FileFacts {
  const purpose = uploadPurposes.find((each) => each === fields.get('purpose'))
  if (!purpose) throw unknownPurpose()
  const anchor = fields.get('expires_after[anchor]')
  const wanted = fields.get('expires_after[seconds]')
  const name = fileName === '' ? 'upload' : fileName.slice(-fileNameLengthMax)
  if (anchor === undefined && wanted === undefined) return { purpose, name, lifeMs: uploadLifeMs }
  const parsed = z
    .object({ expires_after: expiresAfter })
    .safeParse({ expires_after: { anchor, seconds: wanted } })
  if (!parsed.success) throw invalidField(parsed.error)
  return { purpose, name, lifeMs: parsed.data.expires_after.seconds * 1_000 }
}

export const fileQuery = z.object({
  after: z.string().max(100).optional(),
  limit: z.coerce.number().int().min(1).max(pageRowsMax).default(pageRowsMax),
  order: z.enum(['asc', 'desc']).default('desc'),
  purpose: z.enum(filePurposes).optional(),
})

export function parseFileQuery(query: URLSearchParams): FilePage {
  const parsed = fileQuery.safeParse(Object.fromEntries(query))
  if (!parsed.success) throw invalidField(parsed.error)
  const { after, limit, order, purpose } = parsed.data
  return { after, limit, order, purpose }
}

export function toWireFile(file: StoredFile): Record<string, unknown> {
  return {
    id: file.id,
    object: 'file',
    bytes: file.bytes,
    created_at: Math.floor(file.createdAtMs / 1_000),
    expires_at: Math.floor(file.expiresAtMs / 1_000),
    filename: file.name,
    purpose: file.purpose satisfies FilePurpose,
    status: 'processed',
    status_details: null,
  }
}

/** As OpenAI's lists with cursors are. */
export function toWireList(
  data: readonly (Record<string, unknown> & { readonly id?: unknown })[],
  hasMore: boolean,
): Record<string, unknown> {
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  }
}

export function fileNotFound(): Fault {
  return new Fault({
    code: 'client.not_found',
    public: 'There is no such file in this project.',
    param: 'file_id',
  })
}

function unknownPurpose(): Fault {
  return new Fault({
    code: 'client.unsupported_value',
    public: `'purpose' takes ${uploadPurposes.map((each) => `'${each}'`).join(' or ')}: files are the input of batches here.`,
    param: 'purpose',
  })
}
