/**
 * Which kind of engine a server at an address is, found by harmless GETs: what an engine says of itself, never its name or port. Servers that
 * say nothing of themselves but list models as OpenAI does are `openai-compatible`.
 */
import { createHttpClient, type HttpClient } from '../platform/http/client.ts'
import type { EngineAddress } from './engine.ts'
import { collect, isRecord } from './protocol/answer.ts'
import { findAdapter } from './registry.ts'

export interface DetectedEngine {
  readonly kind: string
  readonly models: readonly string[]
}

interface Sign {
  readonly path: string
  /** The kind that such an answer belongs to; `undefined` when it tells nothing. */
  readonly kindOf: (value: unknown) => string | undefined
}

const anyKind = 'openai-compatible'
const lookTimeoutMs = 1_000
/** The description of a large API. */
const answerBytesMax = 1024 * 1024

/** Best first: a later sign counts where the earlier ones tell nothing, and `openai-compatible` where none tells more. */
const signs: readonly Sign[] = [
  { path: '/info', kindOf: kindOfDescription },
  { path: '/v1/models', kindOf: kindOfList },
  { path: '/api/version', kindOf: (value) => (isVersion(value) ? 'ollama' : undefined) },
  { path: '/openapi.json', kindOf: kindOfApi },
]

/** `undefined` for a server that is no engine, or does not answer within a second or two. */
export async function detectEngine(
  address: EngineAddress,
  signal: AbortSignal,
): Promise<DetectedEngine | undefined> {
  const kind = await detectKind(address, signal)
  if (kind === undefined) return undefined
  const models = await listModels(kind, address, within(signal))
  return models && { kind, models }
}

export async function detectKind(
  address: EngineAddress,
  signal: AbortSignal,
): Promise<string | undefined> {
  const kinds = (await lookAround(address, signal)).filter((kind) => kind !== undefined)
  return kinds.find((kind) => kind !== anyKind) ?? kinds[0]
}

async function lookAround(
  { baseUrl, apiKey }: EngineAddress,
  signal: AbortSignal,
): Promise<readonly (string | undefined)[]> {
  const { origin, pathname } = new URL(baseUrl)
  const prefix = pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
  const client = createHttpClient(origin)
  try {
    return await Promise.all(
      signs.map(async ({ path, kindOf }) =>
        kindOf(await look(client, prefix + path, { apiKey, signal: within(signal) })),
      ),
    )
  } finally {
    await client.close()
  }
}

/** The JSON at the path; `undefined` for everything else. */
async function look(
  client: HttpClient,
  path: string,
  { apiKey, signal }: { readonly apiKey: string | undefined; readonly signal: AbortSignal },
): Promise<unknown> {
  try {
    const { status, body } = await client.open({
      method: 'GET',
      path,
      headers: {
        accept: 'application/json',
        'accept-encoding': 'identity',
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
      },
      signal,
      firstByteTimeoutMs: lookTimeoutMs,
      idleTimeoutMs: lookTimeoutMs,
    })
    const bytes = await collect(body, answerBytesMax)
    return status === 200 ? JSON.parse(bytes.toString('utf8')) : undefined
  } catch {
    // Not there, not in time, or not JSON: no sign of an engine, whichever it is.
    return undefined
  }
}

async function listModels(
  kind: string,
  address: EngineAddress,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const engine = findAdapter(kind)?.connect(address)
  try {
    return await engine?.listModels(signal)
  } catch {
    // It went away between two looks, or says one thing and does another.
    return undefined
  } finally {
    await engine?.close()
  }
}

function within(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(lookTimeoutMs)])
}

/** `/info` of Text Generation Inference names its router; that of Text Embeddings Inference, what its model is for. */
function kindOfDescription(value: unknown): string | undefined {
  if (!isRecord(value) || typeof value['model_id'] !== 'string') return undefined
  if (isRecord(value['model_type']) && 'max_batch_tokens' in value) return 'tei'
  return 'max_total_tokens' in value || 'router' in value ? 'tgi' : undefined
}

function isVersion(value: unknown): boolean {
  return isRecord(value) && typeof value['version'] === 'string'
}

/** Engines sign their models' entries. */
const kindOfOwner: Readonly<Record<string, string>> = {
  vllm: 'vllm',
  sglang: 'sglang',
  llamacpp: 'llama-server',
  colonnade: 'llama-cpp',
}

function kindOfList(value: unknown): string | undefined {
  const data = isRecord(value) ? value['data'] : undefined
  if (!Array.isArray(data)) return undefined
  const models = data.filter(isRecord)
  const owner = models.map((model) => kindOfOwner[String(model['owned_by'])]).find(Boolean)
  if (owner !== undefined) return owner
  // speaches says what each of its models is for.
  const isSpeech = models.some((model) => model['task'] === 'automatic-speech-recognition')
  return isSpeech ? 'whisper' : anyKind
}

/** Servers that transcribe and do nothing else in OpenAI's manner. */
function kindOfApi(value: unknown): string | undefined {
  const paths = isRecord(value) && isRecord(value['paths']) ? value['paths'] : {}
  return '/v1/audio/transcriptions' in paths && !('/v1/chat/completions' in paths)
    ? 'whisper'
    : undefined
}
