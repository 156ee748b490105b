/** What a request asks for, once parsed: the same shape for every client dialect. */
import type { EmbeddingRequest } from '../engines/engine.ts'

interface WorkBase {
  readonly endpoint: string
  /** A model's id or alias, as the client wrote it. */
  readonly modelName: string
  /** Whether the client wants a stream. */
  readonly streamed: boolean
  readonly estimatedInputTokens: number
  /** More input tokens than this cannot come from this body; an engine that claims them is not believed. */
  readonly inputTokensMax: number
  /** Bytes of the longest text that must fit into a context window at once. */
  readonly longestTextBytes: number
}

export interface ChatWork extends WorkBase {
  readonly kind: 'chat'
  /** OpenAI's body without routing fields: what the engine receives. */
  readonly body: Readonly<Record<string, unknown>>
  readonly choices: number
  /** For each choice; `undefined` means up to the end of the context window. */
  readonly maxOutputTokens: number | undefined
}

export interface EmbeddingWork extends WorkBase {
  readonly kind: 'embedding'
  readonly input: EmbeddingRequest['input']
  readonly dimensions: number | undefined
}

export type Work = ChatWork | EmbeddingWork
