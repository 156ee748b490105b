/**
 * OpenAI's request for a response as a schema (platform.openai.com/docs/api-reference/responses/create). What needs something kept is refused in words,
 * but for responses where the tenant wants them kept. Unknown fields are tolerated and dropped.
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from '../openai/chat-request.ts'
import { parseItem, type InputItem } from './input-item.ts'
import { parseTool, toolChoice, toolsMax, type ResponseTool } from './tools.ts'

const itemsMax = 10_000
const includesMax = 32
const metadataKeysMax = 16

const textFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    name: z.string().max(64),
    description: z.string().nullish(),
    schema: z.record(z.string(), z.unknown()),
    strict: z.boolean().nullish(),
  }),
])

export const schema = z.object({
  model: z.string().min(1).max(200),
  /** Each item is parsed by its own schema. */
  input: z.union([z.string(), z.array(z.unknown()).max(itemsMax)]),
  instructions: z.string().nullish(),
  tools: z.array(z.unknown()).max(toolsMax).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_tool_calls: z.number().int().min(1).nullish(),
  text: z
    .object({
      format: textFormat.nullish(),
      verbosity: z.enum(['low', 'medium', 'high']).nullish(),
    })
    .nullish(),
  reasoning: z
    .object({
      effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).nullish(),
      summary: z.enum(['auto', 'concise', 'detailed']).nullish(),
      generate_summary: z.enum(['auto', 'concise', 'detailed']).nullish(),
    })
    .nullish(),
  max_output_tokens: z.number().int().min(1).max(10_000_000).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  include: z.array(z.string().max(100)).max(includesMax).nullish(),
  truncation: z.enum(['auto', 'disabled']).nullish(),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= metadataKeysMax, 'has too many keys')
    .nullish(),
  user: z.string().max(1_000).nullish(),
  safety_identifier: z.string().max(1_000).nullish(),
  prompt_cache_key: z.string().max(1_000).nullish(),
  prompt_cache_retention: z.string().max(50).nullish(),
  service_tier: z.string().max(50).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_obfuscation: z.boolean().nullish() }).nullish(),
  store: z.boolean().nullish(),
  background: z.boolean().nullish(),
  previous_response_id: z.string().max(200).nullish(),
  conversation: z.unknown().optional(),
  prompt: z.unknown().optional(),
  /** Only on sockets: `false` prepares state that the next request builds on. */
  generate: z.boolean().nullish(),
  type: z.literal('response.create').nullish(),
})

export type ResponseRequest = Omit<z.infer<typeof schema>, 'input' | 'tools'> & {
  readonly input: string | readonly InputItem[]
  readonly tools: readonly ResponseTool[]
}
export const responseFieldNames: ReadonlySet<string> = new Set(Object.keys(schema.shape))

/**
 * Throws a `client.*` fault with the first wrong field in `param`. The text never quotes a value. `keepsResponses`: whether this caller may have responses
 * kept.
 */
export function parseResponseRequest(value: unknown, keepsResponses = false): ResponseRequest {
  if (isWithoutInput(value)) throw missingInput()
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const request = parsed.data
  if (!keepsResponses) refuseKeeping(request)
  refuseWhatIsKept(request)
  const { input, tools } = request
  return {
    ...request,
    input: typeof input === 'string' ? input : input.map((item, index) => parseItem(item, index)),
    tools: (tools ?? []).map((tool, index) => parseTool(tool, index)),
  }
}

function isWithoutInput(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !('input' in value)
}

function missingInput(): Fault {
  const text = "'input' is missing: a text, or a list of items."
  return new Fault({ code: 'client.invalid_request', public: text, param: 'input' })
}

/** What the administrator does about it. */
const turnOn =
  'Responses are kept only for tenants that want it: an administrator turns it on with `colonnade tenant update TENANT --keep-responses DAYS`.'

function refuseKeeping(request: z.infer<typeof schema>): void {
  if (request.previous_response_id) {
    throw new Fault({
      code: 'client.unsupported_value',
      public: `No response is kept here for you, so none can be continued. Send the whole conversation in input, and reasoning with include: ["reasoning.encrypted_content"]. ${turnOn}`,
      param: 'previous_response_id',
      details: { code: 'previous_response_not_found' },
    })
  }
  if (request.store === true) {
    const text = `Nothing is kept here for you, neither what you ask nor what is answered. Leave 'store' out, or set it to false. ${turnOn}`
    throw refuse(text, 'store')
  }
}

function refuse(text: string, param: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: text, param })
}

function refuseWhatIsKept(request: z.infer<typeof schema>): void {
  if (request.conversation !== undefined && request.conversation !== null) {
    throw refuse('No conversation is kept here. Send it whole in input.', 'conversation')
  }
  if (request.background === true) {
    const text = 'Nothing is answered in the background. Use a stream, or /v1/batches.'
    throw refuse(text, 'background')
  }
  if (request.prompt !== undefined && request.prompt !== null) {
    throw refuse('No prompts are kept here. Send the text in instructions and input.', 'prompt')
  }
  if (request.truncation === 'auto') {
    const text = "The conversation is never shortened for you. Leave 'truncation' out."
    throw refuse(text, 'truncation')
  }
  if (request.generate === false) {
    throw refuse("Nothing is prepared ahead here. Leave 'generate' out.", 'generate')
  }
}
