/**
 * Gemini on Google's Vertex AI (cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference), with a service account's key file. With a plain
 * API key it is the Gemini API (ai.google.dev/api), which speaks the same at another path.
 */
import type { Engine, EngineAdapter, EngineAddress } from '../engine.ts'
import { invalid, isRecord, parseWhole } from '../protocol/answer.ts'
import { connectEngine, type EngineGet } from '../protocol/connection.ts'
import { createAccessTokens, readServiceAccount } from '../protocol/gemini/access-token.ts'
import { geminiContent } from '../protocol/gemini/content.ts'
import type { ThinkingStyle } from '../protocol/gemini/content-request.ts'
import {
  checkPlainKey,
  providerTraits,
  settingOf,
  unusableKey,
} from '../protocol/vendor/provider.ts'

const tooLongText = /exceeds the maximum number of tokens|input token count/i

export const vertex: EngineAdapter = {
  kind: 'vertex',
  connect: (address) =>
    isKeyFile(address.apiKey ?? '') ? connectVertex(address) : connectGeminiApi(address),
  provider: {
    operator: 'google',
    settings: {
      region: {
        pattern: /^(global|us|eu|[a-z]+-[a-z]+\d{1,2})$/,
        required: false,
        means: 'where Vertex AI runs the model, such as europe-west9',
      },
      project: {
        pattern: /^[a-z0-9][a-z0-9.:-]{2,62}$/,
        required: false,
        means: "the Google Cloud project; the key file's own when left out",
      },
      thinking: {
        pattern: /^(level|budget)$/,
        required: false,
        means: 'level (default), or budget for models before Gemini 3',
      },
    },
    baseUrl: ({ region }) => (region === undefined ? undefined : `https://${hostOf(region)}`),
    checkKey(key, { region, project }) {
      if (!isKeyFile(key)) return checkPlainKey(key)
      if (region === undefined) return "A key file is for Vertex AI: give the setting 'region' too."
      const account = readServiceAccount(key)
      if (typeof account === 'string') return account
      const isNamed = (project ?? account.projectId) !== undefined
      return isNamed ? undefined : "The key file names no project: give the setting 'project'."
    },
    listsAllModels: false,
  },
}

function hostOf(region: string): string {
  if (region === 'global') return 'aiplatform.googleapis.com'
  // The multi-regions have hosts of another form.
  if (region === 'us' || region === 'eu') return `aiplatform.${region}.rep.googleapis.com`
  return `${region}-aiplatform.googleapis.com`
}

function isKeyFile(key: string): boolean {
  return key.trimStart().startsWith('{')
}

function thinkingOf(address: EngineAddress): ThinkingStyle {
  return settingOf(address, 'thinking') === 'budget' ? 'budget' : 'level'
}

function connectVertex(address: EngineAddress): Engine {
  const account = readServiceAccount(address.apiKey ?? '')
  const isUsable = typeof account !== 'string'
  const tokens = isUsable ? createAccessTokens(account) : undefined
  const project = settingOf(address, 'project') ?? (isUsable ? account.projectId : undefined)
  const region = settingOf(address, 'region') ?? ''
  const publisher = `/v1/projects/${project ?? ''}/locations/${region}/publishers/google`
  const authorize = async (): Promise<Readonly<Record<string, string>>> => {
    const token = tokens ? await tokens.current() : await unusableKey()
    return { authorization: `Bearer ${token}` }
  }
  return connectEngine(address, {
    ...providerTraits,
    kind: 'vertex',
    dialects: {
      chat: geminiContent({
        modelPath: (model) => `${publisher}/models/${encodeURIComponent(model)}`,
        thinking: thinkingOf(address),
      }),
    },
    authorize,
    ...(tokens && { closeAuthorization: tokens.close }),
    // It has no list by project and place. An access token shows that the account is good.
    async listModels() {
      await authorize()
      return []
    },
    tooLongText,
  })
}

function connectGeminiApi(address: EngineAddress): Engine {
  return connectEngine(address, {
    ...providerTraits,
    kind: 'vertex',
    dialects: {
      chat: geminiContent({
        modelPath: (model) => `/v1beta/models/${encodeURIComponent(model)}`,
        thinking: thinkingOf(address),
      }),
    },
    authorize: () => Promise.resolve({ 'x-goog-api-key': address.apiKey ?? '' }),
    listModels: listGeminiModels,
    tooLongText,
  })
}

async function listGeminiModels(get: EngineGet, signal: AbortSignal): Promise<readonly string[]> {
  const value = parseWhole(await get('/v1beta/models?pageSize=1000', signal))
  const models = isRecord(value) ? value['models'] : undefined
  if (!Array.isArray(models)) throw invalid('a model list without models')
  return models.flatMap((model) =>
    isRecord(model) && typeof model['name'] === 'string'
      ? [model['name'].replace(/^models\//, '')]
      : [],
  )
}
