/** A file of a project: the noun, its bounds, and what its sealed parts are bound to. Pure. */

/** What callers may upload; `batch_output` is what batches write. */
export const uploadPurposes: readonly FilePurpose[] = ['batch']
export const filePurposes = ['batch', 'batch_output'] as const
export type FilePurpose = (typeof filePurposes)[number]

export interface StoredFile {
  readonly id: string
  readonly purpose: FilePurpose
  readonly name: string
  readonly bytes: number
  readonly createdAtMs: number
  readonly expiresAtMs: number
}

/** Whose a file or a batch is. */
export interface Owner {
  readonly tenantId: string
  readonly projectId: string
}

export const fileNameLengthMax = 255
export const pageRowsMax = 10_000

const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** Uploads that say nothing else. */
export const uploadLifeMs = 30 * dayMs
/** Results whose batch says nothing else. */
export const outputLifeMs = 7 * dayMs
export const lifeMsMin = hourMs
export const lifeMsMax = 30 * dayMs
/** A file whose content does not arrive within this is swept away. */
export const storingMsMax = 2 * hourMs

export const keyContext = (fileId: string): string => `files|sealed_key|${fileId}`
export const nameContext = (fileId: string): string => `files|sealed_name|${fileId}`
export const chunkContext = (fileId: string, position: number): string =>
  `file_chunks|sealed_bytes|${fileId}|${position}`
