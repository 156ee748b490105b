/** What is asked of every engine alike, through the gateway. */
import type OpenAI from 'openai'
import { APIError } from 'openai'
import type { Offer, OfferedTask, Outcome } from '../engine.ts'

export interface CheckContext {
  readonly client: OpenAI
  readonly offer: Offer
  /** The engine's kind, for what it tells of itself. */
  readonly kind: string
  /** A WAV file in which `spokenText` is said. */
  readonly speechPath: string
}

export interface Check {
  /** The column of the table. */
  readonly name: string
  readonly task: OfferedTask
  run(context: CheckContext): Promise<Outcome>
}

export const spokenText = 'The quick brown fox jumps over the lazy dog.'

export const yes: Outcome = { state: 'yes' }

export function no(note: string): Outcome {
  return { state: 'no', note }
}

export function failed(note: string): Outcome {
  return { state: 'failed', note }
}

/** A typed refusal of what an engine does not do is an answer; everything else that is thrown is a failure. */
export async function runCheck(check: Check, context: CheckContext): Promise<Outcome> {
  try {
    return await check.run(context)
  } catch (error) {
    if (error instanceof APIError && typeof error.code === 'string') {
      if (error.code === 'capability_missing') return no(`refused: ${error.code}`)
      if (error.status === 400 && error.code === 'engine_rejected')
        return no('refused by the engine')
      return failed(`${error.status} ${error.code}: ${error.message}`)
    }
    return failed(error instanceof Error ? error.message : String(error))
  }
}

/** Throws with the sentence when a fact does not hold. */
export function hold(fact: boolean, sentence: string): void {
  if (!fact) throw new Error(sentence)
}
