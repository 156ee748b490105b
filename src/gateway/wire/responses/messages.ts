/**
 * The items of a conversation as a chat's messages. What an assistant did in one turn, its reasoning, its text and its calls, is one message there.
 * Returns beside each message where its content stands in the request, so that a refusal can name what the client wrote.
 */
import { Fault } from '../../../platform/fault.ts'
import type { Seal } from '../../../platform/seal.ts'
import type { InputItem, InputPart } from './input-item.ts'
import type { ResponseRequest } from './request.ts'
import { openReasoning } from './sealed-reasoning.ts'
import { toArguments } from './tools.ts'

type ChatMessage = Record<string, unknown>

export interface Conversation {
  readonly messages: readonly ChatMessage[]
  /** `input[3].content` for each. */
  readonly places: readonly string[]
}

interface AssistantTurn {
  readonly place: string
  reasoning: string
  content: string | undefined
  refusal: string
  readonly calls: { id: string; type: 'function'; function: { name: string; arguments: string } }[]
}

const earlierPlace = 'previous_response_id'

export function toConversation(
  request: Pick<ResponseRequest, 'instructions' | 'input'> & {
    /** Of the responses that it goes on from. */
    readonly earlier: readonly InputItem[]
  },
  seal: () => Seal,
): Conversation {
  const messages: ChatMessage[] = []
  const places: string[] = []
  let turn: AssistantTurn | undefined

  const add = (message: ChatMessage, place: string): void => {
    messages.push(message)
    places.push(place)
  }
  const endTurn = (): void => {
    if (turn) add(toAssistantMessage(turn), turn.place)
    turn = undefined
  }
  const turnAt = (place: string): AssistantTurn =>
    (turn ??= { place, reasoning: '', content: undefined, refusal: '', calls: [] })
  /** For reasoning and text, which come before calls: after those, and after a text, a new turn begins. */
  const unspokenTurnAt = (place: string): AssistantTurn => {
    const hasSpoken =
      turn && (turn.calls.length > 0 || turn.content !== undefined || turn.refusal !== '')
    if (hasSpoken) endTurn()
    return turnAt(place)
  }

  if (request.instructions) add({ role: 'system', content: request.instructions }, 'instructions')
  const { earlier, input } = request
  const given = typeof input === 'string' ? [] : input
  for (const [index, item] of [...earlier, ...given].entries()) {
    const isEarlier = index < earlier.length
    const place = isEarlier ? earlierPlace : `input[${index - earlier.length}]`
    const within = (field: string): string => (isEarlier ? place : `${place}.${field}`)
    switch (item.type) {
      case 'message': {
        const where = within('content')
        if (item.role !== 'assistant') {
          endTurn()
          add({ role: item.role, content: toContent(item.content, where) }, where)
          break
        }
        const open = unspokenTurnAt(where)
        open.content = textOf(item.content)
        open.refusal = refusalOf(item.content)
        break
      }
      case 'reasoning':
        unspokenTurnAt(place).reasoning += readReasoning(item, seal, place)
        break
      case 'function_call':
        turnAt(place).calls.push(toCall(item.call_id, item.name, item.arguments))
        break
      case 'custom_tool_call':
        turnAt(place).calls.push(toCall(item.call_id, item.name, toArguments(item.input)))
        break
      case 'function_call_output':
      case 'custom_tool_call_output': {
        endTurn()
        const where = within('output')
        const content = toContent(item.output, where)
        add({ role: 'tool', tool_call_id: item.call_id, content }, where)
        break
      }
    }
  }
  endTurn()
  if (typeof input === 'string') add({ role: 'user', content: input }, 'input')
  return { messages, places }
}

function toCall(id: string, name: string, args: string): AssistantTurn['calls'][number] {
  return { id, type: 'function', function: { name, arguments: args } }
}

function toAssistantMessage({ reasoning, content, refusal, calls }: AssistantTurn): ChatMessage {
  return {
    role: 'assistant',
    content: content ?? null,
    ...(refusal === '' ? {} : { refusal }),
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
}

function readReasoning(
  item: Extract<InputItem, { type: 'reasoning' }>,
  seal: () => Seal,
  place: string,
): string {
  if (item.encrypted_content) {
    return openReasoning(item.encrypted_content, seal(), `${place}.encrypted_content`)
  }
  const parts = item.content?.length ? item.content : (item.summary ?? [])
  return parts.map((part) => part.text).join('\n')
}

type Content = string | readonly InputPart[]

function textOf(content: Content): string {
  if (typeof content === 'string') return content
  return content.map((part) => ('text' in part ? part.text : '')).join('')
}

function refusalOf(content: Content): string {
  if (typeof content === 'string') return ''
  return content.map((part) => (part.type === 'refusal' ? part.refusal : '')).join('')
}

/** One text is written as a text: not every engine's template knows parts. */
function toContent(content: Content, place: string): unknown {
  if (typeof content === 'string') return content
  const [only] = content
  if (content.length === 1 && only && 'text' in only) return only.text
  return content.map((part, index) => toChatPart(part, `${place}[${index}]`))
}

function toChatPart(part: InputPart, place: string): unknown {
  switch (part.type) {
    case 'refusal':
      return { type: 'refusal', refusal: part.refusal }
    case 'input_image': {
      if (!part.image_url) throw refuse('Send the image as a data URI in image_url.', place)
      const detail = part.detail === 'original' ? 'high' : (part.detail ?? 'auto')
      return { type: 'image_url', image_url: { url: part.image_url, detail } }
    }
    case 'input_file': {
      if (!part.file_data) {
        throw refuse('Stored and remote files are not read. Send the content as file_data.', place)
      }
      const { file_data, filename } = part
      return { type: 'file', file: { file_data, ...(filename ? { filename } : {}) } }
    }
    case 'input_audio':
      return { type: 'input_audio', input_audio: part.input_audio }
    default:
      return { type: 'text', text: part.text }
  }
}

function refuse(text: string, param: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: text, param })
}
