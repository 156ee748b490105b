/** What became of a request: parts that can be compared, and the fault at their end. */
import { Fault } from '../../platform/fault.ts'
import type { Engine, EngineRequest, StreamPart } from '../engine.ts'

export interface Outcome {
  /** Neighbouring deltas of one kind are one. */
  readonly parts: readonly StreamPart[]
  readonly fault: Fault | undefined
}

/** Throws what is no fault: that would be an error of ours. */
export async function outcomeOf(
  engine: Engine,
  request: EngineRequest,
  signal = new AbortController().signal,
): Promise<Outcome> {
  const parts: StreamPart[] = []
  try {
    for await (const part of await engine.run(request, { signal, requestId: 'req_1' })) {
      const last = parts.at(-1)
      const merged = last && merge(last, part)
      if (merged) parts[parts.length - 1] = merged
      else parts.push(part)
    }
    return { parts, fault: undefined }
  } catch (error) {
    if (error instanceof Fault) return { parts, fault: error }
    throw error
  }
}

export function isWhole({ parts, fault }: Outcome): boolean {
  return fault === undefined && parts.at(-1)?.type === 'end'
}

function merge(last: StreamPart, next: StreamPart): StreamPart | undefined {
  if (last.type === 'audio' && next.type === 'audio') {
    return { ...last, bytes: Buffer.concat([last.bytes, next.bytes]) }
  }
  if (!('choice' in last) || !('choice' in next) || last.choice !== next.choice) return undefined
  if (last.type === 'text-delta' && next.type === 'text-delta') {
    const logprobs =
      last.logprobs || next.logprobs
        ? [...(last.logprobs ?? []), ...(next.logprobs ?? [])]
        : undefined
    return { ...last, text: last.text + next.text, logprobs }
  }
  if (last.type === 'reasoning-delta' && next.type === 'reasoning-delta') {
    return { ...last, text: last.text + next.text }
  }
  if (last.type === 'refusal-delta' && next.type === 'refusal-delta') {
    return { ...last, text: last.text + next.text }
  }
  if (last.type === 'tool-call-delta' && next.type === 'tool-call-delta') {
    if (last.toolCall !== next.toolCall) return undefined
    return { ...last, arguments: last.arguments + next.arguments }
  }
  return undefined
}

const texts = [
  'text',
  'arguments',
  'signature',
  'id',
  'name',
  'reason',
  'language',
  'mediaType',
] as const

/** What is wrong with the kinds of a part's values; `undefined` when nothing is. */
export function flawOf(part: StreamPart): string | undefined {
  const values: Readonly<Record<string, unknown>> = { ...part }
  const wrongText = texts.find((name) => name in values && typeof values[name] !== 'string')
  if (wrongText) return `${part.type}: ${wrongText} is no text`
  for (const name of ['choice', 'toolCall']) {
    const number = values[name]
    const isFine = typeof number === 'number' && Number.isInteger(number) && number >= 0
    if (name in values && !(isFine && number < 512)) return `${part.type}: ${name} is out of range`
  }
  if (part.type === 'usage' && !Object.values(part.usage).every((n) => typeof n === 'number')) {
    return 'usage: not all numbers'
  }
  if (part.type === 'embeddings' && !part.vectors.flat().every((n) => Number.isFinite(n))) {
    return 'embeddings: not all numbers'
  }
  if (part.type === 'scores' && !part.scores.every((score) => Number.isFinite(score))) {
    return 'scores: not all numbers'
  }
  return undefined
}
