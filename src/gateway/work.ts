/** What a request asks for, once parsed: the same shape for every client dialect. An endpoint adds what only its own answer needs. */
import type { UsageUnits } from '../billing/usage.ts'
import type { EngineTask } from '../engines/engine.ts'
import type { Standing } from '../limits/limits.ts'

/** Something that not every model of a kind can take, and the field that asks for it. */
export interface Need {
  /** One of the words in a model's capabilities: `vision`, `audio`, `files`. */
  readonly capability: string
  readonly param: string
}

export interface Work {
  readonly endpoint: string
  /** A model's id or alias, as the client wrote it. */
  readonly modelName: string
  /** Where the caller has no model of that name, the only one of theirs that is made for the first of the tasks stands in for it. */
  readonly acceptsOnlyModel?: boolean | undefined
  /** Whether the client wants a stream. */
  readonly streamed: boolean
  /** The ways to do it, best first: what the model can do decides (stages/resolve-model.ts). */
  readonly tasks: readonly [EngineTask, ...EngineTask[]]
  /** What the model must be able to take beside text. */
  readonly needs?: readonly Need[] | undefined
  readonly estimatedInputTokens: number
  /** More input tokens than this cannot come from this body; an engine that claims them is not believed. */
  readonly inputTokensMax: number
  /** Bytes of the longest text that must fit into a context window at once. */
  readonly longestTextBytes: number
  /** How many texts are generated; 0 for work that generates none. */
  readonly choices: number
  /** For each choice; `undefined` means up to the end of the context window. */
  readonly maxOutputTokens: number | undefined
  /** What it takes beside tokens: minutes of audio, characters, images. Known before it runs; charged when it was served. */
  readonly units?: UsageUnits | undefined
  /** How the client's dialect tells of its limits, beside OpenAI's headers. */
  readonly limitHeaders?:
    | ((standings: readonly Standing[], nowMs: number) => Readonly<Record<string, string>>)
    | undefined
  /** What makes a repetition the same request, where equal requests differ in their bytes: each form has a boundary of its own. */
  readonly sameAs?: Buffer | undefined
}
