/**
 * The one place that knows node-llama-cpp. Its public `evaluate()` spends several promises and array copies on each token of each
 * sequence, and decides itself what goes into a batch; we need to fill batches ourselves. So this file takes the model and the
 * context that the public API made, and hands out the addon's own functions under them, which are few and map one to one to
 * llama.cpp. They are internal to a version that the lock file pins: `open` checks that they are there, and says so if not.
 */
import { getLlama, LlamaLogLevel, type LlamaEmbeddingContext } from 'node-llama-cpp'
import type { Logger } from '../../platform/log.ts'

/** llama.cpp's model, as far as it concerns the vocabulary. */
export interface NativeModel {
  tokenize(text: string, parseSpecial: boolean): Uint32Array
  detokenize(tokens: Uint32Array, renderSpecial: boolean): string
  tokenBos(): number
  tokenEos(): number
  /** Markers for filling in between a beginning and an end; -1 where the model has none. */
  prefixToken(): number
  suffixToken(): number
  middleToken(): number
  shouldPrependBosToken(): boolean
  isEogToken(token: number): boolean
  getTokenAttributes(token: number): number
  getTokenString(token: number): string | undefined
}

/** One context with its batch. Nothing but `sampleToken` may be called while `decodeBatch` or `sampleToken` is under way. */
export interface NativeContext {
  initBatch(tokens: number): void
  /** Adds consecutive tokens of one sequence; returns the batch positions of those in `wantedLogits`. */
  addToBatch(
    sequence: number,
    firstPosition: number,
    tokens: Uint32Array,
    wantedLogits: Uint32Array,
  ): Uint32Array
  decodeBatch(): Promise<void>
  /** Resolves to -1 when the grammar leaves no token. */
  sampleToken(batchPosition: number, sampler: NativeSampler): Promise<number>
  /** All tokens with their probabilities, in pairs, the likeliest first. */
  sampleToken(
    batchPosition: number,
    sampler: NativeSampler,
    probabilities: true,
  ): Promise<[token: number, probabilities: number[]]>
  /** Forgets positions from `start` on (to `end`, or -1 for all). False when the architecture cannot forget a part. */
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean
  disposeSequence(sequence: number): void
}

export interface NativeSampler {
  applyConfig(config: SamplerConfig): void
  dispose(): void
}

declare const grammarStateBrand: unique symbol
export interface NativeGrammarState {
  readonly [grammarStateBrand]: true
}

/** Absent fields switch their sampler off. */
export interface SamplerConfig {
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly minP?: number
  readonly seed?: number
  readonly repeatPenalty?: number
  readonly repeatPenaltyMaxTokens?: number
  readonly repeatPenaltyTokens?: Uint32Array
  readonly repeatPenaltyPresencePenalty?: number
  readonly repeatPenaltyFrequencyPenalty?: number
  readonly tokenBiasKeys?: Uint32Array
  readonly tokenBiasValues?: Float32Array
  readonly grammarEvaluationState?: NativeGrammarState
}

interface Bindings {
  readonly AddonSampler: new (model: NativeModel) => NativeSampler
  readonly AddonGrammar: new (
    grammar: string,
    options: { addonExports: unknown; rootRuleName: string },
  ) => object
  readonly AddonGrammarEvaluationState: new (
    model: NativeModel,
    grammar: object,
  ) => NativeGrammarState
}

export interface OpenOptions {
  readonly weightsPath: string
  readonly threads: number
  readonly logger: Logger
}

export interface OpenModel {
  readonly native: NativeModel
  /** The window that the model was trained for. */
  readonly trainedContextTokens: number
  readonly vocabularySize: number
  readonly chatTemplate: string | undefined
  newSampler(): NativeSampler
  /** Throws when the grammar does not parse. */
  newGrammarState(grammar: string): NativeGrammarState
  createContext(options: ContextOptions): Promise<NativeContext>
  createEmbeddingContext(windowTokens: number): Promise<LlamaEmbeddingContext>
}

export interface ContextOptions {
  readonly sequences: number
  /** For each sequence. */
  readonly windowTokens: number
  readonly batchTokens: number
}

/** Loads the weights. Uses a GPU when a build for it is installed; never compiles anything. */
export async function openModel(options: OpenOptions): Promise<OpenModel> {
  const { weightsPath, threads, logger } = options
  const llama = await getLlama({
    gpu: 'auto',
    build: 'never',
    // Its own default may exceed the cores, and then threads spin against each other.
    maxThreads: threads,
    logLevel: LlamaLogLevel.warn,
    logger: (level, message) => logger.debug({ level }, message.trimEnd()),
  })
  const model = await llama.loadModel({ modelPath: weightsPath })
  const native = internalOf<NativeModel>(model, '_model', 'tokenize')
  const bindings = internalOf<Bindings>(llama, '_bindings', 'AddonSampler')
  const tokenizer = model.fileInfo.metadata.tokenizer
  return {
    native,
    trainedContextTokens: model.trainContextSize,
    vocabularySize: tokenizer?.ggml?.tokens?.length ?? 0,
    chatTemplate: tokenizer?.chat_template,
    newSampler: () => new bindings.AddonSampler(native),
    newGrammarState: (grammar) =>
      new bindings.AddonGrammarEvaluationState(
        native,
        new bindings.AddonGrammar(grammar, { addonExports: bindings, rootRuleName: 'root' }),
      ),
    async createContext({ sequences, windowTokens, batchTokens }) {
      const context = await model.createContext({
        sequences,
        contextSize: windowTokens,
        batchSize: batchTokens,
        threads,
        // Sliding-window models would otherwise drop cells that a shared prefix needs.
        swaFullCache: true,
      })
      return internalOf<NativeContext>(context, '_ctx', 'decodeBatch')
    },
    createEmbeddingContext: (windowTokens) =>
      model.createEmbeddingContext({
        // The library keeps one position free for a token that embeddings never generate.
        contextSize: windowTokens + 1,
        // Models that look both ways need the whole input in one batch.
        batchSize: windowTokens,
        threads,
      }),
  }
}

function internalOf<T>(owner: object, field: string, method: string): T {
  const value: unknown = Reflect.get(owner, field)
  if (typeof value === 'object' && value !== null && method in value) {
    // The pinned version declares this shape; `method` was found, so it is the object we mean.
    return value as T
  }
  throw new Error(`node-llama-cpp has no ${field}.${method}: this engine needs the pinned version`)
}
