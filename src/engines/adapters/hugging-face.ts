/**
 * Hugging Face Inference Endpoints (huggingface.co/docs/inference-endpoints): servers with OpenAI's routes, each at an address of its own. One that was
 * scaled to zero answers 503 until it runs again, which callers are told to wait for.
 */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { singleChoice } from '../protocol/single-choice.ts'
import { checkPlainKey, providerTraits } from '../protocol/vendor/provider.ts'

export const huggingFace: EngineAdapter = {
  kind: 'hugging-face',
  connect: (address) =>
    connectEngine(address, {
      ...providerTraits,
      kind: 'hugging-face',
      dialects: {
        chat: singleChoice(openAiChat),
        completion: singleChoice(openAiCompletion),
        embedding: openAiEmbedding,
      },
    }),
  provider: {
    operator: 'hugging-face',
    settings: {},
    // Each endpoint has its own.
    baseUrl: () => undefined,
    checkKey: checkPlainKey,
    listsAllModels: false,
  },
}
