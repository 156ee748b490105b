/** OpenAI's legacy completions as engines speak them (platform.openai.com, "Completions"). */
import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import type { EngineRequest, CompletionTask, StreamPart } from '../../engine.ts'
import { openAiCompletion, readCompletionStream } from './completion.ts'

const traits = { continuousUsage: false, cacheSalt: false }
const event = (choices: unknown[], more: object = {}): string =>
  `data: ${JSON.stringify({ id: 'x', object: 'text_completion', choices, ...more })}\n\n`
const text = (index: number, said: string): string =>
  event([{ index, text: said, logprobs: null, finish_reason: null }])
const finish = (index: number, reason = 'length'): string =>
  event([{ index, text: '', logprobs: null, finish_reason: reason }])
const usage = event([], { usage: { prompt_tokens: 7, completion_tokens: 2 } })

async function* pieces(...buffers: Buffer[]): AsyncGenerator<Buffer> {
  yield* buffers
}
async function read(bytes: AsyncIterable<Buffer>): Promise<StreamPart[]> {
  return await Array.fromAsync(readCompletionStream(bytes))
}

function rendered(body: Record<string, unknown>, stream = false): Record<string, unknown> {
  const task: CompletionTask = { kind: 'completion', body }
  const request: EngineRequest<CompletionTask> = { model: 'm', task, stream, cacheSalt: undefined }
  const written = openAiCompletion.render(request, traits)
  if (!('json' in written)) throw new Error('a completion is written as JSON')
  return JSON.parse(JSON.stringify(written.json)) as Record<string, unknown>
}

test('one prompt goes as itself, several as a list; a stream asks for usage', () => {
  expect(rendered({ prompt: ['a'] })).toEqual({ prompt: 'a', model: 'm', stream: false })
  expect(rendered({ prompt: [[1, 2]] })['prompt']).toEqual([1, 2])
  expect(rendered({ prompt: ['a', 'b'] })['prompt']).toEqual(['a', 'b'])
  expect(rendered({ prompt: ['a'] }, true)).toMatchObject({
    stream: true,
    stream_options: { include_usage: true },
  })
})

test('a stream cut in two at any byte reads the same', async () => {
  const bytes = Buffer.from(
    text(1, 'Grüß ') +
      text(0, 'Gott 👋') +
      finish(1) +
      finish(0, 'stop') +
      usage +
      'data: [DONE]\n\n',
  )
  const wanted = await read(pieces(bytes))
  expect(wanted).toEqual([
    { type: 'text-delta', choice: 1, text: 'Grüß ' },
    { type: 'text-delta', choice: 0, text: 'Gott 👋' },
    { type: 'choice-finish', choice: 1, reason: 'length' },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    {
      type: 'usage',
      usage: { inputTokens: 7, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 },
    },
    { type: 'end' },
  ])
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    expect(await read(pieces(bytes.subarray(0, cut), bytes.subarray(cut)))).toEqual(wanted)
  }
})

test('legacy probabilities become those of chats', async () => {
  const logprobs = {
    tokens: ['a', 'b'],
    token_logprobs: [null, -1.5],
    top_logprobs: [null, { b: -1.5, c: -2 }],
    text_offset: [0, 1],
  }
  const [first] = await read(
    pieces(Buffer.from(event([{ index: 0, text: 'ab', logprobs, finish_reason: 'stop' }]))),
  )
  expect(first).toMatchObject({
    type: 'text-delta',
    logprobs: [
      { token: 'a', logprob: 0, top_logprobs: [] },
      {
        token: 'b',
        logprob: -1.5,
        top_logprobs: [
          { token: 'b', logprob: -1.5 },
          { token: 'c', logprob: -2 },
        ],
      },
    ],
  })
})

test.each([
  ['a close in the middle', text(0, 'a'), 'upstream.truncated'],
  ['a close of one choice of two', text(1, 'a') + finish(1), 'upstream.truncated'],
  ['an error event', text(0, 'a') + 'data: {"error":{"message":"gpu-7"}}\n\n', 'upstream.failed'],
  ['an event that is not JSON', 'data: {\n\n', 'upstream.invalid_response'],
  ['a choice out of range', text(128, 'a'), 'upstream.invalid_response'],
])('%s is a failure', async (_, given, want) => {
  await expect(read(pieces(Buffer.from(given)))).rejects.toSatisfy(
    (error: unknown) =>
      error instanceof Fault && error.code === want && !error.public.includes('gpu'),
  )
})
