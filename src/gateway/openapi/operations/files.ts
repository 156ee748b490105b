import { z } from 'zod'
import { filePurposes, uploadPurposes } from '../../../batches/file.ts'
import { expiresAfter, fileQuery } from '../../wire/openai/files.ts'
import { listOf, seconds } from '../answers.ts'
import { creationFaults } from '../errors.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'

export const file: NamedSchema = {
  name: 'File',
  schema: z.object({
    id: z.string(),
    object: z.literal('file'),
    bytes: z.number().int().min(0),
    created_at: seconds,
    expires_at: seconds,
    filename: z.string(),
    purpose: z.enum(filePurposes),
    status: z.literal('processed'),
    status_details: z.null(),
  }),
}
const fileId = { file_id: 'Of a file of this project.' }

export const createFileDoc: OperationDoc = {
  id: 'createFile',
  summary: 'Upload the input of a batch',
  description:
    'At most 100 MiB, encrypted as it arrives, and gone after 30 days or whenever `expires_after` says.',
  tag: 'Files',
  headerParameters: ['idempotency-key'],
  request: {
    type: 'multipart/form-data',
    name: 'FileForm',
    schema: z.object({
      file: z.string().meta({ contentMediaType: 'application/octet-stream' }),
      purpose: z.enum(uploadPurposes),
      'expires_after[anchor]': expiresAfter.shape.anchor.optional(),
      'expires_after[seconds]': expiresAfter.shape.seconds.optional(),
    }),
    examples: {},
  },
  answers: [
    { headers: ['idempotency-replayed'], content: [{ type: 'application/json', ...file }] },
  ],
  faults: [...creationFaults, 'platform.database_unavailable'],
}

export const listFilesDoc: OperationDoc = {
  id: 'listFiles',
  summary: 'List the files of this project',
  tag: 'Files',
  query: fileQuery,
  answers: [
    { content: [{ type: 'application/json', name: 'FileList', schema: listOf(file.schema) }] },
  ],
  faults: ['client.not_found', 'platform.database_unavailable'],
}

export const retrieveFileDoc: OperationDoc = {
  id: 'retrieveFile',
  summary: 'Look at one file',
  tag: 'Files',
  pathParameters: fileId,
  answers: [{ content: [{ type: 'application/json', ...file }] }],
  faults: ['client.not_found', 'platform.database_unavailable'],
}

export const retrieveFileContentDoc: OperationDoc = {
  id: 'downloadFile',
  summary: 'Download a file',
  tag: 'Files',
  pathParameters: fileId,
  answers: [
    {
      headers: ['content-disposition'],
      content: [{ type: 'application/octet-stream', description: 'The content, as it was kept.' }],
    },
  ],
  faults: ['client.not_found', 'platform.database_unavailable'],
}

export const deleteFileDoc: OperationDoc = {
  id: 'deleteFile',
  summary: 'Delete a file, and its content for good',
  tag: 'Files',
  pathParameters: fileId,
  answers: [
    {
      content: [
        {
          type: 'application/json',
          name: 'DeletedFile',
          schema: z.object({
            id: z.string(),
            object: z.literal('file'),
            deleted: z.literal(true),
          }),
        },
      ],
    },
  ],
  faults: ['client.not_found', 'client.conflict', 'platform.database_unavailable'],
}
