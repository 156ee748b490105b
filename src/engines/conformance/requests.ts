/** Requests for fixtures: the smallest of each task. */
import type {
  ChatTask,
  CompletionTask,
  EmbeddingTask,
  EngineRequest,
  EngineTask,
  ImageTask,
  ModerationTask,
  RerankTask,
  SpeechTask,
  TranscriptionTask,
} from '../engine.ts'

export function request<Task extends EngineTask>(
  task: Task,
  options: { readonly model?: string; readonly stream?: boolean } = {},
): EngineRequest<Task> {
  const { model = 'model-1', stream = true } = options
  return { model, task, stream, cacheSalt: undefined }
}

export const helloMessages = [{ role: 'user', content: 'Hello' }]

export const weatherTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Get the current weather in a given location',
    parameters: {
      type: 'object',
      properties: { location: { type: 'string' } },
      required: ['location'],
    },
  },
}

export function chatRequest(
  body: ChatTask['body'] = {},
  options: { readonly model?: string; readonly stream?: boolean } = {},
): EngineRequest<ChatTask> {
  return request({ kind: 'chat', body: { messages: helloMessages, ...body } }, options)
}

export function embeddingRequest(input: readonly string[]): EngineRequest<EmbeddingTask> {
  return request({ kind: 'embedding', input }, { stream: false })
}

export function completionRequest(prompt: string): EngineRequest<CompletionTask> {
  return request({ kind: 'completion', body: { prompt: [prompt] } })
}

export function moderationRequest(input: readonly string[]): EngineRequest<ModerationTask> {
  return request({ kind: 'moderation', input }, { stream: false })
}

export function transcriptionRequest(
  timestamps: TranscriptionTask['timestamps'] = 'none',
  options: { readonly stream?: boolean } = { stream: false },
): EngineRequest<TranscriptionTask> {
  const audio = { bytes: Buffer.from('RIFF'), mediaType: 'audio/wav', fileName: 'audio.wav' }
  return request(
    {
      kind: 'transcription',
      goal: 'transcribe',
      audio,
      language: undefined,
      prompt: undefined,
      temperature: undefined,
      timestamps,
    },
    options,
  )
}

export function speechRequest(): EngineRequest<SpeechTask> {
  return request({
    kind: 'speech',
    input: 'Hello',
    voice: 'alloy',
    format: 'mp3',
    speed: 1,
    instructions: undefined,
  })
}

export function imageRequest(): EngineRequest<ImageTask> {
  return request(
    { kind: 'image', prompt: 'A red cube', count: 1, size: undefined, options: {} },
    { stream: false },
  )
}

export function rerankRequest(documents: readonly string[]): EngineRequest<RerankTask> {
  return request({ kind: 'rerank', query: 'What is a panda?', documents }, { stream: false })
}
