/** A response that is kept: the noun, its bounds, and what its sealed parts are bound to. Pure. */

/** Whose a response is, and how long that tenant wants them kept; `undefined` for not at all. */
export interface ResponseOwner {
  readonly tenantId: string
  readonly projectId: string
  readonly responsesKeptDays?: number | undefined
}

export interface NewResponse {
  readonly id: string
  /** The response that it goes on from. */
  readonly previousId: string | undefined
  readonly content: Buffer
}

export interface StoredResponse extends NewResponse {
  readonly createdAtMs: number
}

/** A response, and before it those that it goes on from; or why there is nothing. */
export type Conversation =
  | {
      readonly outcome: 'found'
      readonly responses: readonly StoredResponse[]
      /** Whether it goes back to its first response, of which none is gone. */
      readonly isWhole: boolean
    }
  | { readonly outcome: 'absent' }
  | { readonly outcome: 'too_long' }

export const keptDaysMin = 1
export const keptDaysMax = 30
export const dayMs = 24 * 3_600_000

/** Of one response: its input and its output. */
export const responseBytesMax = 16 * 1024 * 1024
/** Of all responses that one goes on from, together. */
export const conversationBytesMax = 16 * 1024 * 1024
export const conversationResponsesMax = 1_000

export const keyContext = (responseId: string): string =>
  `stored_responses|sealed_key|${responseId}`
export const chunkContext = (responseId: string, position: number): string =>
  `stored_response_chunks|sealed_bytes|${responseId}|${position}`
