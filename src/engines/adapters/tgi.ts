/**
 * Hugging Face's Text Generation Inference (huggingface.co/docs/text-generation-inference, API reference and "Metrics"). It serves one
 * model, makes one choice to a request, and differs from OpenAI in a few fields, which this file writes in its way.
 */
import type { ChatTask, CompletionTask, EngineAdapter } from '../engine.ts'
import { invalid, isRecord, parseWhole } from '../protocol/answer.ts'
import { connectEngine, type EngineGet, type TaskDialect } from '../protocol/connection.ts'
import { readPublishedLoad } from '../protocol/metrics.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { singleChoice } from '../protocol/single-choice.ts'

const readLoad = readPublishedLoad({
  running: ['tgi_batch_current_size'],
  waiting: ['tgi_queue_size'],
})

const chat: TaskDialect<ChatTask> = {
  ...openAiChat,
  render: (request, traits) => openAiChat.render({ ...request, task: toTgi(request.task) }, traits),
}

const completion: TaskDialect<CompletionTask> = {
  ...openAiCompletion,
  render: (request, traits) =>
    openAiCompletion.render({ ...request, task: toTgi(request.task) }, traits),
}

export const tgi: EngineAdapter = {
  kind: 'tgi',
  connect: (address) =>
    connectEngine(address, {
      kind: 'tgi',
      dialects: { chat: singleChoice(chat), completion: singleChoice(completion) },
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
      listModels,
      healthPath: '/health',
      tooLongText: /`inputs` (must have less than|tokens \+ `max_new_tokens` must be)/,
      readLoad,
    }),
}

/**
 * `stop` is always a list, a schema stands under `value`, a `top_p` of 1 is an error, and biases, which it does not use, would
 * have to be a list.
 */
function toTgi<Task extends ChatTask | CompletionTask>(task: Task): Task {
  const { stop, logit_bias: _unused, response_format: format, top_p: share, ...rest } = task.body
  return {
    ...task,
    body: {
      ...rest,
      ...(typeof share === 'number' && share < 1 && { top_p: share }),
      ...(stop !== undefined && stop !== null && { stop: Array.isArray(stop) ? stop : [stop] }),
      ...(isRecord(format) && toGrammar(format)),
    },
  }
}

function toGrammar(format: Record<string, unknown>): Readonly<Record<string, unknown>> {
  const { type } = format
  if (type === 'json_schema') return { response_format: { type, value: format['json_schema'] } }
  if (type === 'json_object') return { response_format: { type, value: { type: 'object' } } }
  return {}
}

async function listModels(get: EngineGet, signal: AbortSignal): Promise<readonly string[]> {
  const about = parseWhole(await get('/info', signal))
  if (!isRecord(about) || typeof about['model_id'] !== 'string') {
    throw invalid('a description without the name of its model')
  }
  return [about['model_id']]
}
