/**
 * Reranking at the three addresses that clients know: by a model made for it, or by the cosine between the vectors of one that only embeds. The answer says
 * which.
 */
import { sizeInput } from '../../billing/estimate.ts'
import type { StreamPart, TokenUsage } from '../../engines/engine.ts'
import { assert } from '../../platform/assert.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint, type Answer, type Endpoint } from '../endpoint.ts'
import { rerankTeiDoc, rerankV1Doc, rerankV2Doc } from '../openapi/operations/rerank.ts'
import type { OperationDoc } from '../openapi/operation.ts'
import type { OfferedModel } from '../stages/resolve-model.ts'
import {
  renderRerankTei,
  renderRerankV1,
  renderRerankV2,
  type RerankAnswer,
} from '../wire/rerank/answer.ts'
import { rerankErrors } from '../wire/rerank/errors.ts'
import {
  fromScores,
  fromVectors,
  rank,
  type Judgement,
  type RerankMethod,
} from '../wire/rerank/relevance.ts'
import { parseCohereRequest, parseTeiRequest, type RerankRequest } from '../wire/rerank/request.ts'
import type { Work } from '../work.ts'

interface RerankWork extends Work {
  readonly request: RerankRequest
}

/** What a model's template may put around a query and a document. */
const pairFrameTokensMax = 128
/** An operator's word that a model's scores are logits, whatever range they lie in. */
const logitScores = 'logit-scores'

export const rerankV1 = defineRerank({
  path: '/v1/rerank',
  doc: rerankV1Doc,
  parse: parseCohereRequest,
  render: renderRerankV1,
})
export const rerankV2 = defineRerank({
  path: '/v2/rerank',
  doc: rerankV2Doc,
  parse: parseCohereRequest,
  render: renderRerankV2,
})
export const rerankTei = defineRerank({
  path: '/rerank',
  doc: rerankTeiDoc,
  parse: parseTeiRequest,
  render: renderRerankTei,
})

function defineRerank({
  path,
  doc,
  parse,
  render,
}: {
  readonly path: string
  readonly doc: OperationDoc
  readonly parse: (value: unknown) => RerankRequest
  readonly render: (answer: RerankAnswer) => string
}): Endpoint {
  return defineEndpoint<RerankWork>({
    path,
    errors: rerankErrors,
    doc,
    parse: (bytes) => toWork(path, parse(parseBoundedJson(bytes))),
    async respond(answer) {
      const { exchange, work, model } = answer
      const { judgements, method, usage } = await judge(answer)
      const body = render({
        id: exchange.requestId,
        model: model.model.id,
        method,
        request: work.request,
        ranked: rank(judgements, work.request.topN),
        usage,
      })
      const headers = { 'content-type': 'application/json', 'x-rerank-method': method }
      await exchange.send(200, headers, body)
    },
  })
}

export function toRerankWork(value: unknown): Work {
  return toWork('/v1/rerank', parseCohereRequest(value))
}

function toWork(endpoint: string, request: RerankRequest): RerankWork {
  const { query, documents, truncate } = request
  const size = sizeInput({ input: documents })
  const queryBytes = Buffer.byteLength(query)
  // A reranking model reads the query again with each document.
  const queryTokens = documents.length * sizeInput({ input: query }).estimatedTokens
  return {
    endpoint,
    modelName: request.model ?? '',
    acceptsOnlyModel: request.model === undefined,
    streamed: false,
    tasks: [
      { kind: 'rerank', query, documents, truncate },
      { kind: 'embedding', input: [query, ...documents] },
    ],
    estimatedInputTokens: size.estimatedTokens + queryTokens,
    inputTokensMax: size.tokensMax + documents.length * (queryBytes + pairFrameTokensMax),
    longestTextBytes: queryBytes + longestBytes(documents),
    choices: 0,
    maxOutputTokens: 0,
    request,
  }
}

function longestBytes(texts: readonly string[]): number {
  return texts.reduce((longest, text) => Math.max(longest, Buffer.byteLength(text)), 0)
}

async function judge({ parts, model }: Answer<RerankWork>): Promise<{
  readonly judgements: readonly Judgement[]
  readonly method: RerankMethod
  readonly usage: TokenUsage
}> {
  let judged: { judgements: readonly Judgement[]; method: RerankMethod } | undefined
  let usage: TokenUsage | undefined
  for await (const part of parts) {
    if (part.type === 'usage') usage = part.usage
    else judged = fromPart(part, model) ?? judged
  }
  assert(judged && usage, 'a reranking answer has scores or vectors, and usage')
  return { ...judged, usage }
}

function fromPart(
  part: StreamPart,
  { model }: OfferedModel,
): { judgements: readonly Judgement[]; method: RerankMethod } | undefined {
  if (part.type === 'embeddings') {
    return { judgements: fromVectors(part.vectors), method: 'cosine' }
  }
  if (part.type !== 'scores') return undefined
  const scale = model.capabilities.includes(logitScores) ? 'logit' : part.scale
  return { judgements: fromScores(part.scores, scale), method: 'model' }
}
