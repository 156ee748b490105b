/** What the speakers of OpenAI's dialect send, as OpenAI documents it. */
import type { StreamPart } from '../engine.ts'
import type { Fixture } from './fixture.ts'
import {
  chatRequest,
  completionRequest,
  embeddingRequest,
  imageRequest,
  moderationRequest,
  speechRequest,
  transcriptionRequest,
  weatherTool,
} from './requests.ts'

export const chatStreamPage = {
  page: 'https://platform.openai.com/docs/api-reference/chat-streaming/streaming',
  date: '2026-11-21',
}
const chatPage = {
  page: 'https://platform.openai.com/docs/api-reference/chat/object',
  date: '2026-11-21',
}
const errorPage = {
  page: 'https://platform.openai.com/docs/guides/error-codes/api-errors',
  date: '2026-11-21',
}
const embeddingPage = {
  page: 'https://platform.openai.com/docs/api-reference/embeddings/create',
  date: '2026-11-21',
}

/** One server-sent event. */
export function sse(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`
}
export const done = 'data: [DONE]\n\n'

const head = {
  id: 'chatcmpl-123',
  object: 'chat.completion.chunk',
  created: 1694268190,
  model: 'gpt-4o-mini',
  system_fingerprint: 'fp_44709d6fcb',
}
export function chunk(delta: unknown, finishReason: string | null = null): string {
  const choice = { index: 0, delta, logprobs: null, finish_reason: finishReason }
  return sse({ ...head, choices: [choice], usage: null })
}
const usageChunk = sse({
  ...head,
  choices: [],
  usage: {
    prompt_tokens: 19,
    completion_tokens: 10,
    total_tokens: 29,
    prompt_tokens_details: { cached_tokens: 4, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 2, audio_tokens: 0 },
  },
})
const usagePart: StreamPart = {
  type: 'usage',
  usage: { inputTokens: 19, cachedInputTokens: 4, outputTokens: 10, reasoningTokens: 2 },
}
const eventStream = 'text/event-stream; charset=utf-8'
const end: StreamPart = { type: 'end' }

const opening = chunk({ role: 'assistant', content: '', refusal: null })

/** Chat as every server of the dialect speaks it: for each kind whose chat is `openAiChat`. */
export const openAiChatFixtures: readonly Fixture[] = [
  {
    shows: 'stream',
    source: chatStreamPage,
    request: chatRequest(),
    answer: {
      contentType: eventStream,
      events: [
        opening,
        chunk({ content: 'Grüß' }),
        chunk({ content: ' Gott 👋' }),
        chunk({}, 'stop'),
        usageChunk,
        done,
      ],
      wholeAfter: 4,
    },
    parts: [
      { type: 'text-delta', choice: 0, text: 'Grüß Gott 👋' },
      { type: 'choice-finish', choice: 0, reason: 'stop' },
      usagePart,
      end,
    ],
  },
  {
    shows: 'whole',
    source: chatPage,
    request: chatRequest({}, { stream: false }),
    answer: {
      contentType: 'application/json',
      events: [
        JSON.stringify({
          ...head,
          object: 'chat.completion',
          choices: [
            {
              index: 0,
              message: { role: 'assistant', content: 'Hello!', refusal: null, annotations: [] },
              logprobs: null,
              finish_reason: 'stop',
            },
          ],
          usage: { prompt_tokens: 19, completion_tokens: 10, total_tokens: 29 },
        }),
      ],
    },
    parts: [
      { type: 'text-delta', choice: 0, text: 'Hello!' },
      { type: 'choice-finish', choice: 0, reason: 'stop' },
      {
        type: 'usage',
        usage: { inputTokens: 19, cachedInputTokens: 0, outputTokens: 10, reasoningTokens: 0 },
      },
      end,
    ],
  },
  {
    shows: 'tools',
    source: {
      page: 'https://platform.openai.com/docs/guides/function-calling#streaming',
      date: '2026-11-21',
    },
    request: chatRequest({ tools: [weatherTool] }),
    answer: {
      contentType: eventStream,
      events: [
        chunk({
          role: 'assistant',
          content: null,
          tool_calls: [
            {
              index: 0,
              id: 'call_DdmO9pD3xa9XTPNJ32zg2hcA',
              type: 'function',
              function: { name: 'get_weather', arguments: '' },
            },
          ],
        }),
        chunk({ tool_calls: [{ index: 0, function: { arguments: '{"location":' } }] }),
        chunk({ tool_calls: [{ index: 0, function: { arguments: '"Paris"}' } }] }),
        chunk({
          tool_calls: [
            {
              index: 1,
              id: 'call_2',
              type: 'function',
              function: { name: 'get_weather', arguments: '{}' },
            },
          ],
        }),
        chunk({}, 'tool_calls'),
        done,
      ],
      wholeAfter: 5,
    },
    parts: [
      {
        type: 'tool-call-start',
        choice: 0,
        toolCall: 0,
        id: 'call_DdmO9pD3xa9XTPNJ32zg2hcA',
        name: 'get_weather',
      },
      { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '{"location":"Paris"}' },
      { type: 'tool-call-start', choice: 0, toolCall: 1, id: 'call_2', name: 'get_weather' },
      { type: 'tool-call-delta', choice: 0, toolCall: 1, arguments: '{}' },
      { type: 'choice-finish', choice: 0, reason: 'tool_calls' },
      end,
    ],
  },
  {
    shows: 'length',
    source: chatStreamPage,
    request: chatRequest({ max_tokens: 1 }),
    answer: {
      contentType: eventStream,
      events: [opening, chunk({ content: 'One' }), chunk({}, 'length'), usageChunk, done],
      wholeAfter: 3,
    },
    parts: [
      { type: 'text-delta', choice: 0, text: 'One' },
      { type: 'choice-finish', choice: 0, reason: 'length' },
      usagePart,
      end,
    ],
  },
  {
    shows: 'missing-usage',
    source: chatStreamPage,
    request: chatRequest(),
    answer: {
      contentType: eventStream,
      events: [chunk({ content: 'Hi' }), chunk({}, 'stop'), done],
      wholeAfter: 2,
    },
    parts: [
      { type: 'text-delta', choice: 0, text: 'Hi' },
      { type: 'choice-finish', choice: 0, reason: 'stop' },
      end,
    ],
  },
  {
    shows: 'error-in-stream',
    source: errorPage,
    request: chatRequest(),
    answer: {
      contentType: eventStream,
      events: [
        chunk({ content: 'Hi' }),
        sse({
          error: {
            message: 'The server had an error while processing your request. Sorry about that!',
            type: 'server_error',
            param: null,
            code: null,
          },
        }),
      ],
    },
    parts: [{ type: 'text-delta', choice: 0, text: 'Hi' }],
    fault: 'upstream.failed',
  },
  {
    shows: 'refusal',
    source: errorPage,
    request: chatRequest(),
    answer: {
      status: 400,
      contentType: 'application/json',
      events: [
        JSON.stringify({
          error: {
            message: "This model's maximum context length is 128000 tokens.",
            type: 'invalid_request_error',
            param: 'messages',
            code: 'context_length_exceeded',
          },
        }),
      ],
    },
    parts: [],
    fault: 'client.context_length_exceeded',
  },
]

/** For servers that name a model's reasoning `reasoning_content` (DeepSeek, vLLM, SGLang, llama-server), or `reasoning`. */
export function reasoningFixture(
  field: 'reasoning_content' | 'reasoning',
  source: Fixture['source'],
): Fixture {
  return {
    shows: 'reasoning',
    source,
    request: chatRequest(),
    answer: {
      contentType: eventStream,
      events: [
        chunk({ role: 'assistant', content: '' }),
        chunk({ [field]: 'The user ' }),
        chunk({ [field]: 'greets.' }),
        chunk({ content: 'Hi' }),
        chunk({}, 'stop'),
        usageChunk,
        done,
      ],
      wholeAfter: 5,
    },
    parts: [
      { type: 'reasoning-delta', choice: 0, text: 'The user greets.' },
      { type: 'text-delta', choice: 0, text: 'Hi' },
      { type: 'choice-finish', choice: 0, reason: 'stop' },
      usagePart,
      end,
    ],
  }
}

export const openAiEmbeddingFixture: Fixture = {
  shows: 'whole',
  source: embeddingPage,
  request: embeddingRequest(['a', 'b']),
  answer: {
    contentType: 'application/json',
    events: [
      JSON.stringify({
        object: 'list',
        data: [
          { object: 'embedding', index: 1, embedding: [0.5, -0.25] },
          { object: 'embedding', index: 0, embedding: [0.0023, -0.0093] },
        ],
        model: 'text-embedding-3-small',
        usage: { prompt_tokens: 8, total_tokens: 8 },
      }),
    ],
  },
  parts: [
    {
      type: 'embeddings',
      vectors: [
        [0.0023, -0.0093],
        [0.5, -0.25],
      ],
    },
    {
      type: 'usage',
      usage: { inputTokens: 8, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    },
    end,
  ],
}

const completion = (text: string, finishReason: string | null): string =>
  sse({
    id: 'cmpl-7iA7iJjj8V2zOkCGvWF2hAkWALjgQ',
    object: 'text_completion',
    created: 1690759702,
    choices: [{ text, index: 0, logprobs: null, finish_reason: finishReason }],
    model: 'gpt-3.5-turbo-instruct',
  })

export const openAiCompletionFixture: Fixture = {
  shows: 'stream',
  source: {
    page: 'https://platform.openai.com/docs/api-reference/completions/create',
    date: '2026-11-21',
  },
  request: completionRequest('Say this is'),
  answer: {
    contentType: eventStream,
    events: [completion(' a', null), completion(' test', null), completion('', 'stop'), done],
    wholeAfter: 3,
  },
  parts: [
    { type: 'text-delta', choice: 0, text: ' a test' },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    end,
  ],
}

export const openAiModerationFixture: Fixture = {
  shows: 'whole',
  source: {
    page: 'https://platform.openai.com/docs/api-reference/moderations/object',
    date: '2026-11-21',
  },
  request: moderationRequest(['...text to classify...']),
  answer: {
    contentType: 'application/json',
    events: [
      JSON.stringify({
        id: 'modr-0d9740456c391e43c445bf0f010940c7',
        model: 'omni-moderation-latest',
        results: [
          {
            flagged: true,
            categories: { harassment: true, violence: false },
            category_scores: { harassment: 0.8189693396524255, violence: 0.000005 },
            category_applied_input_types: { harassment: ['text'], violence: ['text'] },
          },
        ],
      }),
    ],
  },
  parts: [
    {
      type: 'moderations',
      results: [
        {
          flagged: true,
          categories: { harassment: true, violence: false },
          scores: { harassment: 0.8189693396524255, violence: 0.000005 },
        },
      ],
    },
    end,
  ],
}

const transcriptionPage = {
  page: 'https://platform.openai.com/docs/api-reference/audio/createTranscription',
  date: '2026-11-21',
}
const signs = {
  averageLogprob: -0.2860786020755768,
  compressionRatio: 1.2363636493682861,
  noSpeechProbability: 0.00985979475080967,
  temperature: 0,
}

export const openAiTranscriptionFixtures: readonly Fixture[] = [
  {
    shows: 'whole',
    source: transcriptionPage,
    request: transcriptionRequest('segments'),
    answer: {
      contentType: 'application/json',
      events: [
        JSON.stringify({
          task: 'transcribe',
          language: 'english',
          duration: 8.470000267028809,
          text: 'The beach was a popular spot.',
          segments: [
            {
              id: 0,
              seek: 0,
              start: 0,
              end: 3.319999933242798,
              text: ' The beach was a popular spot.',
              tokens: [50364, 440, 7534],
              temperature: 0,
              avg_logprob: -0.2860786020755768,
              compression_ratio: 1.2363636493682861,
              no_speech_prob: 0.00985979475080967,
            },
          ],
          usage: { type: 'duration', seconds: 9 },
        }),
      ],
    },
    parts: [
      { type: 'transcript-language', language: 'english' },
      { type: 'text-delta', choice: 0, text: 'The beach was a popular spot.' },
      {
        type: 'transcript-segment',
        segment: {
          startSeconds: 0,
          endSeconds: 3.319999933242798,
          text: ' The beach was a popular spot.',
          signs,
        },
      },
      end,
    ],
  },
  {
    shows: 'stream',
    source: transcriptionPage,
    request: transcriptionRequest('none', { stream: true }),
    answer: {
      contentType: eventStream,
      events: [
        sse({ type: 'transcript.text.delta', delta: 'I see' }),
        sse({ type: 'transcript.text.delta', delta: ' skies' }),
        sse({
          type: 'transcript.text.done',
          text: 'I see skies',
          usage: { type: 'tokens', input_tokens: 14, output_tokens: 45, total_tokens: 59 },
        }),
      ],
    },
    parts: [{ type: 'text-delta', choice: 0, text: 'I see skies' }, end],
  },
]

export const openAiSpeechFixture: Fixture = {
  shows: 'stream',
  source: {
    page: 'https://platform.openai.com/docs/api-reference/audio/createSpeech',
    date: '2026-11-21',
  },
  request: speechRequest(),
  answer: {
    contentType: 'audio/mpeg',
    // The file itself: the first bytes of MPEG frames. Nothing in them tells where it ends.
    events: [Buffer.from([0xff, 0xf3, 0xe4, 0xc4]), Buffer.from([0x00, 0x5b, 0x1c, 0x3a])],
    wholeAfter: 1,
  },
  parts: [
    {
      type: 'audio',
      bytes: Buffer.from([0xff, 0xf3, 0xe4, 0xc4, 0x00, 0x5b, 0x1c, 0x3a]),
      mediaType: 'audio/mpeg',
    },
    end,
  ],
}

const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export const openAiImageFixture: Fixture = {
  shows: 'whole',
  source: {
    page: 'https://platform.openai.com/docs/api-reference/images/create',
    date: '2026-11-21',
  },
  request: imageRequest(),
  answer: {
    contentType: 'application/json',
    events: [
      JSON.stringify({
        created: 1713833628,
        data: [{ b64_json: png }],
        usage: { total_tokens: 100, input_tokens: 50, output_tokens: 50 },
      }),
    ],
  },
  parts: [
    {
      type: 'images',
      images: [
        { bytes: Buffer.from(png, 'base64'), mediaType: 'image/png', revisedPrompt: undefined },
      ],
    },
    end,
  ],
}
