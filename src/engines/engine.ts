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

/** Facts for machines about a limit that ended an answer, as they stand in the wire's JSON. */
export type FinishCause = Readonly<Record<string, string | number | null>>

/** A stretch of heard speech, in seconds from the start of the recording. */
export interface TranscriptSegment {
  readonly startSeconds: number
  readonly endSeconds: number
  readonly text: string
  /** Only when word timestamps were asked for, and the engine has them. */
  readonly words?: readonly TranscriptWord[] | undefined
  /** How sure the engine is of it; callers sort silence and noise out by it. */
  readonly signs?: TranscriptSigns | undefined
}
/** Whisper's own figures, where an engine tells them. */
export interface TranscriptSigns {
  readonly averageLogprob: number | undefined
  readonly compressionRatio: number | undefined
  readonly noSpeechProbability: number | undefined
  readonly temperature: number | undefined
}
export interface TranscriptWord {
  readonly startSeconds: number
  readonly endSeconds: number
  readonly word: string
}

/** One judged input: the categories of OpenAI's moderation models, each with a score from 0 to 1. */
export interface ModerationResult {
  readonly flagged: boolean
  readonly categories: Readonly<Record<string, boolean>>
  readonly scores: Readonly<Record<string, number>>
}

export interface GeneratedImage {
  /** The image file's bytes. */
  readonly bytes: Uint8Array
  /** `image/png`, `image/jpeg` or `image/webp`. */
  readonly mediaType: string
  readonly revisedPrompt?: string | undefined
}

/** `choice` is the 0-based index of the answer (`n` > 1); `toolCall` the 0-based index of the call within its choice. */
export type StreamPart =
  | {
      readonly type: 'text-delta'
      readonly choice: number
      readonly text: string
      readonly logprobs?: readonly TokenLogprob[] | undefined
    }
  | { readonly type: 'reasoning-delta'; readonly choice: number; readonly text: string }
  /** Opaque proof of the reasoning before it, for engines that want it back in the next request. */
  | { readonly type: 'reasoning-signature'; readonly choice: number; readonly signature: string }
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
      /** Which of the request's stop texts ended it, where the engine tells. */
      readonly stopSequence?: string | undefined
      /** Why the platform ended the answer; `undefined` when the engine did. */
      readonly cause?: FinishCause | undefined
    }
  /** One vector an input, in the input's order. */
  | { readonly type: 'embeddings'; readonly vectors: readonly (readonly number[])[] }
  /** One relevance a document, in the documents' order; from 0 to 1 where `scale` says so, else as the model computes them. */
  | {
      readonly type: 'scores'
      readonly scores: readonly number[]
      readonly scale: 'probability' | 'logit'
    }
  /** One result an input, in the input's order. */
  | { readonly type: 'moderations'; readonly results: readonly ModerationResult[] }
  /** What a transcription says beside its text, which comes as `text-delta`s of choice 0. */
  | { readonly type: 'transcript-segment'; readonly segment: TranscriptSegment }
  | { readonly type: 'transcript-language'; readonly language: string }
  /** A piece of a spoken answer's file. */
  | { readonly type: 'audio'; readonly bytes: Uint8Array; readonly mediaType: string }
  | { readonly type: 'images'; readonly images: readonly GeneratedImage[] }
  /** Totals so far. May come several times (engines with continuous usage); the last one counts. */
  | { readonly type: 'usage'; readonly usage: TokenUsage }
  /** The engine ended the stream in its proper way. A stream without it was truncated, and is never a success. */
  | { readonly type: 'end' }

/** What an engine is asked to do, in the engine's terms: already validated, bounded, and stripped of what only concerns the gateway. */
export type EngineTask =
  | ChatTask
  | CompletionTask
  | EmbeddingTask
  | RerankTask
  | ModerationTask
  | TranscriptionTask
  | SpeechTask
  | ImageTask

export type TaskKind = EngineTask['kind']

export interface ChatTask {
  readonly kind: 'chat'
  /** OpenAI's body of a chat completion without `model`, `stream` and `stream_options`; the adapter adds those. Once an engine has taken it, without `messages`. */
  body: Readonly<Record<string, unknown>>
}

/** Text goes on where a prompt ends, without a chat template. The choices of prompt `p` are `p × n` to `p × n + n - 1`. */
export interface CompletionTask {
  readonly kind: 'completion'
  /** OpenAI's body of a legacy completion without `model`, `stream` and `stream_options`; `prompt` is a list of texts or of token arrays, until an engine has taken it. */
  body: Readonly<Record<string, unknown>>
}

export interface EmbeddingTask {
  readonly kind: 'embedding'
  /** Texts, or token arrays. 1 to 2,048 items. */
  readonly input: readonly string[] | readonly (readonly number[])[]
  /** Wanted length of each vector; `undefined` means the model's own. */
  readonly dimensions?: number | undefined
}

export interface RerankTask {
  readonly kind: 'rerank'
  readonly query: string
  readonly documents: readonly string[]
  /** Whether an engine that can may cut what is too long for the model. Others, and all without it, refuse. */
  readonly truncate?: boolean | undefined
}

