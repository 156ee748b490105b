/**
 * OpenAI's chat request as a schema. Fields that change where a request goes or how a model server is driven never pass: what is
 * forwarded is this list, not what was sent. Unknown fields are tolerated and dropped, as OpenAI's own clients expect.
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'

const messagesMax = 10_000
const partsMax = 1_000
const toolsMax = 128
const choicesMax = 8
export const toolCallsMax = 128

const textPart = z.object({ type: z.literal('text'), text: z.string() })
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })
const imagePart = z.object({
  type: z.literal('image_url'),
  image_url: z.object({
    // The gateway fetches nothing, and neither may an engine on its behalf.
    url: z.string().startsWith('data:', 'remote images are not fetched: send a data: URI'),
    detail: z.enum(['auto', 'low', 'high']).nullish(),
  }),
})
const audioPart = z.object({
  type: z.literal('input_audio'),
  input_audio: z.object({ data: z.string(), format: z.string().max(20) }),
})
const contentParts = z
  .array(z.discriminatedUnion('type', [textPart, refusalPart, imagePart, audioPart]))
  .max(partsMax)
const content = z.union([z.string(), contentParts])

const toolCall = z.object({
  id: z.string().max(200),
  type: z.literal('function').default('function'),
  function: z.object({ name: z.string().max(200), arguments: z.string() }),
})

const name = z.string().max(200).nullish()
const message = z.discriminatedUnion('role', [
  z.object({ role: z.literal('system'), content, name }),
  z.object({ role: z.literal('developer'), content, name }),
  z.object({ role: z.literal('user'), content, name }),
  z.object({
    role: z.literal('assistant'),
    content: content.nullish(),
    name,
    refusal: z.string().nullish(),
    reasoning_content: z.string().nullish(),
    tool_calls: z.array(toolCall).max(toolCallsMax).nullish(),
  }),
  z.object({ role: z.literal('tool'), content, tool_call_id: z.string().max(200) }),
  z.object({
    role: z.literal('function'),
    content: z.string().nullable(),
    name: z.string().max(200),
  }),
])

const functionDefinition = z.object({
  name: z.string().regex(/^[\w.-]{1,64}$/, 'use 1 to 64 letters, digits, _, - or .'),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
})
const tool = z.object({ type: z.literal('function'), function: functionDefinition })
const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.object({ type: z.literal('function'), function: z.object({ name: z.string().max(200) }) }),
])

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({
      name: z.string().max(64),
      description: z.string().nullish(),
      schema: z.record(z.string(), z.unknown()).nullish(),
      strict: z.boolean().nullish(),
    }),
  }),
])

const tokens = z.number().int().min(1).max(10_000_000).nullish()
const penalty = z.number().min(-2).max(2).nullish()

/** What goes on to the engine. `null` means absent, as SDKs send it. */
const forwarded = {
  messages: z.array(message).min(1).max(messagesMax),
  max_tokens: tokens,
  max_completion_tokens: tokens,
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.number().int().min(0).max(100_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0).max(10).nullish(),
  frequency_penalty: penalty,
  presence_penalty: penalty,
  n: z.number().int().min(1).max(choicesMax).nullish(),
  stop: z.union([z.string().max(1_000), z.array(z.string().max(1_000)).max(4)]).nullish(),
  seed: z.number().int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,9}$/, 'keys are token ids'), z.number().min(-100).max(100))
    .nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  response_format: responseFormat.nullish(),
  tools: z.array(tool).max(toolsMax).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).nullish(),
}

/** Accepted and kept from the engine. */
const ours = {
  model: z.string().min(1).max(200),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  service_tier: z.string().max(50).nullish(),
  user: z.string().max(1_000).nullish(),
  safety_identifier: z.string().max(1_000).nullish(),
  prompt_cache_key: z.string().max(1_000).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  store: z.boolean().nullish(),
}

const schema = z.object({ ...forwarded, ...ours })
export type WireChatRequest = z.infer<typeof schema>

/** Throws `client.invalid_request` with the first wrong field in `param`. The text never quotes a value. */
export function parseChatRequest(value: unknown): WireChatRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const request = parsed.data
  if (request.logprobs !== true && (request.top_logprobs ?? 0) > 0) {
    throw new Fault({
      code: 'client.invalid_request',
      public: "'top_logprobs' needs 'logprobs' to be true.",
      param: 'top_logprobs',
    })
  }
  if (request.tool_choice && request.tool_choice !== 'none' && !request.tools?.length) {
    throw new Fault({
      code: 'client.invalid_request',
      public: "'tool_choice' is only allowed when 'tools' are specified.",
      param: 'tool_choice',
    })
  }
  return request
}

/** The body for the engine: the fields of the list above that were given. */
export function toEngineBody(request: WireChatRequest): Record<string, unknown> {
  const body: Record<string, unknown> = {}
  for (const key of forwardedKeys) {
    const value = request[key]
    if (value !== null && value !== undefined) body[key] = value
  }
  // Of two limits, the newer name wins; engines of all ages know the older one.
  const limit = request.max_completion_tokens ?? request.max_tokens
  delete body['max_completion_tokens']
  if (limit !== null && limit !== undefined) body['max_tokens'] = limit
  return body
}

const forwardedKeys = Object.keys(forwarded) as (keyof typeof forwarded)[]

export function invalidField(error: z.ZodError): Fault {
  const issue = error.issues[0]
  const path = issue?.path ?? []
  const param = path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : index === 0 ? String(step) : `.${String(step)}`,
    )
    .join('')
  const where = param === '' ? 'The body' : `'${param.slice(0, 200)}'`
  const text = issue?.code === 'custom' || issue?.message ? issue.message : 'has an invalid value'
  return new Fault({
    code: 'client.invalid_request',
    public: `${where}: ${text}.`.replace('..', '.'),
    param: param === '' ? undefined : param.slice(0, 200),
  })
}
