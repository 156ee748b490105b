/** What a proxy must send to an engine. Each broken rule is counted by its reason; the reasons are constants, so their number is bounded. */
import { behaviours } from './behaviour.ts'

export interface ChatBody {
  readonly model: string
  readonly messages: readonly { readonly role: string; readonly content?: unknown }[]
  readonly stream?: boolean
  readonly stream_options?: {
    readonly include_usage?: boolean
    readonly continuous_usage_stats?: boolean
  } | null
  readonly max_tokens?: number | null
  readonly max_completion_tokens?: number | null
  readonly tools?: readonly { readonly function?: { readonly name?: string } }[]
}

export interface EmbeddingBody {
  readonly model: string
  readonly input: string | readonly string[] | readonly number[] | readonly (readonly number[])[]
  readonly dimensions?: number
  readonly encoding_format?: string
}

export type Checked<Body> = { readonly body: Body } | { readonly violation: string }

export function checkChat(bytes: Buffer, expectUsage: boolean): Checked<ChatBody> {
  const value = parse(bytes)
  if (!isRecord(value)) return { violation: 'body is not a JSON object' }
  const fault = checkModel(value) ?? checkMessages(value['messages']) ?? checkCount(value)
  if (fault !== undefined) return { violation: fault }
  const stream = value['stream'] ?? false
  if (typeof stream !== 'boolean') return { violation: 'stream is not a boolean' }
  const options = value['stream_options']
  if (stream && expectUsage && !(isRecord(options) && options['include_usage'] === true)) {
    return { violation: 'stream without stream_options.include_usage' }
  }
  if (!stream && isRecord(options)) return { violation: 'stream_options without stream' }
  // Its fields that are used have been checked above; the rest is optional and read with care.
  return { body: value as unknown as ChatBody }
}

export function checkEmbedding(bytes: Buffer): Checked<EmbeddingBody> {
  const value = parse(bytes)
  if (!isRecord(value)) return { violation: 'body is not a JSON object' }
  const fault = checkModel(value)
  if (fault !== undefined) return { violation: fault }
  const input = value['input']
  if (typeof input !== 'string' && !(Array.isArray(input) && input.length > 0)) {
    return { violation: 'input is neither a text nor a list' }
  }
  // Its fields that are used have been checked above.
  return { body: value as unknown as EmbeddingBody }
}

function checkModel(value: Record<string, unknown>): string | undefined {
  if (typeof value['model'] !== 'string') return 'model is missing'
  return behaviours.has(value['model']) ? undefined : 'model is unknown'
}

function checkMessages(messages: unknown): string | undefined {
  if (!Array.isArray(messages) || messages.length === 0) return 'messages are missing'
  const sound = messages.every(
    (message) => isRecord(message) && typeof message['role'] === 'string',
  )
  return sound ? undefined : 'a message without role'
}

function checkCount(value: Record<string, unknown>): string | undefined {
  for (const name of ['max_tokens', 'max_completion_tokens']) {
    const count = value[name] ?? 1
    if (!Number.isInteger(count) || Number(count) < 1) return `${name} is not a positive integer`
  }
  return undefined
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
