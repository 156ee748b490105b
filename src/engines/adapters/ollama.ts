/**
 * Ollama, by its routes in OpenAI's manner (docs.ollama.com, "OpenAI compatibility"). It makes one choice to a request, and publishes no
 * metrics. Its models are those of `/api/tags`: loaded when they are asked for, and kept for as long as `OLLAMA_KEEP_ALIVE` says where it was started,
 * because these routes take no `keep_alive`.
 */
import type { EngineAdapter } from '../engine.ts'
import { invalid, isRecord, parseWhole } from '../protocol/answer.ts'
import { connectEngine, type EngineGet } from '../protocol/connection.ts'
import { ollamaCompletion } from '../protocol/ollama/completion.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { singleChoice } from '../protocol/single-choice.ts'

export const ollama: EngineAdapter = {
  kind: 'ollama',
  connect: (address) =>
    connectEngine(address, {
      kind: 'ollama',
      dialects: {
        chat: singleChoice(openAiChat),
        completion: singleChoice(ollamaCompletion),
        embedding: openAiEmbedding,
      },
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
      listModels,
      healthPath: '/api/version',
    }),
}

async function listModels(get: EngineGet, signal: AbortSignal): Promise<readonly string[]> {
  const value = parseWhole(await get('/api/tags', signal))
  const models = isRecord(value) ? value['models'] : undefined
  if (!Array.isArray(models)) throw invalid('a list of models without models')
  return models.flatMap((model) =>
    isRecord(model) && typeof model['name'] === 'string' ? [model['name']] : [],
  )
}
