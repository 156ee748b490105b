/** What servers for one's own machines share beside chat: completions and transcriptions in OpenAI's shapes. */
import type { EngineRequest, StreamPart, TranscriptionTask } from '../engine.ts'
import type { Fixture } from './fixture.ts'
import { done, sse } from './openai-events.ts'
import { request } from './requests.ts'

export function usageOf(inputTokens: number, outputTokens: number): StreamPart {
  return {
    type: 'usage',
    usage: { inputTokens, cachedInputTokens: 0, outputTokens, reasoningTokens: 0 },
  }
}

const transcriptionRequest: EngineRequest<TranscriptionTask> = request(
  {
    kind: 'transcription',
    goal: 'transcribe',
    audio: { bytes: Buffer.from('RIFF'), mediaType: 'audio/wav', fileName: 'audio.wav' },
    language: 'en',
    prompt: undefined,
    temperature: undefined,
    timestamps: 'none',
  },
  { stream: false },
)

export function transcriptionFixture(source: Fixture['source']): Fixture {
  return {
    shows: 'whole',
    source,
    request: transcriptionRequest,
    asks: { path: '/v1/audio/transcriptions' },
    answer: {
      contentType: 'application/json',
      events: [JSON.stringify({ text: 'The quick brown fox.' })],
    },
    parts: [{ type: 'text-delta', choice: 0, text: 'The quick brown fox.' }, { type: 'end' }],
  }
}

/** OpenAI's legacy completion, streamed, with its counts at the end. */
export function completionFixture(source: Fixture['source']): Fixture {
  const head = { id: 'cmpl-1', object: 'text_completion', created: 1, model: 'model-1' }
  const piece = (text: string, reason: string | null): string =>
    sse({ ...head, choices: [{ index: 0, text, logprobs: null, finish_reason: reason }] })
  return {
    shows: 'stream',
    source,
    request: request({ kind: 'completion', body: { prompt: ['Paris is'], max_tokens: 2 } }),
    asks: { path: '/v1/completions' },
    answer: {
      contentType: 'text/event-stream',
      events: [
        piece(' the', null),
        piece(' capital', null),
        piece('', 'length'),
        sse({
          ...head,
          choices: [],
          usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 },
        }),
        done,
      ],
      wholeAfter: 3,
    },
    parts: [
      { type: 'text-delta', choice: 0, text: ' the capital' },
      { type: 'choice-finish', choice: 0, reason: 'length' },
      usageOf(2, 2),
      { type: 'end' },
    ],
  }
}