export interface ModerationTask {
  readonly kind: 'moderation'
  readonly input: readonly string[]
}

export interface TranscriptionTask {
  readonly kind: 'transcription'
  /** `translate`: into English. */
  readonly goal: 'transcribe' | 'translate'
  readonly audio: {
    readonly bytes: Uint8Array
    readonly mediaType: string
    /** A made-up name with the right ending: engines tell containers apart by it. */
    readonly fileName: string
  }
  readonly language: string | undefined
  readonly prompt: string | undefined
  readonly temperature: number | undefined
  /** What the segments must tell. */
  readonly timestamps: 'none' | 'segments' | 'words'
}

export interface SpeechTask {
  readonly kind: 'speech'
  readonly input: string
  readonly voice: string
  readonly format: 'mp3' | 'opus' | 'aac' | 'flac' | 'wav' | 'pcm'
  /** 1 is the voice's own. */
  readonly speed: number
  readonly instructions: string | undefined
}

export interface ImageTask {
  readonly kind: 'image'
  readonly prompt: string
  readonly count: number
  /** `<width>x<height>`; `undefined` leaves it to the engine. */
  readonly size: string | undefined
  /** Further fields of OpenAI's body that were validated: quality, style, background, output_format … */
  readonly options: Readonly<Record<string, unknown>>
}

export interface EngineRequest<Task extends EngineTask = EngineTask> {
  /** The name that the engine itself gives the model. */
  readonly model: string
  readonly task: Task
  /** Whether the engine streams its answer. A whole answer is cheaper, and tells nothing about an answer that was cut. */
  readonly stream: boolean
  /**
   * Secret, and the same for one tenant only: nobody's timing or `cached_tokens` may tell of another's prompts. `undefined` for engines
   * that know no salt.
   */
  readonly cacheSalt: string | undefined
}

export interface EngineCapabilities {
  /** What it can be asked for; what the model behind it can do is said by the catalogue. */
  readonly tasks: ReadonlySet<TaskKind>
  /** The engine sends running totals with each chunk when asked for `continuous_usage_stats`. */
  readonly continuousUsage: boolean
  /** The engine keeps prefix caches apart by `cache_salt`. */
  readonly cacheSalt: boolean
}

/** What an engine tells about itself, for routing and for people. `undefined` where it does not tell. */
export interface EngineLoad {
  readonly runningRequests?: number | undefined
  readonly waitingRequests?: number | undefined
  /** 0 to 1. */
  readonly kvCacheUsage?: number | undefined
}

export interface EngineCall {
  /** Aborting it ends the work in the engine. */
  readonly signal: AbortSignal
  /** Forwarded as `x-request-id`, so that engine logs can be matched. */
  readonly requestId: string
}

/** A connected engine at one address. Methods throw `Fault`s with an `upstream.*`, `capacity.*` or `catalog.capability_missing` code. */
export interface Engine {
  readonly kind: string
  readonly capabilities: EngineCapabilities
  /** Resolves once the engine accepted the request; before that, another replica may still be tried. */
  run(request: EngineRequest, call: EngineCall): Promise<AsyncIterable<StreamPart>>
  /** The exact length of a chat's prompt in tokens, for engines that can tell without running it. */
  readonly countTokens?: (request: EngineRequest<ChatTask>, call: EngineCall) => Promise<number>
  /** The names of the models that the engine offers. */
  listModels(signal: AbortSignal): Promise<readonly string[]>
  /** Resolves when the engine can take work; throws otherwise. */
  checkHealth(signal: AbortSignal): Promise<void>
  /** For engines that publish it. */
  readonly readLoad?: (signal: AbortSignal) => Promise<EngineLoad>
  close(): Promise<void>
}

/** How to reach an engine that is already running, or a provider. */
export interface EngineAddress {
  /** `http://host:port`, without `/v1`. */
  readonly baseUrl: string
  /** Sent as a bearer token, or as the adapter's kind wants it; a provider's other credentials as JSON. `undefined` for engines without authentication. */
  readonly apiKey?: string | undefined
  /** What the adapter needs to know beside, none of it secret: region, API version, project. */
  readonly settings?: Readonly<Record<string, string>> | undefined
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
  /** Only for services that somebody else runs, who then reads the prompts. */
  readonly provider?: ProviderTraits
}

/** What an operator must say to connect a provider, and what is checked of it. Pure. */
export interface ProviderTraits {
  /** Who runs it. */
  readonly operator: string
  /** What may be set, by name. */
  readonly settings: Readonly<Record<string, ProviderSetting>>
  /** Where it is, as far as the settings tell; `undefined` when the operator must say. */
  readonly baseUrl: (settings: Readonly<Record<string, string>>) => string | undefined
  /** What is wrong with a key, as a sentence that does not quote it. */
  readonly checkKey: (key: string, settings: Readonly<Record<string, string>>) => string | undefined
  /** A model that is not in its list does not exist. Other lists leave out names that work. */
  readonly listsAllModels: boolean
}

export interface ProviderSetting {
  readonly pattern: RegExp
  readonly required: boolean
  /** What it says, with an example. */
  readonly means: string
}
