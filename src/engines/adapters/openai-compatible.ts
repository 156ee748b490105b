/** Any server that speaks OpenAI's dialect. */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { openAiImage } from '../protocol/openai/image.ts'
import { openAiModeration } from '../protocol/openai/moderation.ts'
import { openAiSpeech } from '../protocol/openai/speech.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { jinaRerank } from '../protocol/rerank/jina.ts'

export const openAiCompatible: EngineAdapter = {
  kind: 'openai-compatible',
  connect: (address) =>
    connectEngine(address, {
      kind: 'openai-compatible',
      dialects: {
        chat: openAiChat,
        completion: openAiCompletion,
        embedding: openAiEmbedding,
        rerank: jinaRerank,
        moderation: openAiModeration,
        transcription: openAiTranscription,
        speech: openAiSpeech,
        image: openAiImage,
      },
      // Strict servers refuse options that they do not know, so neither running totals nor salts are sent.
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
    }),
}
