/**
 * Turns parts into the events of a response, in OpenAI's order (platform.openai.com/docs/api-reference/responses-streaming). The whole answer is the
 * response of the last event, so both ways tell the same. Text and reasoning end where something else begins; calls end with the answer,
 * since engines may write several at once.
 */
import type { FinishCause, StreamPart, TokenUsage } from '../../../engines/engine.ts'
import type { Fault } from '../../../platform/fault.ts'
import { logprobsMissing } from '../openai/chat-finish.ts'
import { toWireError } from '../openai/errors.ts'
import {
  createCustomCall,
  createFunctionCall,
  createMessage,
  createReasoning,
  type CallItem,
  type ItemPlace,
  type ItemStatus,
  type MessageItem,
  type OutputItem,
  type ReasoningItem,
  type WireItem,
} from './output-item.ts'
import { toWireResponse, type ResponseFrame, type WireResponse } from './response-object.ts'

export interface ResponseEvent extends Readonly<Record<string, unknown>> {
  readonly type: string
  readonly sequence_number: number
}

export interface ResponseWriterOptions extends ResponseFrame {
  /** Names of the tools whose input is free text. */
  readonly customTools: ReadonlySet<string>
  readonly wantsLogprobs: boolean
  readonly reasoningAs: 'content' | 'summary'
  /** `undefined` for clients that do not carry reasoning themselves. */
  readonly sealReasoning: ((text: string) => string) | undefined
  readonly nowSeconds: () => number
  readonly receipt: () => string | undefined
}

export interface ResponseWriter {
  /** The events that the part makes. */
  accept(part: StreamPart): readonly ResponseEvent[]
  /** The last events of an answer that failed after it had begun. */
  fail(fault: Fault): readonly ResponseEvent[]
  /** As it is now. */
  response(): WireResponse
  /** As the last event will tell it: for whoever has to keep it before the client hears of the end. */
  conclude(): WireResponse
}

interface Slot {
  readonly item: OutputItem
  readonly place: ItemPlace
  /** As it was when it ended. */
  ended: WireItem | undefined
}

