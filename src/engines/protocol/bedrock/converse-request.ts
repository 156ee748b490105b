/** A chat in OpenAI's words as a request to Bedrock's Converse API (docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html). */
import type { ChatTask } from '../../engine.ts'
import { renderEffort, type ThinkingStyle } from '../anthropic/messages-request.ts'
import {
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
} from '../vendor/request-fields.ts'

export interface ConverseOptions {
  /** How to make the engine's models think; `undefined` where they are not Claude, whose fields these are. */
  readonly thinking: ThinkingStyle | undefined
}

type Fields = Readonly<Record<string, unknown>>

const known: ReadonlySet<string> = new Set([
  'messages',
  'max_tokens',
  'temperature',
  'top_p',
  'stop',
  'tools',
  'tool_choice',
  'response_format',
  'reasoning_effort',
  'chat_template_kwargs',
])
const imageFormats: ReadonlyMap<string, string> = new Map([
  ['image/png', 'png'],
  ['image/jpeg', 'jpeg'],
  ['image/gif', 'gif'],
  ['image/webp', 'webp'],
])
const documentFormats: ReadonlyMap<string, string> = new Map([
  ['application/pdf', 'pdf'],
  ['text/csv', 'csv'],
  ['text/html', 'html'],
  ['text/plain', 'txt'],
  ['text/markdown', 'md'],
  ['application/msword', 'doc'],
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'docx'],
  ['application/vnd.ms-excel', 'xls'],
  ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'xlsx'],
])
/** Where the caller names no bound, budgets of thoughts are of this. */
const outputTokensDefault = 32_000

export function renderConverse(
  { body }: ChatTask,
  options: ConverseOptions,
): Record<string, unknown> {
  refuseMissing(body, known)
  const conversation = readConversation(body)
  const { system, turns } = conversation
  return withoutUndefined({
    system: system.length > 0 ? system.map((text) => ({ text })) : undefined,
    messages: turns.map(({ role, blocks }) => ({ role, content: blocks.map(renderBlock) })),
    inferenceConfig: withoutUndefined({
      maxTokens: numberOf(body, 'max_tokens'),
      temperature: numberOf(body, 'temperature'),
      topP: numberOf(body, 'top_p'),
      stopSequences: stopsOf(body),
    }),
    toolConfig: renderTools(conversation),
    outputConfig: renderFormat(body),
    additionalModelRequestFields: renderThinking(body, conversation, options),
  })
}

function renderThinking(
  body: Fields,
  { turns }: Conversation,
  { thinking }: ConverseOptions,
): Fields | undefined {
  const effort = effortOf(body)
  if (effort === undefined) return undefined
  if (thinking === undefined) throw unsupported('reasoning_effort')
  const bound = numberOf(body, 'max_tokens') ?? outputTokensDefault
  return { ...renderEffort(effort, { thinking, bound, turns }) }
}

function renderFormat(body: Fields): Fields | undefined {
  const format = schemaFormatOf(body)
  if (!format) return undefined
  const { name, description, schema } = format
  const jsonSchema = withoutUndefined({ name, description, schema: JSON.stringify(schema) })
  return { textFormat: { type: 'json_schema', structure: { jsonSchema } } }
}

function renderTools({ tools, toolChoice, turns }: Conversation): Fields | undefined {
  if (tools.length === 0) return undefined
  if (toolChoice === 'none') {
    // There is no such choice here. Leaving the tools out is the same, unless they were used before.
    const isUsed = turns.some(({ blocks }) => blocks.some((block) => block.type === 'tool-call'))
    if (isUsed) throw unsupported('tool_choice')
    return undefined
  }
  return withoutUndefined({
    tools: tools.map(renderTool),
    toolChoice:
      toolChoice === undefined
        ? undefined
        : typeof toolChoice === 'object'
          ? { tool: { name: toolChoice.name } }
          : { [toolChoice === 'required' ? 'any' : 'auto']: {} },
  })
}

function renderTool({ name, description, schema, strict }: OfferedTool): Fields {
  const toolSpec = withoutUndefined({
    name,
    description,
    inputSchema: { json: { type: 'object', ...schema } },
    strict: strict ? true : undefined,
  })
  return { toolSpec }
}

function renderBlock(block: Block): Fields {
  switch (block.type) {
    case 'text':
      return { text: block.text }
    case 'image': {
      const format = imageFormats.get(block.mediaType)
      if (format === undefined) throw unsupported(block.param)
      return { image: { format, source: { bytes: block.base64 } } }
    }
    case 'file': {
      const format = documentFormats.get(block.mediaType)
      if (format === undefined) throw unsupported(block.param)
      // AWS takes letters, digits, single spaces, hyphens and brackets in a name.
      const name = block.name.replaceAll(/[^A-Za-z0-9\-()[\]]+/g, ' ').trim() || 'file'
      return { document: { format, name, source: { bytes: block.base64 } } }
    }
    case 'audio':
      throw unsupported(block.param)
    case 'reasoning':
      return {
        reasoningContent: { reasoningText: { text: block.text, signature: block.signature } },
      }
    case 'tool-call':
      return { toolUse: { toolUseId: block.id, name: block.name, input: block.input } }
    case 'tool-result':
      return { toolResult: { toolUseId: block.id, content: [{ text: block.text }] } }
  }
}
