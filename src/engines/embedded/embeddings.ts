/** One embeddings request, from its body to the vectors. */
import type { LlamaEmbeddingContext, Token } from 'node-llama-cpp'
import { z } from 'zod'
import { Fault } from '../../platform/fault.ts'
import { invalidField } from './chat-request.ts'
import type { ChatCall } from './chat.ts'
import { refuseHopeless, tooLong, type LengthLimit } from './context-length.ts'
import { sendJson } from './http.ts'
import type { EngineMetrics } from './metrics.ts'
import type { OpenModel } from './native.ts'

const inputsMax = 2_048

const tokenId = z.number().int().min(0)
const schema = z.object({
  model: z.string().nullish(),
  input: z.union([
    z.string(),
    z.array(z.string()).min(1).max(inputsMax),
    z.array(tokenId).min(1),
    z.array(z.array(tokenId).min(1)).min(1).max(inputsMax),
  ]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().int().min(1).nullish(),
})

export interface EmbeddingModel {
  readonly modelId: string
  readonly model: OpenModel
  readonly context: LlamaEmbeddingContext
  readonly windowTokens: number
  readonly metrics: EngineMetrics
}

export async function answerEmbeddings(model: EmbeddingModel, call: ChatCall): Promise<void> {
  const parsed = schema.safeParse(call.body)
  if (!parsed.success) throw invalidField(parsed.error)
  const request = parsed.data
  if (request.model && request.model !== model.modelId) {
    throw new Fault({
      code: 'catalog.model_not_found',
      public: `This server runs another model: '${model.modelId}'.`,
      param: 'model',
    })
  }
  const inputs = listOf(request.input).map((input, index) => toTokens(model, input, index))
  const lengths = inputs.map((tokens, index) => measure(model, tokens, index))
  const promptTokens = lengths.reduce((sum, length) => sum + length, 0)
  const data: unknown[] = []
  for (const [index, tokens] of inputs.entries()) {
    if (call.signal.aborted) return
    const { vector } = await model.context.getEmbeddingFor(tokens)
    const embedding = normalised(shortened(vector, request.dimensions ?? undefined))
    const isPacked = request.encoding_format === 'base64'
    data.push({ object: 'embedding', index, embedding: isPacked ? packed(embedding) : embedding })
  }
  model.metrics.promptTokens.inc(promptTokens)
  sendJson(call.response, 200, {
    object: 'list',
    model: model.modelId,
    data,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  })
}

type Input = string | readonly number[]

function listOf(input: z.infer<typeof schema>['input']): readonly Input[] {
  if (typeof input === 'string') return [input]
  const [first] = input
  // A flat list of numbers is one text, as tokens.
  return typeof first === 'number' ? [input as number[]] : (input as Input[])
}

function limitOf({ windowTokens }: EmbeddingModel, index: number): LengthLimit {
  return { windowTokens, param: 'input', subject: `input ${index}` }
}

/** Counts what the model adds at both ends, too. */
function measure(model: EmbeddingModel, tokens: readonly Token[], index: number): number {
  const length = model.context.calculateInputLength([...tokens])
  if (length > model.windowTokens) throw tooLong(limitOf(model, index), length, true)
  return length
}

function toTokens(model: EmbeddingModel, input: Input, index: number): Token[] {
  if (typeof input !== 'string') {
    if (input.some((token) => token >= model.model.vocabularySize)) {
      throw new Fault({
        code: 'client.invalid_request',
        public: "'input': a token id is not in this model's vocabulary.",
        param: 'input',
      })
    }
    // The library brands plain token ids.
    return [...input] as Token[]
  }
  if (input === '') {
    throw new Fault({
      code: 'client.invalid_request',
      public: "'input': texts cannot be empty.",
      param: 'input',
    })
  }
  const { native } = model.model
  refuseHopeless(limitOf(model, index), input, (slice) => native.tokenize(slice, false))
  return [...native.tokenize(input, false)] as Token[]
}

/** Models trained for it keep their meaning in the first dimensions; the others refuse by losing it. */
function shortened(vector: readonly number[], dimensions: number | undefined): readonly number[] {
  if (dimensions === undefined || dimensions === vector.length) return vector
  if (dimensions < vector.length) return vector.slice(0, dimensions)
  throw new Fault({
    code: 'client.invalid_request',
    public: `'dimensions': this model's vectors have ${vector.length}.`,
    param: 'dimensions',
  })
}

export function normalised(vector: readonly number[]): readonly number[] {
  const length = Math.hypot(...vector)
  return length === 0 ? vector : vector.map((value) => value / length)
}

function packed(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString('base64')
}
