/**
 * Anthropic's request for a message as a schema (platform.claude.com/docs/en/api/messages). Texts that may stand as a string or as blocks are blocks once
 * parsed. Unknown fields are tolerated and dropped, `cache_control` among them: prefixes are cached here without being asked.
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from '../openai/chat-request.ts'

const messagesMax = 10_000
const blocksMax = 10_000
const toolsMax = 1_024
const stopSequencesMax = 4
const tokensMax = 10_000_000

const localBlocks =
  'takes text, image, document, search_result, tool_use, tool_result, thinking and redacted_thinking: what runs at Anthropic does not run here'
const localTools =
  "only tools of your own are offered to a model here: send 'name', 'description' and 'input_schema', and no type"
const localContent = 'remote and stored content is not fetched: send it as base64 or text'

/** A string is one block of text. */
function blocks<Schema extends z.ZodType>(each: Schema) {
  return z.preprocess(
    (value) => (typeof value === 'string' ? [{ type: 'text', text: value }] : value),
    z.array(each).max(blocksMax),
  )
}

const text = z.object({ type: z.literal('text'), text: z.string() })
const image = z.object({
  type: z.literal('image'),
  source: z.object({
    type: z.literal('base64', localContent),
    media_type: z.enum(['image/jpeg', 'image/png', 'image/gif', 'image/webp']),
    data: z.string(),
  }),
})
const document = z.object({
  type: z.literal('document'),
  source: z.discriminatedUnion(
    'type',
    [
      z.object({
        type: z.literal('text'),
        media_type: z.literal('text/plain'),
        data: z.string(),
      }),
      z.object({
        type: z.literal('base64'),
        media_type: z.enum(['application/pdf', 'text/plain']),
        data: z.string(),
      }),
      z.object({
        type: z.literal('content'),
        content: blocks(z.discriminatedUnion('type', [text, image])),
      }),
    ],
    localContent,
  ),
  title: z.string().max(500).nullish(),
  context: z.string().nullish(),
})
const searchResult = z.object({
  type: z.literal('search_result'),
  title: z.string(),
  source: z.string(),
  content: z.array(text).max(blocksMax),
})
const shown = [text, image, document, searchResult] as const

const toolUse = z.object({
  type: z.literal('tool_use'),
  id: z.string().max(200),
  name: z.string().max(200),
  input: z.record(z.string(), z.unknown()).nullish(),
})
const toolResult = z.object({
  type: z.literal('tool_result'),
  tool_use_id: z.string().max(200),
  content: blocks(z.discriminatedUnion('type', shown, localBlocks)).nullish(),
  is_error: z.boolean().nullish(),
})
const thinking = z.object({
  type: z.literal('thinking'),
  thinking: z.string(),
  signature: z.string().nullish(),
})
/** Only Anthropic can read what stands in it. */
const redactedThinking = z.object({ type: z.literal('redacted_thinking') })

const block = z.discriminatedUnion(
  'type',
  [...shown, toolUse, toolResult, thinking, redactedThinking],
  localBlocks,
)
const message = z.object({
  role: z.enum(['user', 'assistant', 'system']),
  content: blocks(block),
})

const tool = z.object({
  // The first field, so that its refusal is the one that is told.
  type: z.literal('custom', localTools).nullish(),
  name: z.string().regex(/^[\w.-]{1,128}$/, 'use 1 to 128 letters, digits, _, - or .'),
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()),
  strict: z.boolean().nullish(),
})

const isSequential = z.boolean().nullish()
const toolChoice = z.discriminatedUnion('type', [
  z.object({ type: z.literal('auto'), disable_parallel_tool_use: isSequential }),
  z.object({ type: z.literal('any'), disable_parallel_tool_use: isSequential }),
  z.object({
    type: z.literal('tool'),
    name: z.string().max(200),
    disable_parallel_tool_use: isSequential,
  }),
  z.object({ type: z.literal('none') }),
])

const outputFormat = z.object({
  type: z.literal('json_schema'),
  schema: z.record(z.string(), z.unknown()),
})

/** What decides the prompt. */
const promptFields = {
  model: z.string().min(1).max(200),
  messages: z.array(message).min(1).max(messagesMax),
  system: blocks(text).nullish(),
  tools: z.array(tool).max(toolsMax).nullish(),
  tool_choice: toolChoice.nullish(),
  thinking: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('enabled'), budget_tokens: z.number().int().min(1) }),
      z.object({ type: z.literal('adaptive') }),
      z.object({ type: z.literal('disabled') }),
    ])
    .nullish(),
  output_config: z
    .object({
      effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullish(),
      format: outputFormat.nullish(),
    })
    .nullish(),
  /** Where the format stood before `output_config`. */
  output_format: outputFormat.nullish(),
  mcp_servers: z
    .array(z.unknown())
    .max(0, 'servers are not called from here: call them yourself, and offer their tools')
    .nullish(),
}

export const countSchema = z.object(promptFields)
export const messageSchema = z.object({
  ...promptFields,
  max_tokens: z.number().int().min(1).max(tokensMax),
  stop_sequences: z.array(z.string().max(1_000)).max(stopSequencesMax).nullish(),
  stream: z.boolean().nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_k: z.number().int().min(0).max(100_000).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  metadata: z.object({ user_id: z.string().nullish() }).nullish(),
  service_tier: z.enum(['auto', 'standard_only']).nullish(),
})

export type CountRequest = z.infer<typeof countSchema>
export type MessageRequest = z.infer<typeof messageSchema>
export type Message = z.infer<typeof message>
export type Block = z.infer<typeof block>
/** Blocks that are shown to the model wherever they stand. */
export type ShownBlock = z.infer<(typeof shown)[number]>

/** Throws a `client.*` fault with the first wrong field in `param`. The text never quotes a value. */
export function parseMessageRequest(value: unknown): MessageRequest {
  return parse(messageSchema, value)
}

/** As the request itself, without what only concerns its answer. */
export function parseCountRequest(value: unknown): CountRequest {
  return parse(countSchema, value)
}

function parse<Parsed>(schema: z.ZodType<Parsed>, value: unknown): Parsed {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const fault = invalidField(parsed.error)
  // A type of block, source or tool that is none of ours exists all the same, at Anthropic.
  const isForeign = /\.type$|^mcp_servers/.test(fault.param ?? '')
  if (!isForeign) throw fault
  throw new Fault({ code: 'client.unsupported_value', public: fault.public, param: fault.param })
}
