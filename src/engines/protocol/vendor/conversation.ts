/** A chat in OpenAI's words as turns of blocks, which is how Anthropic, Google and AWS see one. */
import { isRecord } from '../answer.ts'
import { unsupported } from './request-fields.ts'

export interface Conversation {
  /** What stands above the conversation; wherever it stood in the messages. */
  readonly system: readonly string[]
  readonly turns: readonly Turn[]
  readonly tools: readonly OfferedTool[]
  readonly toolChoice: ToolChoice | undefined
}

export interface Turn {
  readonly role: 'user' | 'assistant'
  readonly blocks: readonly Block[]
}

export interface Media {
  readonly mediaType: string
  readonly base64: string
}

export type Block =
  | { readonly type: 'text'; readonly text: string }
  | ({ readonly type: 'image'; readonly param: string } & Media)
  | ({ readonly type: 'audio'; readonly param: string } & Media)
  | ({ readonly type: 'file'; readonly param: string; readonly name: string } & Media)
  | { readonly type: 'reasoning'; readonly text: string; readonly signature: string }
  | {
      readonly type: 'tool-call'
      readonly id: string
      readonly name: string
      readonly input: Readonly<Record<string, unknown>>
    }
  | {
      readonly type: 'tool-result'
      readonly id: string
      /** Of the tool that was called. */
      readonly name: string
      readonly text: string
    }

export interface OfferedTool {
  readonly name: string
  readonly description: string | undefined
  readonly schema: Readonly<Record<string, unknown>>
  readonly strict: boolean
}

export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string }

type Body = Readonly<Record<string, unknown>>

/** The gateway has validated the body; what this does not find in it, it takes for absent. */
export function readConversation(body: Body): Conversation {
  const messages = list(body['messages']).filter(isRecord)
  const system: string[] = []
  const turns: { role: Turn['role']; blocks: Block[] }[] = []
  const names = new Map<string, string>()
  for (const [position, message] of messages.entries()) {
    const blocks = readContent(message['content'], `messages[${position}].content`)
    if (message['role'] === 'system' || message['role'] === 'developer') {
      system.push(textOf(blocks))
      continue
    }
    const role = message['role'] === 'assistant' ? 'assistant' : 'user'
    const all = blocksOf(message, blocks, names)
    const last = turns.at(-1)
    if (last?.role === role) last.blocks.push(...all)
    else turns.push({ role, blocks: [...all] })
  }
  return {
    system: system.filter((text) => text !== ''),
    turns: turns.filter((turn) => turn.blocks.length > 0),
    tools: list(body['tools']).filter(isRecord).map(readTool),
    toolChoice: readToolChoice(body['tool_choice']),
  }
}

/** Whether the answer that is asked for goes on with calls of tools that the model has made, without the proof of what it thought. */
export function continuesUnsigned(turns: readonly Turn[]): boolean {
  const [question, answer] = [turns.at(-1), turns.at(-2)]
  const isResult = question?.blocks.some((block) => block.type === 'tool-result') ?? false
  return isResult && !answer?.blocks.some((block) => block.type === 'reasoning')
}

/** `names` learns the tools that were called: results name only the call. */
function blocksOf(message: Body, content: readonly Block[], names: Map<string, string>): Block[] {
  if (message['role'] === 'tool') {
    const id = string(message['tool_call_id'])
    return [{ type: 'tool-result', id, name: names.get(id) ?? id, text: textOf(content) }]
  }
  if (message['role'] !== 'assistant') return [...content]
  const reasoning = string(message['reasoning_content'] ?? message['reasoning'])
  const signature = string(message['reasoning_signature'])
  const calls = list(message['tool_calls']).filter(isRecord).map(readToolCall)
  for (const call of calls) names.set(call.id, call.name)
  // Nobody takes thoughts back without their proof.
  const proven: Block[] =
    signature === '' ? [] : [{ type: 'reasoning', text: reasoning, signature }]
  return [...proven, ...content, ...calls]
}

function readContent(content: unknown, place: string): readonly Block[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  return list(content)
    .filter(isRecord)
    .flatMap((part, index) => readPart(part, `${place}[${index}]`))
}

function readPart(part: Body, param: string): readonly Block[] {
  switch (part['type']) {
    case 'text':
      return part['text'] === '' ? [] : [{ type: 'text', text: string(part['text']) }]
    case 'refusal':
      return [{ type: 'text', text: string(part['refusal']) }]
    case 'image_url': {
      const image = isRecord(part['image_url']) ? part['image_url'] : {}
      return [{ type: 'image', param, ...readDataUri(image['url'], param) }]
    }
    case 'input_audio': {
      const audio = isRecord(part['input_audio']) ? part['input_audio'] : {}
      const mediaType = `audio/${string(audio['format'])}`
      return [{ type: 'audio', param, mediaType, base64: string(audio['data']) }]
    }
    case 'file': {
      const file = isRecord(part['file']) ? part['file'] : {}
      const data = readDataUri(file['file_data'], param)
      return [{ type: 'file', param, name: string(file['filename']) || 'file', ...data }]
    }
    default:
      throw unsupported(param)
  }
}

/** `data:image/png;base64,…`: the gateway takes no other addresses. Bare base64 is a PDF, as OpenAI takes it. */
function readDataUri(value: unknown, param: string): Media {
  const text = string(value)
  const comma = text.indexOf(',')
  if (!text.startsWith('data:')) return { mediaType: 'application/pdf', base64: text }
  const [mediaType = '', ...parameters] = text.slice('data:'.length, comma).split(';')
  if (comma < 0 || parameters.at(-1) !== 'base64') throw unsupported(param)
  return { mediaType: mediaType.toLowerCase(), base64: text.slice(comma + 1) }
}

function readToolCall(call: Body): Extract<Block, { type: 'tool-call' }> {
  const called = isRecord(call['function']) ? call['function'] : {}
  const input = parseObject(string(called['arguments']))
  return { type: 'tool-call', id: string(call['id']), name: string(called['name']), input }
}

/** Models write arguments, and not always well; vendors take objects alone. */
function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : { value }
  } catch {
    return text === '' ? {} : { arguments: text }
  }
}

function readTool(tool: Body): OfferedTool {
  const offered = isRecord(tool['function']) ? tool['function'] : {}
  const { name, description, parameters, strict } = offered
  return {
    name: string(name),
    description: typeof description === 'string' ? description : undefined,
    schema: isRecord(parameters) ? parameters : { type: 'object', properties: {} },
    strict: strict === true,
  }
}

function readToolChoice(choice: unknown): ToolChoice | undefined {
  if (choice === undefined || choice === null) return undefined
  if (choice === 'auto' || choice === 'none' || choice === 'required') return choice
  const named = isRecord(choice) ? choice['function'] : undefined
  if (isRecord(named) && typeof named['name'] === 'string') return { name: named['name'] }
  throw unsupported('tool_choice')
}

function textOf(blocks: readonly Block[]): string {
  return blocks
    .map((block) => {
      if (block.type === 'text') return block.text
      // Results and instructions are text.
      throw unsupported('param' in block ? block.param : 'messages')
    })
    .join('')
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function string(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
