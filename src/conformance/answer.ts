/**
 * Reads what the API answers, without judging it: a field that is missing or of another kind reads as `undefined`, so that one fault in an
 * answer fails the check for that fault and no other. Pure.
 */
import { z } from 'zod'
import { fail, type Api, type ApiAnswer, type ApiRequest, type StreamedAnswer } from './check.ts'

const text = z.string().optional().catch(undefined)
const number = z.number().optional().catch(undefined)

const usage = z
  .object({ prompt_tokens: number, completion_tokens: number, total_tokens: number })
  .optional()
  .catch(undefined)

const toolCall = z.object({
  index: number,
  id: text,
  type: text,
  function: z.object({ name: text, arguments: text }).optional().catch(undefined),
})
export type ToolCall = z.infer<typeof toolCall>
const toolCalls = z.array(toolCall).optional().catch(undefined)

const tokenLogprob = z.object({
  token: text,
  logprob: number,
  top_logprobs: z
    .array(z.object({ token: text, logprob: number }))
    .optional()
    .catch(undefined),
})
const logprobs = z
  .object({ content: z.array(tokenLogprob).optional().catch(undefined) })
  .optional()
  .catch(undefined)

const said = { role: text, content: text, reasoning_content: text, tool_calls: toolCalls }

const chat = z.object({
  object: text,
  id: text,
  model: text,
  choices: z
    .array(
      z.object({
        index: number,
        message: z.object(said).catch({}),
        finish_reason: text,
        logprobs,
      }),
    )
    .catch([]),
  usage,
})
export type ChatAnswer = z.infer<typeof chat>

const chunk = z.object({
  object: text,
  id: text,
  created: number,
  model: text,
  choices: z
    .array(z.object({ index: number, delta: z.object(said).catch({}), finish_reason: text }))
    .optional()
    .catch(undefined),
  usage,
  error: z.unknown().optional(),
})
export type ChatChunk = z.infer<typeof chunk>

export interface ChatStream extends StreamedAnswer {
  /** Of each event but `[DONE]`; `undefined` for what is no object. */
  readonly chunks: readonly (ChatChunk | undefined)[]
}

const refusal = z.object({
  error: z.object({ type: text, code: text, param: text, message: text }).catch({}),
})
export type Refusal = z.infer<typeof refusal>['error']

export const chatPath = '/chat/completions'

/** Asks, and fails the check when there is no answer. */
export async function askChat(api: Api, body: object): Promise<ChatAnswer> {
  return readChat(mustAnswer(await api.send({ path: chatPath, body })))
}

export function readChat(answer: ApiAnswer): ChatAnswer {
  return chat.safeParse(answer.body).data ?? { choices: [] }
}

export async function streamChat(api: Api, body: object): Promise<ChatStream> {
  const answer = await api.stream({ path: chatPath, body: { ...body, stream: true } })
  return readStream(mustAnswer(answer))
}

export function readStream(answer: StreamedAnswer): ChatStream {
  const chunks = answer.events
    .filter(({ data }) => data !== '[DONE]')
    .map(({ data }) => chunk.safeParse(parseJson(data)).data)
  return { ...answer, chunks }
}

/** What a choice of a stream says, put together. */
export function textOf(stream: ChatStream, index = 0): string {
  return choicesOf(stream, index)
    .map(({ delta }) => delta.content ?? '')
    .join('')
}

export function choicesOf(
  stream: ChatStream,
  index = 0,
): readonly NonNullable<ChatChunk['choices']>[number][] {
  return stream.chunks
    .flatMap((each) => each?.choices ?? [])
    .filter((choice) => choice.index === index)
}

/** Passes an answer on, and fails the check for a refusal. */
export function mustAnswer<Answer extends ApiAnswer>(answer: Answer): Answer {
  if (answer.status !== 200) fail(`the request was ${describeRefusal(answer)}`)
  return answer
}

/** Sends, and returns `undefined` when the API refuses to do such a thing at all. Other refusals fail the check. */
export async function askIfSupported(
  api: Api,
  request: ApiRequest,
): Promise<ApiAnswer | undefined> {
  const answer = await api.send(request)
  return isUnsupported(answer) ? undefined : mustAnswer(answer)
}

const unsupportedCodes = [
  'unsupported_value',
  'unsupported_parameter',
  'capability_missing',
  'unknown_url',
  'engine_rejected',
]

/** A typed refusal that says: this is not done here. */
export function isUnsupported(answer: ApiAnswer): boolean {
  if (answer.status === 501) return true
  const { code } = readRefusal(answer)
  return answer.status >= 400 && answer.status < 500 && unsupportedCodes.includes(code ?? '')
}

export function readRefusal(answer: ApiAnswer): Refusal {
  return refusal.safeParse(answer.body).data?.error ?? {}
}

/** A code is told when it is a word; a message never, since it may quote. */
export function describeRefusal(answer: ApiAnswer): string {
  const { code } = readRefusal(answer)
  const named = /^[a-z0-9_.-]{1,60}$/i.test(code ?? '') ? ` (${code})` : ''
  return `answered with status ${answer.status}${named}`
}

/** `undefined` for what is no JSON. */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
