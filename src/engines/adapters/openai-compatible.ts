/** Any server that speaks OpenAI's dialect. */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'

export const openAiCompatible: EngineAdapter = {
  kind: 'openai-compatible',
  connect: (address) =>
    connectEngine(address, {
      kind: 'openai-compatible',
      dialects: { chat: openAiChat, embedding: openAiEmbedding },
      // Strict servers refuse options that they do not know, so neither running totals nor salts are sent.
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
    }),
}
