import { sizeInput } from '../../billing/estimate.ts'
import type { EmbeddingTask, TokenUsage } from '../../engines/engine.ts'
import { assert } from '../../platform/assert.ts'
import { Fault } from '../../platform/fault.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint } from '../endpoint.ts'
import { embeddingsDoc } from '../openapi/operations/embeddings.ts'
import type { OfferedModel } from '../stages/resolve-model.ts'
import { parseEmbeddingsRequest, renderEmbeddings } from '../wire/openai/embeddings.ts'
import type { Work } from '../work.ts'

interface EmbeddingsWork extends Work {
  readonly dimensions: number | undefined
  readonly encoding: 'float' | 'base64'
}

export const embeddings = defineEndpoint<EmbeddingsWork>({
  path: '/v1/embeddings',
  doc: embeddingsDoc,

  parse: (bytes) => toEmbeddingsWork(parseBoundedJson(bytes)),

  async respond({ exchange, work, model, parts }) {
    let vectors: readonly (readonly number[])[] | undefined
    let usage: TokenUsage | undefined
    for await (const part of parts) {
      // Before it is settled: what cannot be given is not charged.
      if (part.type === 'embeddings') vectors = toDimensions(part.vectors, work.dimensions, model)
      else if (part.type === 'usage') usage = part.usage
    }
    assert(vectors && usage, 'an embedding answer has vectors and usage')
    const body = renderEmbeddings({
      model: model.model.id,
      vectors,
      encoding: work.encoding,
      usage,
    })
    await exchange.send(200, { 'content-type': 'application/json' }, body)
  },
})

export function toEmbeddingsWork(value: unknown): EmbeddingsWork {
  const request = parseEmbeddingsRequest(value)
  const size = sizeInput({ input: request.input })
  return {
    endpoint: '/v1/embeddings',
    modelName: request.model,
    streamed: false,
    tasks: [{ kind: 'embedding', input: request.input, dimensions: request.dimensions }],
    dimensions: request.dimensions,
    encoding: request.encoding,
    estimatedInputTokens: size.estimatedTokens,
    inputTokensMax: size.tokensMax,
    longestTextBytes: longestItemBytes(request.input),
    choices: 0,
    maxOutputTokens: 0,
  }
}

function longestItemBytes(input: EmbeddingTask['input']): number {
  return input.reduce(
    (longest, item) =>
      Math.max(longest, typeof item === 'string' ? Buffer.byteLength(item) : item.length),
    0,
  )
}

/**
 * Engines that cannot shorten vectors pass over the wish. The first dimensions mean something by themselves only where the model was trained for it,
 * which its capabilities say by `matryoshka`; a vector of another length must not pass for the one asked for.
 */
function toDimensions(
  vectors: readonly (readonly number[])[],
  dimensions: number | undefined,
  { model }: OfferedModel,
): readonly (readonly number[])[] {
  const length = vectors[0]?.length ?? 0
  if (dimensions === undefined || length === dimensions) return vectors
  if (length > dimensions && model.capabilities.includes('matryoshka')) {
    return vectors.map((vector) => normalised(vector.slice(0, dimensions)))
  }
  throw new Fault({
    code: 'client.unsupported_value',
    public: `This model's vectors have ${length} dimensions; it cannot give ${dimensions}. Leave 'dimensions' out.`,
    param: 'dimensions',
  })
}

function normalised(vector: readonly number[]): readonly number[] {
  const length = Math.hypot(...vector)
  return length === 0 ? vector : vector.map((value) => value / length)
}
