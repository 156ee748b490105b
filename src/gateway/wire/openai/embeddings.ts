/** OpenAI's embeddings, in and out. SDKs ask for base64 silently: little-endian float32. */
import { z } from 'zod'
import type { TokenUsage } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from './chat-request.ts'

const itemsMax = 2_048
const tokensPerItemMax = 1_000_000

const text = z.string().min(1, 'must not be an empty string')
const tokens = z
  .array(z.number().int().min(0).max(10_000_000))
  .min(1, 'must not be empty')
  .max(tokensPerItemMax)
export const schema = z.object({
  model: z.string().min(1).max(200),
  input: z.union([
    text,
    z.array(text).min(1, 'must not be empty').max(itemsMax),
    tokens,
    z.array(tokens).min(1).max(itemsMax),
  ]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().int().min(1).max(100_000).nullish(),
  user: z.string().max(1_000).nullish(),
})

export interface EmbeddingsRequest {
  readonly model: string
  readonly input: readonly string[] | readonly (readonly number[])[]
  readonly encoding: 'float' | 'base64'
  readonly dimensions: number | undefined
}

export function parseEmbeddingsRequest(value: unknown): EmbeddingsRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw inputFault(parsed.error)
  const { model, input, encoding_format: encoding, dimensions } = parsed.data
  return {
    model,
    input: toItems(input),
    encoding: encoding ?? 'float',
    dimensions: dimensions ?? undefined,
  }
}

function toItems(input: z.infer<typeof schema>['input']): EmbeddingsRequest['input'] {
  if (typeof input === 'string') return [input]
  if (typeof input[0] === 'number') return [input.filter((item) => typeof item === 'number')]
  // The schema admits no mixture, so the first item speaks for all.
  return input as string[] | number[][]
}

/** A union's own message names none of its four forms; this one does. */
function inputFault(error: z.ZodError): Fault {
  if (error.issues[0]?.path[0] !== 'input') return invalidField(error)
  return new Fault({
    code: 'client.invalid_request',
    public: `'input' must be a non-empty string, a list of 1 to ${itemsMax} non-empty strings, or token lists.`,
    param: 'input',
  })
}

export function renderEmbeddings(options: {
  readonly model: string
  readonly vectors: readonly (readonly number[])[]
  readonly encoding: 'float' | 'base64'
  readonly usage: TokenUsage
}): string {
  return JSON.stringify({
    object: 'list',
    data: options.vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: options.encoding === 'base64' ? toBase64(vector) : vector,
    })),
    model: options.model,
    usage: { prompt_tokens: options.usage.inputTokens, total_tokens: options.usage.inputTokens },
  })
}

function toBase64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}
