/**
 * Typed parts as the blocks of a message. Blocks follow each other and never overlap, while an engine may go on with one call after it began the next: what
 * belongs to another block waits until the arguments of the open call are whole.
 */
import type { StreamPart } from '../../../engines/engine.ts'

export type StartedBlock =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thinking'; readonly thinking: string; readonly signature: string }
  | {
      readonly type: 'tool_use'
      readonly id: string
      readonly name: string
      readonly input: Readonly<Record<string, unknown>>
    }

export type BlockDelta =
  | { readonly type: 'text_delta'; readonly text: string }
  | { readonly type: 'thinking_delta'; readonly thinking: string }
  | { readonly type: 'signature_delta'; readonly signature: string }
  | { readonly type: 'input_json_delta'; readonly partial_json: string }

/** Events as they stand in the stream. */
export type BlockEvent =
  | {
      readonly type: 'content_block_start'
      readonly index: number
      readonly content_block: StartedBlock
    }
  | { readonly type: 'content_block_delta'; readonly index: number; readonly delta: BlockDelta }
  | { readonly type: 'content_block_stop'; readonly index: number }

export interface BlockSequence {
  add(part: StreamPart): readonly BlockEvent[]
  /** Ends the open block, and says what still waits. */
  finish(): readonly BlockEvent[]
}

/** More parts do not wait: the open call is ended as it is. */
const waitingPartsMax = 10_000

interface OpenBlock {
  readonly index: number
  /** `text`, `thinking`, or a call by its number. */
  readonly key: string
  arguments: string
  isSigned: boolean
}

export function createBlockSequence(): BlockSequence {
  let open: OpenBlock | undefined
  let count = 0
  let waiting: StreamPart[] = []

  const close = (): BlockEvent[] => {
    if (!open) return []
    const { index, key, isSigned } = open
    open = undefined
    const stop = { type: 'content_block_stop', index } as const
    // Clients expect a signature at the end of all thinking; engines that sign nothing have an empty one.
    if (key !== 'thinking' || isSigned) return [stop]
    return [
      { type: 'content_block_delta', index, delta: { type: 'signature_delta', signature: '' } },
      stop,
    ]
  }

  const begin = (key: string, block: StartedBlock): BlockEvent[] => {
    const events = close()
    open = { index: count, key, arguments: '', isSigned: false }
    count += 1
    return [...events, { type: 'content_block_start', index: open.index, content_block: block }]
  }

  const say = (block: OpenBlock, delta: BlockDelta): BlockEvent => {
    return { type: 'content_block_delta', index: block.index, delta }
  }

  /** Whether the open block still lacks something that may come. */
  const isHeld = (): boolean =>
    open !== undefined &&
    open.key.startsWith('call') &&
    waiting.length < waitingPartsMax &&
    !isJson(open.arguments)

  const place = (part: StreamPart, key: string): BlockEvent[] => {
    const events: BlockEvent[] = []
    const isNext = open?.key !== key || (part.type === 'reasoning-delta' && open.isSigned)
    const block = isNext ? startOf(part) : undefined
    if (block) events.push(...begin(key, block))
    // What belongs to a call that has ended is lost: its arguments were whole.
    if (open?.key !== key) return events
    const delta = deltaOf(part)
    if (!delta) return events
    if (delta.type === 'input_json_delta') open.arguments += delta.partial_json
    if (delta.type === 'signature_delta') open.isSigned = true
    events.push(say(open, delta))
    return events
  }

  const release = (): BlockEvent[] => {
    if (waiting.length === 0 || isHeld()) return []
    const parts = waiting
    waiting = []
    return parts.flatMap(add)
  }

  const add = (part: StreamPart): readonly BlockEvent[] => {
    const key = keyOf(part)
    if (key === undefined) return []
    if (open && open.key !== key && isHeld()) {
      waiting.push(part)
      return []
    }
    return [...place(part, key), ...release()]
  }

  return {
    add,
    finish() {
      const events = close()
      while (waiting.length > 0) {
        const parts = waiting
        waiting = []
        events.push(...parts.flatMap(add), ...close())
      }
      return events
    },
  }
}

/** Which block a part belongs to; `undefined` for parts without content, and for choices beyond the one that this dialect has. */
function keyOf(part: StreamPart): string | undefined {
  if (!('choice' in part) || part.choice !== 0) return undefined
  switch (part.type) {
    case 'text-delta':
    case 'refusal-delta':
      return part.text === '' ? undefined : 'text'
    case 'reasoning-delta':
      return part.text === '' ? undefined : 'thinking'
    case 'reasoning-signature':
      return 'thinking'
    case 'tool-call-start':
    case 'tool-call-delta':
      return `call ${part.toolCall}`
    default:
      return undefined
  }
}

function startOf(part: StreamPart): StartedBlock | undefined {
  switch (part.type) {
    case 'text-delta':
    case 'refusal-delta':
      return { type: 'text', text: '' }
    case 'reasoning-delta':
    case 'reasoning-signature':
      return { type: 'thinking', thinking: '', signature: '' }
    case 'tool-call-start':
      return { type: 'tool_use', id: part.id, name: part.name, input: {} }
    default:
      return undefined
  }
}

function deltaOf(part: StreamPart): BlockDelta | undefined {
  switch (part.type) {
    case 'text-delta':
    case 'refusal-delta':
      return { type: 'text_delta', text: part.text }
    case 'reasoning-delta':
      return { type: 'thinking_delta', thinking: part.text }
    case 'reasoning-signature':
      return { type: 'signature_delta', signature: part.signature }
    case 'tool-call-start':
      return { type: 'input_json_delta', partial_json: '' }
    case 'tool-call-delta':
      return { type: 'input_json_delta', partial_json: part.arguments }
    default:
      return undefined
  }
}

function isJson(text: string): boolean {
  if (!text.trimEnd().endsWith('}')) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