export function createResponseWriter(options: ResponseWriterOptions): ResponseWriter {
  const suffix = options.id.replace(/^resp_/, '')
  const slots: Slot[] = []
  const calls = new Map<number, CallItem>()
  /** The text or the reasoning that is being written. */
  let prose: Slot | undefined
  let events: ResponseEvent[] = []
  let sequenceNumber = 0
  let hasBegun = false
  let hasLogprobs = false
  let state: Pick<WireResponse, 'status'> & {
    readonly reason?: 'max_output_tokens' | 'content_filter'
  } = { status: 'in_progress' }
  let usage: TokenUsage | undefined
  let limit: FinishCause | undefined
  let error: { readonly code: string; readonly message: string } | undefined
  let completedSeconds: number | undefined

  const emit = (event: Readonly<Record<string, unknown>> & { readonly type: string }): void => {
    const { type, ...rest } = event
    events.push({ type, sequence_number: sequenceNumber, ...rest })
    sequenceNumber += 1
  }
  const take = (): readonly ResponseEvent[] => {
    const taken = events
    events = []
    return taken
  }
  const response = (): WireResponse =>
    toWireResponse(options, {
      ...state,
      output: slots.map(({ item, ended }) => ended ?? item.wire(openStatus())),
      usage,
      limit,
      error,
      completedSeconds,
      receipt: options.receipt(),
    })
  /** Of an item that has not ended. */
  const openStatus = (): ItemStatus =>
    state.status === 'in_progress' ? 'in_progress' : 'incomplete'

  const begin = (): void => {
    if (hasBegun) return
    hasBegun = true
    emit({ type: 'response.created', response: response() })
    emit({ type: 'response.in_progress', response: response() })
  }
  const add = <Item extends OutputItem>(
    prefix: string,
    create: (place: ItemPlace) => Item,
  ): Item => {
    const output_index = slots.length
    const place = { item_id: `${prefix}_${suffix}${output_index}`, output_index }
    const item = create(place)
    slots.push({ item, place, ended: undefined })
    const wire = item.wire('in_progress')
    emit({ type: 'response.output_item.added', output_index, item: wire })
    return item
  }
  const endSlot = (slot: Slot, status: ItemStatus): void => {
    if (slot.ended) return
    slot.item.endParts()
    slot.ended = slot.item.wire(status)
    const { output_index } = slot.place
    emit({ type: 'response.output_item.done', output_index, item: slot.ended })
  }
  /** Text and reasoning that are not the next thing have ended. */
  const endProse = (): void => {
    if (prose) endSlot(prose, 'completed')
    prose = undefined
  }
  const message = (): MessageItem => {
    if (prose && isMessage(prose.item)) return prose.item
    endProse()
    const item = add('msg', (place) => createMessage(place, emit))
    prose = slots.at(-1)
    return item
  }
  const reasoning = (): ReasoningItem => {
    if (prose && isReasoning(prose.item)) return prose.item
    endProse()
    const { reasoningAs, sealReasoning } = options
    const item = add('rs', (place) =>
      createReasoning(place, emit, { as: reasoningAs, seal: sealReasoning }),
    )
    prose = slots.at(-1)
    return item
  }
  const call = (part: Extract<StreamPart, { type: 'tool-call-start' }>): void => {
    endProse()
    const isCustom = options.customTools.has(part.name)
    const create = isCustom ? createCustomCall : createFunctionCall
    const called = { callId: part.id, name: part.name }
    const item = add(isCustom ? 'ctc' : 'fc', (place) => create(place, emit, called))
    calls.set(part.toolCall, item)
  }
  const finish = (part: Extract<StreamPart, { type: 'choice-finish' }>): void => {
    const isCut = part.reason === 'length' || part.reason === 'content_filter'
    limit = part.cause
    // The last one is what was cut; the others had ended for the engine.
    for (const slot of slots) {
      const isLast = slot === slots.at(-1)
      endSlot(slot, isCut && isLast ? 'incomplete' : 'completed')
    }
    if (!isCut) {
      state = { status: 'completed' }
      completedSeconds = options.nowSeconds()
    } else {
      const reason = part.reason === 'length' ? 'max_output_tokens' : 'content_filter'
      state = { status: 'incomplete', reason }
    }
  }
  const conclude = (): void => {
    begin()
    if (state.status === 'in_progress') finish({ type: 'choice-finish', choice: 0, reason: 'stop' })
  }
  const end = (): void => {
    conclude()
    emit({ type: `response.${state.status}`, response: response() })
  }

  const write = (part: StreamPart): void => {
    switch (part.type) {
      case 'text-delta': {
        const logprobs = options.wantsLogprobs ? (part.logprobs ?? []) : []
        hasLogprobs ||= logprobs.length > 0
        if (options.wantsLogprobs && !hasLogprobs) throw logprobsMissing()
        begin()
        message().text(part.text, logprobs)
        break
      }
      case 'refusal-delta':
        begin()
        message().refusal(part.text)
        break
      case 'reasoning-delta':
        begin()
        reasoning().text(part.text)
        break
      case 'tool-call-start':
        begin()
        call(part)
        break
      case 'tool-call-delta':
        calls.get(part.toolCall)?.arguments(part.arguments)
        break
      case 'choice-finish':
        begin()
        finish(part)
        break
      case 'usage':
        usage = part.usage
        break
      case 'end':
        end()
        break
      default:
      // The other parts belong to other tasks.
    }
  }

  return {
    accept(part) {
      write(part)
      return take()
    },
    fail(fault) {
      // Comments may have gone out before the first part.
      begin()
      const { code, message: text, param } = toWireError(fault).error
      error = { code: errorCodeOf(fault), message: text }
      state = { status: 'failed' }
      completedSeconds = undefined
      emit({ type: 'error', code, message: text, param })
      emit({ type: 'response.failed', response: response() })
      return take()
    },
    response,
    conclude() {
      conclude()
      return response()
    },
  }
}

function isMessage(item: OutputItem): item is MessageItem {
  return item.kind === 'message'
}

function isReasoning(item: OutputItem): item is ReasoningItem {
  return item.kind === 'reasoning'
}

/** OpenAI's list knows few; its clients tell by them whether to try again. */
function errorCodeOf(fault: Fault): string {
  if (fault.status === 429) return 'rate_limit_exceeded'
  return fault.status >= 500 ? 'server_error' : 'invalid_prompt'
}
