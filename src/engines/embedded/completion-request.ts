/** OpenAI's legacy completion request as this engine takes it. */
import { z } from 'zod'
import { Fault } from '../../platform/fault.ts'
import { generationFields, invalidField } from './chat-request.ts'
import { refuseHopeless, tooLong } from './context-length.ts'
import type { Vocabulary } from './vocabulary.ts'

/** Prompts times `n`. */
const choicesMax = 128
const logprobsMax = 5

const tokenIds = z.array(z.number().int().min(0)).min(1)
const schema = z.object({
  ...generationFields,
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1).max(choicesMax),
    tokenIds,
    z.array(tokenIds).min(1).max(choicesMax),
  ]),
  suffix: z.string().nullish(),
  max_tokens: z.number().int().min(0).nullish(),
  n: z.number().int().min(1).max(choicesMax).nullish(),
  echo: z.boolean().nullish(),
  logprobs: z.number().int().min(0).max(logprobsMax).nullish(),
})
export type WireCompletionRequest = z.infer<typeof schema>

/** Throws `client.invalid_request`, with the first wrong field in `param`. */
export function parseCompletionRequest(value: unknown): WireCompletionRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const { prompt, n } = parsed.data
  if (listOf(prompt).length * (n ?? 1) <= choicesMax) return parsed.data
  throw new Fault({
    code: 'client.invalid_request',
    public: `'n' times the number of prompts is at most ${choicesMax}.`,
    param: 'n',
  })
}

export interface Prompt {
  readonly text: string
  readonly tokens: Uint32Array
}

/** What the model reads, prompt by prompt. */
export function readPrompts(
  request: WireCompletionRequest,
  model: { readonly vocabulary: Vocabulary; readonly windowTokens: number },
): readonly Prompt[] {
  const { vocabulary, windowTokens } = model
  return listOf(request.prompt).map((prompt, index) => {
    const limit = { windowTokens, param: 'prompt', subject: `prompt ${index}` }
    if (typeof prompt === 'string') refuseHopeless(limit, prompt, vocabulary.tokenizeText)
    const { suffix } = request
    if (typeof suffix === 'string') refuseHopeless(limit, suffix, vocabulary.tokenizeText)
    const read = readPrompt(prompt, suffix ?? undefined, vocabulary)
    if (read.tokens.length >= windowTokens) throw tooLong(limit, read.tokens.length, true)
    return read
  })
}

function readPrompt(
  prompt: string | readonly number[],
  suffix: string | undefined,
  vocabulary: Vocabulary,
): Prompt {
  if (typeof prompt !== 'string' && prompt.some((token) => token >= vocabulary.size)) {
    throw new Fault({
      code: 'client.invalid_request',
      public: `'prompt': this model's token ids end at ${vocabulary.size - 1}.`,
      param: 'prompt',
    })
  }
  const text =
    typeof prompt === 'string'
      ? prompt
      : Buffer.concat(prompt.map((token) => vocabulary.spellingOf(token))).toString('utf8')
  if (suffix !== undefined && suffix !== '') {
    const tokens = vocabulary.tokenizeGap(text, suffix)
    if (tokens) return { text, tokens }
    throw new Fault({
      code: 'client.unsupported_value',
      public: "This model was not taught to fill in before a 'suffix'. Leave it out.",
      param: 'suffix',
    })
  }
  const tokens =
    typeof prompt === 'string' ? vocabulary.tokenizeRaw(prompt) : Uint32Array.from(prompt)
  return { text, tokens }
}

function listOf(
  prompt: WireCompletionRequest['prompt'],
): readonly string[] | readonly (readonly number[])[] {
  if (typeof prompt === 'string') return [prompt]
  // A list holds one kind of item, as the schema says; a flat list of numbers is one prompt.
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as string[] | number[][])
}
