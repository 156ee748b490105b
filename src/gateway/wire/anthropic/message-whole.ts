/** Gathers typed parts into one message, for clients that do not stream. */
import type { StreamPart } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { createBlockSequence, type BlockDelta, type StartedBlock } from './blocks.ts'
import { createEndingReader } from './ending.ts'
import type { MessageOptions } from './message-stream.ts'

/** A whole answer is held in memory until its end. */
const answerCharactersMax = 16 * 1024 * 1024

interface GatheredBlock {
  readonly start: StartedBlock
  text: string
  signature: string
}

export async function gatherMessage(
  parts: AsyncIterable<StreamPart>,
  options: Omit<MessageOptions, 'receipt'>,
): Promise<string> {
  const sequence = createBlockSequence()
  const ending = createEndingReader(options.estimatedInputTokens)
  const blocks: GatheredBlock[] = []
  let characters = 0
  const gather = (events: ReturnType<typeof sequence.add>): void => {
    for (const event of events) {
      if (event.type === 'content_block_start') {
        blocks.push({ start: event.content_block, text: '', signature: '' })
      } else if (event.type === 'content_block_delta') {
        const block = blocks[event.index]
        if (block) characters += extend(block, event.delta)
      }
    }
    if (characters > answerCharactersMax) throw tooLarge()
  }

  for await (const part of parts) {
    ending.note(part)
    gather(sequence.add(part))
  }
  gather(sequence.finish())
  const { stopReason, stopSequence, usage, limit } = ending.read()
  return JSON.stringify({
    id: options.id,
    type: 'message',
    role: 'assistant',
    model: options.model,
    content: blocks.map(toContent),
    stop_reason: stopReason,
    stop_sequence: stopSequence,
    usage: { ...usage, service_tier: 'standard' },
    // Left out unless a limit ended the answer.
    limit,
  })
}

/** Returns how much longer the block is. */
function extend(block: GatheredBlock, delta: BlockDelta): number {
  switch (delta.type) {
    case 'signature_delta':
      block.signature = delta.signature
      return delta.signature.length
    case 'text_delta':
      block.text += delta.text
      return delta.text.length
    case 'thinking_delta':
      block.text += delta.thinking
      return delta.thinking.length
    case 'input_json_delta':
      block.text += delta.partial_json
      return delta.partial_json.length
  }
}

function toContent({ start, text, signature }: GatheredBlock): StartedBlock {
  switch (start.type) {
    case 'text':
      return { ...start, text }
    case 'thinking':
      return { ...start, thinking: text, signature }
    case 'tool_use':
      return { ...start, input: toInput(text) }
  }
}

/** Arguments that were cut, or that a model wrote wrong, are no input. */
function toInput(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function tooLarge(): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The answer is too large to be sent in one piece. Ask for a stream.',
  })
}
