/**
 * The engine contract: what the gateway asks of anything that runs a model, and the one internal stream of typed parts
 * that every client dialect and every engine dialect translate to and from. Types only.
 */

/** Tokens as the engine counted them. Every field is a non-negative integer. */
export interface TokenUsage {
  readonly inputTokens: number
  /** Part of `inputTokens` that was read from a prefix cache. */
  readonly cachedInputTokens: number
  /** All generated tokens, reasoning included. */
  readonly outputTokens: number
  /** Part of `outputTokens` spent on reasoning. */
  readonly reasoningTokens: number
}

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

/** One entry of OpenAI's `logprobs.content`. `bytes` are the token's UTF-8 bytes, `null` when the engine does not tell. */
export interface TokenLogprob {
  readonly token: string
  readonly logprob: number
  readonly bytes: readonly number[] | null
  readonly top_logprobs: readonly {
    readonly token: string
    readonly logprob: number
    readonly bytes: readonly number[] | null
  }[]
}

/** `choice` is the 0-based index of the answer (`n` > 1); `toolCall` the 0-based index of the call within its choice. */
/** Facts for machines about a limit that ended an answer, as they stand in the wire's JSON. */
export type FinishCause = Readonly<Record<string, string | number | null>>

export type StreamPart =
  | {
      readonly type: 'text-delta'
      readonly choice: number
      readonly text: string
      readonly logprobs?: readonly TokenLogprob[] | undefined
    }
  | { readonly type: 'reasoning-delta'; readonly choice: number; readonly text: string }
  | { readonly type: 'refusal-delta'; readonly choice: number; readonly text: string }
  | {
      readonly type: 'tool-call-start'
      readonly choice: number
      readonly toolCall: number
      readonly id: string
      readonly name: string
    }
  | {
      readonly type: 'tool-call-delta'
      readonly choice: number
      readonly toolCall: number
      readonly arguments: string
    }
  | {
      readonly type: 'choice-finish'
      readonly choice: number
      readonly reason: FinishReason
      /** Why the platform ended the answer; `undefined` when the engine did. */
      readonly cause?: FinishCause | undefined
    }
  /** One vector an input, in the input's order. */
  | { readonly type: 'embeddings'; readonly vectors: readonly (readonly number[])[] }
  /** Totals so far. May come several times (engines with continuous usage); the last one counts. */
  | { readonly type: 'usage'; readonly usage: TokenUsage }
  /** The engine ended the stream in its proper way. A stream without it was truncated, and is never a success. */
  | { readonly type: 'end' }

/** A chat request in the engine's terms: OpenAI's wire shape, already validated, bounded and stripped of routing fields. */
export interface ChatRequest {
  /** The name that the engine itself gives the model. */
  readonly model: string
  /** The validated OpenAI body without `model`, `stream` and `stream_options`; the adapter adds those. */
  readonly body: Readonly<Record<string, unknown>>
  /** Whether the engine streams its answer. A whole answer is cheaper, and tells nothing about an answer that was cut. */
  readonly stream: boolean
  /**
   * Secret, and the same for one tenant only: nobody's timing or `cached_tokens` may tell of another's prompts. `undefined` for engines
   * that know no salt.
   */
  readonly cacheSalt: string | undefined
}

export interface EmbeddingRequest {
  readonly model: string
  /** Texts, or token arrays. 1 to 2,048 items. */
  readonly input: readonly string[] | readonly (readonly number[])[]
  /** Wanted length of each vector; `undefined` means the model's own. */
  readonly dimensions?: number | undefined
}

export interface EngineCapabilities {
  readonly chat: boolean
  readonly embeddings: boolean
  /** The engine sends running totals with each chunk when asked for `continuous_usage_stats`. */
  readonly continuousUsage: boolean
  /** The engine keeps prefix caches apart by `cache_salt`. */
  readonly cacheSalt: boolean
}

export interface EngineCall {
  /** Aborting it ends the work in the engine. */
  readonly signal: AbortSignal
  /** Forwarded as `x-request-id`, so that engine logs can be matched. */
  readonly requestId: string
}

/** A connected engine at one address. Methods throw `Fault`s with an `upstream.*` or `capacity.*` code. */
export interface Engine {
  readonly kind: string
  readonly capabilities: EngineCapabilities
  /** Resolves once the engine accepted the request; before that, another replica may still be tried. */
  chat(request: ChatRequest, call: EngineCall): Promise<AsyncIterable<StreamPart>>
  embed(request: EmbeddingRequest, call: EngineCall): Promise<AsyncIterable<StreamPart>>
  /** The names of the models that the engine offers. */
  listModels(signal: AbortSignal): Promise<readonly string[]>
  /** Resolves when the engine can take work; throws otherwise. */
  checkHealth(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** How to reach an engine that is already running. */
export interface EngineAddress {
  /** `http://host:port`, without `/v1`. */
  readonly baseUrl: string
  /** Sent as a bearer token; `undefined` for engines without authentication. */
  readonly apiKey?: string | undefined
}

/** A process that the agent starts for an engine that we run ourselves. */
export interface ProcessSpec {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export interface LaunchSpec {
  readonly modelId: string
  readonly weightsPath: string
  readonly host: string
  readonly port: number
  readonly contextWindowTokens?: number | undefined
  readonly threads: number
  /** How many sequences are decoded at once. */
  readonly parallel: number
  readonly embeddings: boolean
}

export interface EngineAdapter {
  readonly kind: string
  connect(address: EngineAddress): Engine
  /** Only for engines that the agent runs itself. Pure. */
  readonly launch?: (spec: LaunchSpec) => ProcessSpec
}
