/** Encodes typed parts as the events of a message (platform.claude.com/docs/en/build-with-claude/streaming). */
import type { StreamPart } from '../../../engines/engine.ts'
import { createBlockSequence } from './blocks.ts'
import { createEndingReader, toMessageUsage } from './ending.ts'

export interface MessageOptions {
  readonly id: string
  /** As the client named it. */
  readonly model: string
  /** What the first event says, before the engine has counted. */
  readonly estimatedInputTokens: number
  /** A signed receipt, from the settlement on, for a client that asked for one. */
  readonly receipt: () => string | undefined
}

export interface MessageStream {
  /** From each part to the events that it makes, as text; '' for none. */
  readonly encode: (part: StreamPart) => string
  /** Bridges a silence. Clients expect the message to have started before anything else comes. */
  readonly keepAlive: () => string
}

export function createMessageStream(options: MessageOptions): MessageStream {
  const { id, model, estimatedInputTokens } = options
  const sequence = createBlockSequence()
  const ending = createEndingReader(estimatedInputTokens)
  let isStarted = false

  const start = (): string => {
    if (isStarted) return ''
    isStarted = true
    const usage = toMessageUsage({
      inputTokens: estimatedInputTokens,
      cachedInputTokens: 0,
      outputTokens: 0,
      reasoningTokens: 0,
    })
    const message = {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    }
    return toEvent({ type: 'message_start', message })
  }

  /** A limit that ended the answer, and the receipt, stand where clients that do not know them look past. */
  const finish = (): string => {
    const { stopReason, stopSequence, limit, usage } = ending.read()
    const delta = { stop_reason: stopReason, stop_sequence: stopSequence }
    return (
      sequence.finish().map(toEvent).join('') +
      toEvent({ type: 'message_delta', delta, usage, limit, receipt: options.receipt() }) +
      toEvent({ type: 'message_stop' })
    )
  }

  return {
    encode(part) {
      ending.note(part)
      if (part.type === 'end') return start() + finish()
      const events = sequence.add(part)
      return events.length === 0 ? '' : start() + events.map(toEvent).join('')
    },
    keepAlive: () => start() + toEvent({ type: 'ping' }),
  }
}

function toEvent(event: { readonly type: string; readonly [field: string]: unknown }): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}
