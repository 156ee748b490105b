/**
 * AWS Bedrock (docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html). A model is the id of a model, of an inference profile,
 * or an ARN.
 */
import type { EngineAdapter, EngineAddress } from '../engine.ts'
import { Fault } from '../../platform/fault.ts'
import { createHttpClient } from '../../platform/http/client.ts'
import { collect, invalid, isRecord, parseWhole } from '../protocol/answer.ts'
import { bedrockConverse } from '../protocol/bedrock/converse.ts'
import { createSigner, readAwsCredentials } from '../protocol/bedrock/signature.ts'
import { connectEngine, type OutgoingRequest } from '../protocol/connection.ts'
import { singleChoice } from '../protocol/single-choice.ts'
import {
  providerConnectTimeoutMs,
  providerTraits,
  settingOf,
  unusableKey,
} from '../protocol/vendor/provider.ts'

const listTimeoutMs = 5_000

type Authorize = (request: OutgoingRequest) => Promise<Readonly<Record<string, string>>>

export const bedrock: EngineAdapter = {
  kind: 'bedrock',
  connect(address) {
    const authorize = authorizerOf(address)
    return connectEngine(address, {
      ...providerTraits,
      kind: 'bedrock',
      dialects: { chat: singleChoice(bedrockConverse({ thinking: thinkingOf(address) })) },
      authorize,
      listModels: (_get, signal) => listModels(address.baseUrl, authorize, signal),
      tooLongText: /input is too long|too many (input )?tokens|prompt is too long/i,
    })
  },
  provider: {
    operator: 'aws',
    settings: {
      region: {
        pattern: /^[a-z]{2,3}(-[a-z]{2,10}){1,2}-\d{1,2}$/,
        required: true,
        means: 'where Bedrock runs the model, such as eu-west-3',
      },
      thinking: {
        pattern: /^(adaptive|budget)$/,
        required: false,
        means: 'for Claude: adaptive, or budget for models before Claude Opus 4.6',
      },
    },
    baseUrl: ({ region }) => region && `https://bedrock-runtime.${region}.amazonaws.com`,
    checkKey(key) {
      const credentials = readAwsCredentials(key)
      return typeof credentials === 'string' ? credentials : undefined
    },
    // Profiles and ARNs are not listed.
    listsAllModels: false,
  },
}

function authorizerOf(address: EngineAddress): Authorize {
  const credentials = readAwsCredentials(address.apiKey ?? '')
  if (typeof credentials === 'string') return unusableKey
  return createSigner(credentials, settingOf(address, 'region') ?? '')
}

function thinkingOf(address: EngineAddress): 'adaptive' | 'budget' | undefined {
  const style = settingOf(address, 'thinking')
  return style === 'adaptive' || style === 'budget' ? style : undefined
}

/** Another host of the service, which lists for free. Who may run models need not be allowed to list them, and is known all the same. */
async function listModels(
  baseUrl: string,
  authorize: Authorize,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const url = new URL('/foundation-models', baseUrl.replace('//bedrock-runtime.', '//bedrock.'))
  const headers = { accept: 'application/json' }
  const proof = await authorize({ method: 'GET', url, headers, body: undefined })
  const client = createHttpClient(url.origin, { connectTimeoutMs: providerConnectTimeoutMs })
  try {
    const response = await client.open({
      method: 'GET',
      path: url.pathname,
      headers: { ...headers, ...proof, 'accept-encoding': 'identity' },
      signal,
      firstByteTimeoutMs: listTimeoutMs,
      idleTimeoutMs: listTimeoutMs,
    })
    const bytes = await collect(response.body)
    const errorType = String(response.headers['x-amzn-errortype'] ?? '')
    if (response.status === 403 && errorType.startsWith('AccessDeniedException')) return []
    if (response.status !== 200) throw refused(response.status)
    const value = parseWhole(bytes)
    const models = isRecord(value) ? value['modelSummaries'] : undefined
    if (!Array.isArray(models)) throw invalid('a model list without models')
    return models.flatMap((model) =>
      isRecord(model) && typeof model['modelId'] === 'string' ? [model['modelId']] : [],
    )
  } finally {
    await client.close()
  }
}

function refused(status: number): Fault {
  return new Fault({
    code: 'upstream.failed',
    public: 'AWS does not accept these credentials.',
    internal: `the list of models was answered with ${status}`,
  })
}
