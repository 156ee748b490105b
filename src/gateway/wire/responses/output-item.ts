/** The items of an answer while they grow. Each writes its own events, and knows how it looks at any moment. */
import type { TokenLogprob } from '../../../engines/engine.ts'
import { createCustomInput } from './custom-input.ts'

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete'
export type WireItem = Readonly<Record<string, unknown>>

/** Numbers the event, and keeps it for the client. */
export type Emit = (event: Readonly<Record<string, unknown>> & { readonly type: string }) => void

export interface OutputItem {
  readonly kind: 'message' | 'reasoning' | 'call'
  /** As it is now. */
  wire(status: ItemStatus): WireItem
  /** Writes what ends its parts. */
  endParts(): void
}

/** Where an item stands: the same in all its events. */
export interface ItemPlace {
  readonly item_id: string
  readonly output_index: number
}

interface TextPart {
  readonly type: 'output_text' | 'refusal'
  text: string
  readonly logprobs: TokenLogprob[]
}

export interface MessageItem extends OutputItem {
  readonly kind: 'message'
  text(text: string, logprobs: readonly TokenLogprob[]): void
  refusal(text: string): void
}

export function createMessage(place: ItemPlace, emit: Emit): MessageItem {
  const parts: TextPart[] = []
  let isOpen = false

  const endPart = (): void => {
    const part = parts.at(-1)
    if (!part || !isOpen) return
    isOpen = false
    const at = { ...place, content_index: parts.length - 1 }
    if (part.type === 'refusal') emit({ type: 'response.refusal.done', ...at, refusal: part.text })
    else {
      const { text, logprobs } = part
      emit({ type: 'response.output_text.done', ...at, text, logprobs: toWireLogprobs(logprobs) })
    }
    emit({ type: 'response.content_part.done', ...at, part: toWirePart(part) })
  }
  const partOf = (type: TextPart['type']): TextPart => {
    const last = parts.at(-1)
    if (last && isOpen && last.type === type) return last
    endPart()
    const part: TextPart = { type, text: '', logprobs: [] }
    parts.push(part)
    isOpen = true
    const at = { ...place, content_index: parts.length - 1 }
    emit({ type: 'response.content_part.added', ...at, part: toWirePart(part) })
    return part
  }

  return {
    kind: 'message',
    text(text, logprobs) {
      const part = partOf('output_text')
      part.text += text
      for (const logprob of logprobs) part.logprobs.push(logprob)
      const at = { ...place, content_index: parts.length - 1 }
      const wire = toWireLogprobs(logprobs)
      emit({ type: 'response.output_text.delta', ...at, delta: text, logprobs: wire })
    },
    refusal(text) {
      partOf('refusal').text += text
      const at = { ...place, content_index: parts.length - 1 }
      emit({ type: 'response.refusal.delta', ...at, delta: text })
    },
    endParts: endPart,
    wire: (status) => ({
      id: place.item_id,
      type: 'message',
      status,
      role: 'assistant',
      content: parts.map(toWirePart),
    }),
  }
}

function toWirePart(part: TextPart): WireItem {
  if (part.type === 'refusal') return { type: 'refusal', refusal: part.text }
  const logprobs = toWireLogprobs(part.logprobs)
  return { type: 'output_text', text: part.text, annotations: [], logprobs }
}

/** OpenAI's are never without bytes. */
function toWireLogprobs(logprobs: readonly TokenLogprob[]): unknown {
  return logprobs.map(({ top_logprobs: top, ...logprob }) => ({
    ...withBytes(logprob),
    top_logprobs: top.map(withBytes),
  }))
}

function withBytes<Logprob extends { readonly bytes: readonly number[] | null }>(
  logprob: Logprob,
): Logprob & { readonly bytes: readonly number[] } {
  return { ...logprob, bytes: logprob.bytes ?? [] }
}

export interface ReasoningItem extends OutputItem {
  readonly kind: 'reasoning'
  text(text: string): void
}

/** `summary`: for clients that ask for a summary, and show nothing else. What they get is all of it. */
export function createReasoning(
  place: ItemPlace,
  emit: Emit,
  options: {
    readonly as: 'content' | 'summary'
    readonly seal: ((text: string) => string) | undefined
  },
): ReasoningItem {
  let text = ''
  let sealed: string | undefined
  const isSummary = options.as === 'summary'
  const at = isSummary ? { ...place, summary_index: 0 } : { ...place, content_index: 0 }
  const part = (): WireItem => ({ type: isSummary ? 'summary_text' : 'reasoning_text', text })
  const partEvents = isSummary ? 'response.reasoning_summary_part' : 'response.content_part'
  const textEvents = isSummary ? 'response.reasoning_summary_text' : 'response.reasoning_text'

  return {
    kind: 'reasoning',
    text(piece) {
      if (text === '') emit({ type: `${partEvents}.added`, ...at, part: part() })
      text += piece
      emit({ type: `${textEvents}.delta`, ...at, delta: piece })
    },
    endParts() {
      if (text === '') return
      emit({ type: `${textEvents}.done`, ...at, text })
      emit({ type: `${partEvents}.done`, ...at, part: part() })
      // Once: it is a different text each time.
      sealed = options.seal?.(text)
    },
    wire: (status) => ({
      id: place.item_id,
      type: 'reasoning',
      status,
      summary: isSummary && text !== '' ? [part()] : [],
      ...(isSummary ? {} : { content: text === '' ? [] : [part()] }),
      ...(options.seal ? { encrypted_content: sealed ?? null } : {}),
    }),
  }
}

export interface CallItem extends OutputItem {
  readonly kind: 'call'
  arguments(piece: string): void
}

interface Called {
  readonly callId: string
  readonly name: string
}

export function createFunctionCall(place: ItemPlace, emit: Emit, called: Called): CallItem {
  let text = ''
  return {
    kind: 'call',
    arguments(piece) {
      text += piece
      emit({ type: 'response.function_call_arguments.delta', ...place, delta: piece })
    },
    endParts() {
      const { name } = called
      emit({ type: 'response.function_call_arguments.done', ...place, name, arguments: text })
    },
    wire: (status) => ({
      id: place.item_id,
      type: 'function_call',
      status,
      call_id: called.callId,
      name: called.name,
      arguments: text,
    }),
  }
}

export function createCustomCall(place: ItemPlace, emit: Emit, called: Called): CallItem {
  const reader = createCustomInput()
  let input = ''
  const grow = (delta: string): void => {
    if (delta === '') return
    input += delta
    emit({ type: 'response.custom_tool_call_input.delta', ...place, delta })
  }
  return {
    kind: 'call',
    arguments: (piece) => grow(reader.push(piece)),
    endParts() {
      grow(reader.end())
      emit({ type: 'response.custom_tool_call_input.done', ...place, input })
    },
    wire: (status) => ({
      id: place.item_id,
      type: 'custom_tool_call',
      status,
      call_id: called.callId,
      name: called.name,
      input,
    }),
  }
}
