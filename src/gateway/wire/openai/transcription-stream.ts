/** A transcript as OpenAI's events. `transcript.text.done` is the mark of the end: an answer without it was cut. */
import type { StreamPart } from '../../../engines/engine.ts'
import { durationUsage } from './transcription-answer.ts'

export function createTranscriptStreamEncoder(audioMs: number): (part: StreamPart) => string {
  let text = ''
  return (part) => {
    if (part.type === 'text-delta') {
      text += part.text
      return event({ type: 'transcript.text.delta', delta: part.text })
    }
    if (part.type !== 'end') return ''
    return event({ type: 'transcript.text.done', text, usage: durationUsage(audioMs) })
  }
}

function event(value: { readonly type: string; readonly [key: string]: unknown }): string {
  return `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`
}
