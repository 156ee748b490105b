/** OpenAI's legacy completion request as a schema: a prompt in any of its four forms, and how the text goes on. */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { callerFields, invalidField, samplingFields } from './chat-request.ts'

/** Prompts times `n`. */
const choicesMax = 128
const promptsMax = 128
const promptTokensMax = 1_000_000
const logprobsMax = 5
/** What OpenAI documents for this endpoint, and old clients rely on; chats have no such limit. */
const maxTokensDefault = 16

const tokenIds = z.array(z.number().int().min(0)).min(1).max(promptTokensMax)
const prompt = z.union(
  [
    z.string(),
    z.array(z.string()).min(1).max(promptsMax),
    tokenIds,
    z.array(tokenIds).min(1).max(promptsMax),
  ],
  `takes a text, a list of token ids, or a list of at most ${promptsMax} of either`,
)

/** What goes on to the engine as it is. */
const forwarded = {
  ...samplingFields,
  n: z.number().int().min(1).max(choicesMax).nullish(),
  logprobs: z.number().int().min(0).max(logprobsMax).nullish(),
  suffix: z.string().nullish(),
}
export const schema = z.object({
  ...forwarded,
  ...callerFields,
  prompt,
  echo: z.boolean().nullish(),
  best_of: z.number().int().min(1).max(choicesMax).nullish(),
  max_tokens: z.number().int().min(0).max(10_000_000).nullish(),
})
export const completionFieldNames: ReadonlySet<string> = new Set(Object.keys(schema.shape))

export interface CompletionRequest {
  readonly model: string
  readonly prompts: readonly string[] | readonly (readonly number[])[]
  readonly n: number
  readonly maxTokens: number
  readonly stream: boolean
  readonly includeUsage: boolean
  /** How many alternatives go with each token; `undefined` for no probabilities at all. */
  readonly logprobs: number | undefined
  readonly suffix: string | undefined
  readonly serviceTier: string | undefined
  /** Who puts the prompt before the answer: we do where it is text, because not every engine can. */
  readonly echo: 'none' | 'gateway' | 'engine'
  /** For the engine: OpenAI's fields, with `prompt` as a list. */
  readonly body: Readonly<Record<string, unknown>>
}

/** Throws a `client.*` fault with the first wrong field in `param`. */
export function parseCompletionRequest(value: unknown): CompletionRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const wire = parsed.data
  const prompts = listOf(wire.prompt)
  const n = wire.n ?? 1
  if (prompts.length * n > choicesMax) {
    throw refuse(`'n' times the number of prompts is at most ${choicesMax}.`, 'n')
  }
  const bestOf = wire.best_of ?? n
  if (bestOf < n) throw refuse("'best_of' cannot be smaller than 'n'.", 'best_of')
  if (bestOf > n) {
    throw new Fault({
      code: 'client.unsupported_value',
      public:
        "Choosing the best of several answers is not supported: set 'n' and choose by 'logprobs'.",
      param: 'best_of',
    })
  }
  const logprobs = wire.logprobs ?? undefined
  const isText = typeof prompts[0] === 'string'
  const maxTokens = wire.max_tokens ?? maxTokensDefault
  const isSimpleEcho = isText && logprobs === undefined && maxTokens > 0
  const echo = wire.echo ? (isSimpleEcho ? 'gateway' : 'engine') : 'none'
  const body: Record<string, unknown> = { prompt: prompts, max_tokens: maxTokens }
  for (const key of forwardedKeys) {
    const field = wire[key]
    if (field !== null && field !== undefined) body[key] = field
  }
  if (echo === 'engine') body['echo'] = true
  if (maxTokens === 0 && echo === 'none') {
    throw refuse("'max_tokens' of 0 leaves nothing to answer without 'echo'.", 'max_tokens')
  }
  return {
    model: wire.model,
    prompts,
    n,
    maxTokens,
    stream: wire.stream === true,
    includeUsage: wire.stream_options?.include_usage === true,
    logprobs,
    suffix: wire.suffix ?? undefined,
    serviceTier: wire.service_tier ?? undefined,
    echo,
    body,
  }
}

// `forwarded` is declared above with these keys and no others.
const forwardedKeys = Object.keys(forwarded) as (keyof typeof forwarded)[]

function listOf(wire: z.infer<typeof prompt>): CompletionRequest['prompts'] {
  if (typeof wire === 'string') return [wire]
  // A list holds one kind of item, as the schema says; a flat list of numbers is one prompt.
  if (typeof wire[0] === 'number') return [wire as number[]]
  return wire as string[] | number[][]
}

function refuse(text: string, param: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
