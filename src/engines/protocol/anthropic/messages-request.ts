/**
 * A chat in OpenAI's words as a request to Anthropic's Messages API (platform.claude.com/docs, "Create a Message", "Extended thinking",
 * "Adaptive thinking", "Structured outputs").
 */
import type { ChatTask } from '../../engine.ts'
import {
  continuesUnsigned,
  readConversation,
  type Block,
  type Conversation,
  type OfferedTool,
} from '../vendor/conversation.ts'
import {
  effortOf,
  numberOf,
  refuseMissing,
  schemaFormatOf,
  stopsOf,
  unsupported,
  withoutUndefined,
  type Effort,
} from '../vendor/request-fields.ts'

/** How the models of an engine are told to think: since Claude Opus 4.6 `adaptive`, before by a budget of tokens. */
export type ThinkingStyle = 'adaptive' | 'budget'

export interface MessagesOptions {
  readonly thinking: ThinkingStyle
  /** Anthropic wants a bound with each request, and callers need not name one. */
  readonly outputTokensDefault: number
}

type Fields = Readonly<Record<string, unknown>>

const known: ReadonlySet<string> = new Set([
  'messages',
  'max_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'chat_template_kwargs',
])
const imageTypes: ReadonlySet<string> = new Set([
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
])
/** What an effort is worth where budgets are counted; at least 1,024 are taken. */
const budgetTokens: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 1_024,
  low: 2_048,
  medium: 8_192,
  high: 16_384,
  xhigh: 32_768,
}

export function renderMessages(
  task: ChatTask,
  model: string,
  options: MessagesOptions,
): Record<string, unknown> {
  const { body } = task
  refuseMissing(body, known)
  const conversation = readConversation(body)
  const thinking = renderThinking(body, conversation, options)
  return withoutUndefined({
    model,
    stream: true,
    system:
      conversation.system.length > 0
        ? conversation.system.map((text) => ({ type: 'text', text }))
        : undefined,
    messages: conversation.turns.map(({ role, blocks }) => ({
      role,
      content: blocks.map(renderBlock),
    })),
    temperature: temperatureOf(body),
    top_p: numberOf(body, 'top_p'),
    top_k: numberOf(body, 'top_k') || undefined,
    stop_sequences: stopsOf(body),
    tools: conversation.tools.length > 0 ? conversation.tools.map(renderTool) : undefined,
    tool_choice: renderToolChoice(body, conversation),
    ...thinking,
    output_config: renderOutput(body, thinking.output_config),
  })
}

function temperatureOf(body: Fields): number | undefined {
  const temperature = numberOf(body, 'temperature')
  if (temperature === undefined || temperature <= 1) return temperature
  throw unsupported('temperature', "'temperature' is at most 1 for this model.")
}

interface Thinking {
  readonly max_tokens: number
  readonly thinking?: Fields
  readonly output_config?: Fields
}

/** Thoughts count as output, so a budget leaves half of the bound to the answer. */
function renderThinking(
  body: Fields,
  { turns }: Conversation,
  { thinking, outputTokensDefault }: MessagesOptions,
): Thinking {
  const bound = numberOf(body, 'max_tokens') ?? outputTokensDefault
  const effort = effortOf(body)
  if (effort === undefined) return { max_tokens: bound }
  return { max_tokens: bound, ...renderEffort(effort, { thinking, bound, turns }) }
}

/** Also for Claude behind AWS, which takes the same fields beside its own. */
export function renderEffort(
  effort: Effort,
  {
    thinking,
    bound,
    turns,
  }: { thinking: ThinkingStyle; bound: number; turns: Conversation['turns'] },
): { readonly thinking: Fields; readonly output_config?: Fields } {
  const disabled = { thinking: { type: 'disabled' } }
  // What was thought before the tools ran would have to come along with its signature.
  if (effort === 'none' || continuesUnsigned(turns)) return disabled
  if (thinking === 'adaptive') {
    const level = effort === 'minimal' ? 'low' : effort
    return {
      thinking: { type: 'adaptive', display: 'summarized' },
      output_config: { effort: level },
    }
  }
  // Less than the least budget leaves nothing to think with.
  const budget = Math.min(budgetTokens[effort], Math.floor(bound / 2))
  if (budget < budgetTokens.minimal) return disabled
  return { thinking: { type: 'enabled', budget_tokens: budget } }
}

function renderOutput(body: Fields, config: Fields | undefined): Fields | undefined {
  const format = schemaFormatOf(body)
  if (!format) return config
  return { ...config, format: { type: 'json_schema', schema: format.schema } }
}

function renderTool({ name, description, schema, strict }: OfferedTool): Fields {
  return withoutUndefined({
    name,
    description,
    input_schema: { type: 'object', ...schema },
    strict: strict ? true : undefined,
  })
}

function renderToolChoice(body: Fields, { tools, toolChoice }: Conversation): Fields | undefined {
  if (tools.length === 0) return undefined
  const single = body['parallel_tool_calls'] === false ? { disable_parallel_tool_use: true } : {}
  if (toolChoice === 'none') return { type: 'none' }
  if (toolChoice === 'required') return { type: 'any', ...single }
  if (typeof toolChoice === 'object') return { type: 'tool', name: toolChoice.name, ...single }
  if (toolChoice === 'auto' || body['parallel_tool_calls'] === false)
    return { type: 'auto', ...single }
  return undefined
}

function renderBlock(block: Block): Fields {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: block.text }
    case 'image':
      if (!imageTypes.has(block.mediaType)) throw unsupported(block.param)
      return { type: 'image', source: toSource(block) }
    case 'file':
      if (block.mediaType !== 'application/pdf') throw unsupported(block.param)
      return { type: 'document', source: toSource(block), title: block.name }
    case 'audio':
      throw unsupported(block.param)
    case 'reasoning':
      return { type: 'thinking', thinking: block.text, signature: block.signature }
    case 'tool-call':
      return { type: 'tool_use', id: block.id, name: block.name, input: block.input }
    case 'tool-result':
      return { type: 'tool_result', tool_use_id: block.id, content: block.text }
  }
}

function toSource({ mediaType, base64 }: { mediaType: string; base64: string }): Fields {
  return { type: 'base64', media_type: mediaType, data: base64 }
}
