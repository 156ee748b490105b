/**
 * OpenAI's chat request as a schema. Fields that change where a request goes or how a model server is driven never pass: what is
 * forwarded is this list, not what was sent. Unknown fields are tolerated and dropped, as OpenAI's own clients expect, unless the operator
 * says otherwise (field-policy.ts).
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { checkMedia, mediaNeeds, mediaParts, type PartNeed } from './chat-media.ts'
import { checkSchema } from './chat-schema-limits.ts'
import { functionFields, planTools, toolFields, type ToolPlan } from './chat-tools.ts'

const messagesMax = 10_000
const partsMax = 1_000
const choicesMax = 8
export const toolCallsMax = 128
const templateVariablesMax = 16
const modalitiesMax = 2

const textPart = z.object({ type: z.literal('text'), text: z.string() })
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })
const contentParts = z
  .array(z.discriminatedUnion('type', [textPart, refusalPart, ...mediaParts]))
  .max(partsMax)
const content = z.union([z.string(), contentParts])

const toolCall = z.object({
  id: z.string().max(200),
  type: z.literal('function', 'only calls of functions are supported').default('function'),
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
    /** Two names for one thing: servers and clients know one or the other. */
    reasoning_content: z.string().nullish(),
    reasoning: z.string().nullish(),
    /** The proof of a thought, for services that take thoughts back only with theirs. */
    reasoning_signature: z.string().nullish(),
    tool_calls: z.array(toolCall).max(toolCallsMax).nullish(),
    function_call: z.object({ name: z.string().max(200), arguments: z.string() }).nullish(),
  }),
  z.object({ role: z.literal('tool'), content, tool_call_id: z.string().max(200) }),
  z.object({
    role: z.literal('function'),
    content: z.string().nullable(),
    name: z.string().max(200),
  }),
])
type Message = z.infer<typeof message>

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

/** How the next token is chosen and when to end: the same for every endpoint that generates text. */
export const samplingFields = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.number().int().min(0).max(100_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0).max(10).nullish(),
  frequency_penalty: penalty,
  presence_penalty: penalty,
  stop: z.union([z.string().max(1_000), z.array(z.string().max(1_000)).max(4)]).nullish(),
  seed: z.number().int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,9}$/, 'keys are token ids'), z.number().min(-100).max(100))
    .nullish(),
  min_tokens: z.number().int().min(0).max(10_000_000).nullish(),
}

/** Servers render templates with these; the arguments of the renderer itself must not be among them. */
const rendererArguments =
  /^(chat_template|tokenize|conversation|messages|tools|documents|add_generation_prompt|continue_final_message|padding|truncation|max_length|return_.*|.*_kwargs|.*_token)$/
const templateVariables = z
  .record(
    z
      .string()
      .regex(/^[a-z][a-z0-9_]{0,63}$/, 'names are lower-case words')
      .refine((key) => !rendererArguments.test(key), 'has a name that is not allowed'),
    z.union([z.string().max(1_000), z.number(), z.boolean(), z.null()]),
  )
  .refine((variables) => Object.keys(variables).length <= templateVariablesMax, 'has too many')

/** What goes on to the engine as it is. `null` means absent, as SDKs send it. */
const forwarded = {
  ...samplingFields,
  n: z.number().int().min(1).max(choicesMax).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  response_format: responseFormat.nullish(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).nullish(),
  verbosity: z.enum(['low', 'medium', 'high']).nullish(),
  chat_template_kwargs: templateVariables.nullish(),
}

/** Goes on in other words. */
const translated = {
  messages: z.array(message).min(1).max(messagesMax),
  max_tokens: tokens,
  max_completion_tokens: tokens,
  ...toolFields,
  ...functionFields,
}

/** Accepted and kept from the engine, by every endpoint that generates text. */
export const callerFields = {
  model: z.string().min(1).max(200),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  service_tier: z.string().max(50).nullish(),
  user: z.string().max(1_000).nullish(),
  safety_identifier: z.string().max(1_000).nullish(),
  prompt_cache_key: z.string().max(1_000).nullish(),
  prompt_cache_retention: z.string().max(50).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  store: z.boolean().nullish(),
}

/** A guess at the answer makes an answer faster, and no other; what engines here cannot do at all is refused below. */
const unforwarded = {
  prediction: z.looseObject({ type: z.literal('content') }).nullish(),
  modalities: z.array(z.string().max(50)).max(modalitiesMax).nullish(),
  audio: z.unknown().optional(),
  web_search_options: z.unknown().optional(),
}

export const schema = z.object({ ...forwarded, ...translated, ...callerFields, ...unforwarded })
export type WireChatRequest = z.infer<typeof schema>
export const chatFieldNames: ReadonlySet<string> = new Set(Object.keys(schema.shape))

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
  refuseUnservable(request)
  checkSchemas(planTools(request), request)
  checkMedia(request.messages)
  return request
}

