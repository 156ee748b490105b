/** Reranking answers, in the shape that each address documents. Client libraries pass over fields of the other dialects. */
import type { TokenUsage } from '../../../engines/engine.ts'
import type { Judgement, RerankMethod } from './relevance.ts'
import type { RerankRequest } from './request.ts'

export interface RerankAnswer {
  readonly id: string
  readonly model: string
  readonly method: RerankMethod
  readonly request: RerankRequest
  /** Best first. */
  readonly ranked: readonly Judgement[]
  readonly usage: TokenUsage
}

/** Cohere counts a search for each hundred documents, begun ones included. */
const documentsPerSearch = 100

/** Cohere 1 with what Jina and vLLM add: `object`, `model` and `usage`. */
export function renderRerankV1(answer: RerankAnswer): string {
  const tokens = answer.usage.inputTokens
  return JSON.stringify({
    id: answer.id,
    object: 'list',
    model: answer.model,
    results: toResults(answer),
    meta: toMeta(answer, '1'),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  })
}

export function renderRerankV2(answer: RerankAnswer): string {
  return JSON.stringify({
    id: answer.id,
    results: toResults(answer),
    meta: toMeta(answer, '2'),
  })
}

export function renderRerankTei({ request, ranked }: RerankAnswer): string {
  return JSON.stringify(
    ranked.map(({ index, relevance, raw }) => ({
      index,
      ...(request.returnDocuments && { text: request.originals[index] }),
      score: request.rawScores ? raw : relevance,
    })),
  )
}

function toResults({ request, ranked }: RerankAnswer): readonly Record<string, unknown>[] {
  return ranked.map(({ index, relevance }) => ({
    index,
    relevance_score: relevance,
    ...(request.returnDocuments && { document: request.originals[index] }),
  }))
}

function toMeta(
  { request, method, usage }: RerankAnswer,
  version: string,
): Record<string, unknown> {
  return {
    api_version: { version },
    billed_units: {
      search_units: Math.ceil(request.documents.length / documentsPerSearch),
      input_tokens: usage.inputTokens,
    },
    tokens: { input_tokens: usage.inputTokens, output_tokens: 0 },
    method,
  }
}
