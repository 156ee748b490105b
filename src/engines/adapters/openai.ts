/** OpenAI's service (platform.openai.com/docs/api-reference). Regional hosts, such as eu.api.openai.com, are given as the address. */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { openAiHostedChat } from '../protocol/openai/hosted-chat.ts'
import { openAiImageBytesOnly } from '../protocol/openai/image.ts'
import { openAiModeration } from '../protocol/openai/moderation.ts'
import { openAiSpeech } from '../protocol/openai/speech.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { checkPlainKey, providerTraits, settingOf } from '../protocol/vendor/provider.ts'

export const openAi: EngineAdapter = {
  kind: 'openai',
  connect(address) {
    const organization = settingOf(address, 'organization')
    const project = settingOf(address, 'project')
    return connectEngine(address, {
      ...providerTraits,
      kind: 'openai',
      dialects: {
        chat: openAiHostedChat,
        completion: openAiCompletion,
        embedding: openAiEmbedding,
        moderation: openAiModeration,
        transcription: openAiTranscription,
        speech: openAiSpeech,
        image: openAiImageBytesOnly,
      },
      authorize: () =>
        Promise.resolve({
          authorization: `Bearer ${address.apiKey ?? ''}`,
          ...(organization !== undefined && { 'openai-organization': organization }),
          ...(project !== undefined && { 'openai-project': project }),
        }),
    })
  },
  provider: {
    operator: 'openai',
    settings: {
      organization: {
        pattern: /^org-[A-Za-z0-9]{1,60}$/,
        required: false,
        means: 'the organization that is charged, such as org-…',
      },
      project: {
        pattern: /^proj_[A-Za-z0-9]{1,60}$/,
        required: false,
        means: 'the project that is charged, such as proj_…',
      },
    },
    baseUrl: () => 'https://api.openai.com',
    checkKey: checkPlainKey,
    listsAllModels: true,
  },
}