/** What the model must have beside text: `Work.needs`. */
export function needsOf(request: WireChatRequest): readonly PartNeed[] {
  return mediaNeeds(request.messages)
}

/** The body for the engine: the fields of the list above that were given, in the words that engines know. */
export function toEngineBody(request: WireChatRequest): Record<string, unknown> {
  const body: Record<string, unknown> = { messages: toEngineMessages(request.messages) }
  for (const key of forwardedKeys) {
    const value = request[key]
    if (value !== null && value !== undefined) body[key] = value
  }
  // Of two limits, the newer name wins; engines of all ages know the older one.
  const limit = request.max_completion_tokens ?? request.max_tokens
  if (limit !== null && limit !== undefined) body['max_tokens'] = limit
  const { tools, toolChoice, parallelToolCalls } = planTools(request)
  if (tools.length > 0) body['tools'] = tools
  if (toolChoice !== undefined) body['tool_choice'] = toolChoice
  if (parallelToolCalls !== undefined) body['parallel_tool_calls'] = parallelToolCalls
  return body
}

// `forwarded` is declared above with these keys and no others.
const forwardedKeys = Object.keys(forwarded) as (keyof typeof forwarded)[]

function refuseUnservable(request: WireChatRequest): void {
  const refuse = (text: string, param: string): Fault =>
    new Fault({ code: 'client.unsupported_value', public: text, param })
  if (request.modalities?.some((modality) => modality !== 'text')) {
    throw refuse("Answers are text. Leave 'modalities' out, or use /v1/audio/speech.", 'modalities')
  }
  if (request.audio !== undefined && request.audio !== null) {
    throw refuse("Answers are text. Leave 'audio' out, or use /v1/audio/speech.", 'audio')
  }
  if (request.web_search_options !== undefined && request.web_search_options !== null) {
    throw refuse('There is no web search here. Offer it as a tool.', 'web_search_options')
  }
}

function checkSchemas({ tools, usesFunctions }: ToolPlan, request: WireChatRequest): void {
  for (const [index, { function: offered }] of tools.entries()) {
    const place = usesFunctions ? `functions[${index}]` : `tools[${index}].function`
    checkSchema(offered.parameters, `${place}.parameters`)
  }
  if (request.response_format?.type === 'json_schema') {
    checkSchema(request.response_format.json_schema.schema, 'response_format.json_schema.schema')
  }
}

function toEngineMessages(messages: readonly Message[]): readonly Record<string, unknown>[] {
  // A call in the form before tools has no id; the result that follows it gets the same.
  let functionCalls = 0
  return messages.map((each) => {
    switch (each.role) {
      case 'system':
      case 'developer':
        // Not every template knows developers, and some pass over what they do not know. All know the role's older name.
        return toEngineMessage('system', each)
      case 'user':
        return toEngineMessage('user', each)
      case 'assistant': {
        if (each.function_call) functionCalls += 1
        return toEngineAnswer(each, functionCallId(functionCalls))
      }
      case 'tool':
        return { ...each, content: toEngineContent(each.content) }
      case 'function': {
        const { content: result } = each
        return { role: 'tool', tool_call_id: functionCallId(functionCalls), content: result ?? '' }
      }
    }
  })
}

function functionCallId(count: number): string {
  return `call_function_${count}`
}

function toEngineMessage(
  role: 'system' | 'user',
  { content: said, name: author }: Extract<Message, { role: 'user' | 'system' | 'developer' }>,
): Record<string, unknown> {
  return { role, content: toEngineContent(said), ...(author ? { name: author } : {}) }
}

function toEngineAnswer(
  message: Extract<Message, { role: 'assistant' }>,
  callId: string,
): Record<string, unknown> {
  const { name: author, refusal, function_call: call, tool_calls: calls } = message
  const reasoning = message.reasoning_content ?? message.reasoning
  const { reasoning_signature: proof } = message
  return {
    role: 'assistant',
    content: message.content ?? null,
    ...(author ? { name: author } : {}),
    ...(refusal ? { refusal } : {}),
    ...(reasoning ? { reasoning_content: reasoning, reasoning } : {}),
    ...(proof ? { reasoning_signature: proof } : {}),
    ...(calls?.length ? { tool_calls: calls } : {}),
    ...(call ? { tool_calls: [{ id: callId, type: 'function', function: call }] } : {}),
  }
}

function toEngineContent(parts: z.infer<typeof content>): unknown {
  if (typeof parts === 'string' || !parts.some((part) => part.type === 'image')) return parts
  return parts.map((part) =>
    part.type === 'image' ? { type: 'image_url', image_url: { url: part.image } } : part,
  )
}

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
