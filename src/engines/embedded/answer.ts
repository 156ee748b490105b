/** One choice of an answer while it is written: tokens in; whole characters out, cut at stop sequences. */
import { StringDecoder } from 'node:string_decoder'
import type { TokenLogprob } from '../engine.ts'
import type { TokenProbabilities } from './probabilities.ts'
import { createStopText, type StopPiece } from './stop-text.ts'
import type { Vocabulary } from './vocabulary.ts'

export interface AnswerText {
  /** Returns what may be shown now; '' while a character or a possible stop sequence is incomplete. */
  push(token: number): StopPiece
  /** What was held back, once no more tokens come. */
  flush(): string
}

export function createAnswerText(vocabulary: Vocabulary, stops: readonly string[]): AnswerText {
  const decoder = new StringDecoder('utf8')
  const stopText = createStopText(stops)
  return {
    push: (token) => stopText.push(decoder.write(vocabulary.bytesOf(token))),
    flush() {
      // A character that was cut by the token limit stays out: half of it is no text.
      return stopText.flush()
    },
  }
}

export function toWireLogprob(
  vocabulary: Vocabulary,
  token: number,
  { logprob, top }: TokenProbabilities,
): TokenLogprob {
  const entry = (each: number, value: number) => {
    const bytes = vocabulary.spellingOf(each)
    return { token: bytes.toString('utf8'), logprob: value, bytes: [...bytes] }
  }
  return {
    ...entry(token, logprob),
    top_logprobs: top.map((candidate) => entry(candidate.token, candidate.logprob)),
  }
}
