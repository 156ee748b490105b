/** What the checks ask. Short, so that a small model on a small machine is done in minutes. Pure. */
import type { Subject } from './check.ts'

/** A model that thinks before it speaks needs room for both. */
const reasoningFactor = 16

export interface ChatFields {
  readonly max_tokens?: number
  readonly messages?: readonly object[]
  readonly [field: string]: unknown
}

/** The body of a chat request that is answered the same way each time, as far as the model can. */
export function chatBody(subject: Subject, prompt: string, fields: ChatFields = {}): object {
  const tokens = fields.max_tokens ?? 24
  return {
    model: subject.model,
    messages: [{ role: 'user', content: prompt }],
    temperature: 0,
    seed: 7,
    ...fields,
    max_tokens: subject.capabilities.includes('reasoning') ? tokens * reasoningFactor : tokens,
  }
}

export const counting = 'Count from 1 to 100, one number after the other, in digits.'
export const story = 'Tell a short story about a lighthouse.'
