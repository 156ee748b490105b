/**
 * OpenAI's models on Azure (learn.microsoft.com/azure/ai-foundry/openai/reference, ".../api-version-lifecycle"). A model is a deployment's name. With an
 * `apiVersion` the deployment stands in the path; without one, the newer `/openai/v1` is used, which is versionless.
 */
import type { EngineAdapter, EngineAddress, EngineTask } from '../engine.ts'
import {
  connectEngine,
  listOpenAiModels,
  type EngineGet,
  type TaskDialect,
} from '../protocol/connection.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { openAiHostedChat } from '../protocol/openai/hosted-chat.ts'
import { openAiImageBytesOnly } from '../protocol/openai/image.ts'
import { openAiSpeech } from '../protocol/openai/speech.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { checkPlainKey, providerTraits, settingOf } from '../protocol/vendor/provider.ts'

export const azureOpenAi: EngineAdapter = {
  kind: 'azure-openai',
  connect(address) {
    const apiVersion = settingOf(address, 'apiVersion')
    const at = <Task extends EngineTask>(dialect: TaskDialect<Task>): TaskDialect<Task> =>
      apiVersion === undefined ? dialect : atDeployment(dialect, apiVersion)
    return connectEngine(withServicePath(address), {
      ...providerTraits,
      kind: 'azure-openai',
      dialects: {
        chat: at(openAiHostedChat),
        completion: at(openAiCompletion),
        embedding: at(openAiEmbedding),
        transcription: at(openAiTranscription),
        speech: at(openAiSpeech),
        image: at(openAiImageBytesOnly),
      },
      authorize: () => Promise.resolve({ 'api-key': address.apiKey ?? '' }),
      ...(apiVersion !== undefined && {
        listModels: (get: EngineGet, signal: AbortSignal) =>
          listOpenAiModels(
            (_path, each) => get(`/models?api-version=${encodeURIComponent(apiVersion)}`, each),
            signal,
          ),
      }),
    })
  },
  provider: {
    operator: 'microsoft',
    settings: {
      resource: {
        pattern: /^[a-z0-9][a-z0-9-]{1,62}$/,
        required: false,
        means: 'the name of the Azure resource, instead of its address',
      },
      apiVersion: {
        pattern: /^\d{4}-\d{2}-\d{2}(-preview)?$/,
        required: false,
        means: 'the dated API, such as 2024-10-21; without it, /openai/v1 is used',
      },
    },
    baseUrl: ({ resource }) => resource && `https://${resource}.openai.azure.com`,
    checkKey: checkPlainKey,
    // It lists the models that could be deployed, not the deployments.
    listsAllModels: false,
  },
}

/** The portal shows addresses with and without the path. */
function withServicePath(address: EngineAddress): EngineAddress {
  const { baseUrl } = address
  return { ...address, baseUrl: `${baseUrl.replace(/\/openai(\/v1)?\/?$/, '')}/openai` }
}

function atDeployment<Task extends EngineTask>(
  dialect: TaskDialect<Task>,
  apiVersion: string,
): TaskDialect<Task> {
  return {
    ...dialect,
    path(request) {
      const path = typeof dialect.path === 'string' ? dialect.path : dialect.path(request)
      const task = path.replace(/^\/v1/, '')
      return `/deployments/${encodeURIComponent(request.model)}${task}?api-version=${encodeURIComponent(apiVersion)}`
    },
  }
}
