/** The other ways to ask a chat model. */
import { z } from 'zod'
import { isUnsupported, mustAnswer } from '../answer.ts'
import { must, skip, type Api, type ApiAnswer, type Check } from '../check.ts'
import { chatBody } from '../prompt.ts'

const shared = { categories: ['chat'], required: true } as const
const prompt = 'Say hello.'
const tokens = 24

const counts = z.object({ input_tokens: z.number(), output_tokens: z.number() })

/** A server without the endpoint is not held to it. */
async function ask(api: Api, path: string, body: object): Promise<ApiAnswer> {
  const answer = await api.send({ path, body })
  if (answer.status === 404 && isUnsupported(answer)) skip('this server does not have it')
  return mustAnswer(answer)
}

const response = z.object({
  object: z.literal('response'),
  id: z.string(),
  status: z.enum(['completed', 'incomplete']),
  output: z.array(z.looseObject({ type: z.string() })).min(1),
  usage: counts.extend({ total_tokens: z.number() }),
})

export const dialectResponses: Check = {
  ...shared,
  id: 'dialects.responses',
  title: 'the model answers /v1/responses',
  advice: "Clients of OpenAI's newer API cannot use this model.",
  async run(api, subject) {
    const body = { model: subject.model, input: prompt, max_output_tokens: roomFor(subject) }
    const parsed = response.safeParse((await ask(api, '/responses', body)).body)
    mustFit(parsed)
    const { usage, output } = parsed.data
    must(
      usage.total_tokens === usage.input_tokens + usage.output_tokens,
      'the total of usage is not the sum of its parts',
    )
    const types = output.map(({ type }) => type)
    must(types.includes('message') || types.includes('reasoning'), 'there is no message')
  },
}

const message = z.object({
  type: z.literal('message'),
  id: z.string(),
  role: z.literal('assistant'),
  content: z.array(z.looseObject({ type: z.string() })).min(1),
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence']),
  usage: counts,
})

export const dialectMessages: Check = {
  ...shared,
  id: 'dialects.messages',
  title: 'the model answers /v1/messages',
  advice: "Anthropic's SDK and coding agents cannot use this model.",
  async run(api, subject) {
    const messages = [{ role: 'user', content: prompt }]
    const body = { model: subject.model, messages, max_tokens: roomFor(subject) }
    mustFit(message.safeParse((await ask(api, '/messages', body)).body))
  },
}

const completion = z.object({
  object: z.literal('text_completion'),
  id: z.string(),
  choices: z.tuple([z.looseObject({ text: z.string(), finish_reason: z.string() })]),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number().max(8) }),
})

export const dialectCompletions: Check = {
  ...shared,
  id: 'dialects.completions',
  title: 'the model completes text with /v1/completions',
  advice: 'Older clients, and code completion, cannot use this model.',
  async run(api, subject) {
    const body = { model: subject.model, prompt: 'Once upon a time', max_tokens: 8 }
    const answer = await api.send({ path: '/completions', body })
    if (isUnsupported(answer)) skip('the engine only takes conversations, and says so')
    mustFit(completion.safeParse(mustAnswer(answer).body))
  },
}

function roomFor(subject: Parameters<Check['run']>[1]): number {
  const body = chatBody(subject, '', { max_tokens: tokens })
  return 'max_tokens' in body ? Number(body.max_tokens) : tokens
}

function mustFit<Value>(
  parsed: z.ZodSafeParseResult<Value>,
): asserts parsed is z.ZodSafeParseSuccess<Value> {
  const field = parsed.error?.issues[0]?.path.filter((step) => typeof step === 'string').join('.')
  must(parsed.success, field ? `the answer has no proper ${field}` : 'the answer is no such object')
}
