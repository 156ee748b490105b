/** OpenAI's chat request as this engine takes it. Unknown fields are tolerated; known ones are checked. */
import { z } from 'zod'
import { Fault } from '../../platform/fault.ts'
import type { SamplingParameters } from './sampling.ts'

const messagesMax = 10_000
const partsMax = 1_000
const toolsMax = 128
const toolCallsMax = 128
const choicesMax = 8
const topLogprobsMax = 20
const stopsMax = 4
const stopLengthMax = 1_000
const biasesMax = 1_024

const textPart = z.object({
  type: z.literal('text', 'this model reads text only'),
  text: z.string(),
})
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })
const content = z
  .union([z.string(), z.array(z.union([textPart, refusalPart])).max(partsMax)])
  .transform((value) =>
    typeof value === 'string'
      ? value
      : value.map((part) => ('text' in part ? part.text : part.refusal)).join(''),
  )

const toolCall = z.object({
  id: z.string(),
  type: z.literal('function').default('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
})

const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: content.nullish(),
  name: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  tool_calls: z.array(toolCall).max(toolCallsMax).nullish(),
  tool_call_id: z.string().nullish(),
})
export type WireMessage = z.infer<typeof message>

const jsonSchema = z.union([z.record(z.string(), z.unknown()), z.boolean()])

const tool = z.object({
  type: z.literal('function'),
  function: z.object({
    name: z.string().min(1).max(200),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
})
export type WireTool = z.infer<typeof tool>

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({
      name: z.string().nullish(),
      schema: jsonSchema.nullish(),
      strict: z.boolean().nullish(),
    }),
  }),
])

const penalty = z.number().min(-2).max(2).nullish()
const count = z.number().int().min(1).nullish()

/** What a chat and a completion have in common. */
export const generationFields = {
  model: z.string().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.number().int().min(0).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0).max(10).nullish(),
  frequency_penalty: penalty,
  presence_penalty: penalty,
  min_tokens: z.number().int().min(0).max(0, 'is not supported by this model server').nullish(),
  stop: z
    .union([z.string().max(stopLengthMax), z.array(z.string().max(stopLengthMax)).max(stopsMax)])
    .nullish(),
  seed: z.int().nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, 'keys are token ids'), z.number().min(-100).max(100))
    .refine((biases) => Object.keys(biases).length <= biasesMax, 'too many entries')
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .object({
      include_usage: z.boolean().nullish(),
      continuous_usage_stats: z.boolean().nullish(),
    })
    .nullish(),
  /** Extensions that other engines share: never end by oneself; whose cached prefixes may be used. */
  ignore_eos: z.boolean().nullish(),
  cache_salt: z.string().max(200).nullish(),
}
const generation = z.object(generationFields)
type Generation = z.infer<typeof generation>

const schema = z.object({
  ...generationFields,
  messages: z.array(message).min(1).max(messagesMax),
  max_tokens: count,
  max_completion_tokens: count,
  n: z.number().int().min(1).max(choicesMax).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(topLogprobsMax).nullish(),
  response_format: responseFormat.nullish(),
  tools: z.array(tool).max(toolsMax).nullish(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
    ])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning_effort: z.string().max(20).nullish(),
  /** What the template may ask for beside messages and tools. */
  chat_template_kwargs: z
    .record(z.string().max(64), z.union([z.string().max(1_000), z.number(), z.boolean(), z.null()]))
    .nullish(),
})
export type WireChatRequest = z.infer<typeof schema>

/** Throws `client.invalid_request`, with the first wrong field in `param`. The text never quotes a value. */
export function parseChatRequest(value: unknown): WireChatRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const request = parsed.data
  if (request.logprobs !== true && (request.top_logprobs ?? 0) > 0) {
    throw invalid('top_logprobs', "'top_logprobs' needs 'logprobs' to be true.")
  }
  const named = typeof request.tool_choice === 'object' ? request.tool_choice?.function.name : null
  const names = request.tools?.map((each) => each.function.name) ?? []
  if (typeof named === 'string' && !names.includes(named)) {
    throw invalid('tool_choice', "'tool_choice' names a function that is not in 'tools'.")
  }
  if (request.tool_choice === 'required' && names.length === 0) {
    throw invalid('tool_choice', "'tool_choice' is only allowed when 'tools' are specified.")
  }
  return request
}

export function samplingOf(request: Generation, endTokens: readonly number[]): SamplingParameters {
  const bias = new Map(
    Object.entries(request.logit_bias ?? {}).map(([token, value]) => [Number(token), value]),
  )
  if (request.ignore_eos) for (const token of endTokens) bias.set(token, -100)
  return {
    temperature: request.temperature ?? undefined,
    topP: request.top_p ?? undefined,
    topK: request.top_k ?? undefined,
    minP: request.min_p ?? undefined,
    seed: request.seed ?? undefined,
    repetitionPenalty: request.repetition_penalty ?? undefined,
    presencePenalty: request.presence_penalty ?? undefined,
    frequencyPenalty: request.frequency_penalty ?? undefined,
    bias,
  }
}

export function stopsOf(request: Pick<Generation, 'stop'>): readonly string[] {
  const stop = request.stop ?? []
  return (typeof stop === 'string' ? [stop] : stop).filter((text) => text !== '')
}

/** Variables of the model's chat template. Thinking is on unless the caller says otherwise, in either of the two ways. */
export function templateVariablesOf(request: WireChatRequest): Readonly<Record<string, unknown>> {
  const { reasoning_effort: effort, chat_template_kwargs: variables } = request
  return {
    enable_thinking: effort !== 'none',
    ...(effort ? { reasoning_effort: effort } : {}),
    ...variables,
  }
}

export function invalidField(error: z.ZodError): Fault {
  const issue = error.issues[0]
  const param = (issue?.path ?? [])
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : index === 0 ? String(step) : `.${String(step)}`,
    )
    .join('')
    .slice(0, 200)
  return invalid(
    param === '' ? undefined : param,
    `${param === '' ? 'The body' : `'${param}'`}: ${issue?.message ?? 'has an invalid value'}.`,
  )
}

function invalid(param: string | undefined, text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
