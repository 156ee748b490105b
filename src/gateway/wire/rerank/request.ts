/**
 * What clients ask a reranker for, in Cohere's words of both versions (docs.cohere.com/v1/reference/rerank, docs.cohere.com/reference/rerank), which Jina
 * (api.jina.ai/redoc) and vLLM share, and in those of text-embeddings-inference.
 */
import { z } from 'zod'
import { sizeInput } from '../../../billing/estimate.ts'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from '../openai/chat-request.ts'

export const documentsMax = 1_000

export interface RerankRequest {
  /** `undefined` leaves it to the only model that does it. */
  readonly model: string | undefined
  readonly query: string
  /** What the engine reads. */
  readonly documents: readonly string[]
  /** What the client gets back: texts as `{text}`, objects as they came. */
  readonly originals: readonly unknown[]
  readonly topN: number | undefined
  readonly returnDocuments: boolean
  readonly rawScores: boolean
  /** Whether what is longer than the model's window may be cut. */
  readonly truncate: boolean
}

const text = z.string().min(1, 'must not be an empty string')
const model = z.string().max(200).nullish()
export const cohereSchema = z.object({
  model,
  query: text,
  documents: z
    .array(z.union([text, z.looseObject({ text })]))
    .min(1, 'must not be empty')
    .max(documentsMax, `must hold at most ${documentsMax} documents`),
  top_n: z.number().int().min(1).nullish(),
  return_documents: z.boolean().nullish(),
  /** A document is one chunk here, so any number of chunks is kept to. */
  max_chunks_per_doc: z.number().int().min(1).nullish(),
  max_tokens_per_doc: z.number().int().min(1).nullish(),
  rank_fields: z.array(z.string()).nullish(),
})

export function parseCohereRequest(value: unknown): RerankRequest {
  const parsed = cohereSchema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const { query, documents, rank_fields: fields, ...options } = parsed.data
  if (fields && (fields.length !== 1 || fields[0] !== 'text')) {
    throw unsupported('rank_fields', "A document is ranked by its field 'text' alone.")
  }
  const tokensMax = options.max_tokens_per_doc ?? Infinity
  return {
    model: options.model || undefined,
    query,
    documents: documents.map((document) =>
      cut(typeof document === 'string' ? document : document.text, tokensMax),
    ),
    originals: documents.map((document) =>
      typeof document === 'string' ? { text: document } : document,
    ),
    topN: options.top_n ?? undefined,
    returnDocuments: options.return_documents ?? false,
    rawScores: false,
    truncate: true,
  }
}

export const teiSchema = z.object({
  model,
  query: text,
  texts: z
    .array(text)
    .min(1, 'must not be empty')
    .max(documentsMax, `must hold at most ${documentsMax} texts`),
  raw_scores: z.boolean().nullish(),
  return_text: z.boolean().nullish(),
  truncate: z.boolean().nullish(),
  truncation_direction: z.string().max(20).nullish(),
})

export function parseTeiRequest(value: unknown): RerankRequest {
  const parsed = teiSchema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const { query, texts, ...options } = parsed.data
  const direction = options.truncation_direction?.toLowerCase() ?? 'right'
  if (direction !== 'right') {
    throw unsupported('truncation_direction', "Texts are cut at their end: use 'right'.")
  }
  return {
    model: options.model || undefined,
    query,
    documents: texts,
    originals: texts,
    topN: undefined,
    returnDocuments: options.return_text ?? false,
    rawScores: options.raw_scores ?? false,
    truncate: options.truncate ?? false,
  }
}

/** As much of a text as the estimate takes for so many tokens; never half a character. */
function cut(document: string, tokensMax: number): string {
  const tokens = sizeInput({ input: document }).estimatedTokens
  if (tokens <= tokensMax) return document
  const end = Math.max(1, Math.floor((document.length * tokensMax) / tokens))
  const kept = document.slice(0, end)
  return kept.isWellFormed() ? kept : document.slice(0, end + 1)
}

function unsupported(param: string, text: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: `'${param}': ${text}`, param })
}
