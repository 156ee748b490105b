/**
 * What a check is, and what it may use: an API as a client sees it, and the model in question. Pure.
 *
 * A check says in words of its own what is wrong, with numbers at most: what it says is kept, and no byte of an answer may be. It
 * ends by returning, or by `fail` and `skip`, which throw.
 */

export const subjectCategories = [
  'chat',
  'embedding',
  'rerank',
  'audio',
  'image',
  'moderation',
] as const
export type SubjectCategory = (typeof subjectCategories)[number]

/** What the suite looks into. */
export const judgedCategories = ['chat', 'embedding', 'rerank'] as const satisfies SubjectCategory[]

/** The model that is checked, as the catalogue declares it. */
export interface Subject {
  readonly model: string
  readonly category: SubjectCategory
  readonly contextWindowTokens: number | undefined
  /** Empty when nobody has said what the model can do. */
  readonly capabilities: readonly string[]
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST'
  /** Under the base URL, such as `/chat/completions`. */
  readonly path: string
  /** An object is sent as JSON, a text as it is. */
  readonly body?: object | string
  readonly headers?: Readonly<Record<string, string>>
}

export interface ApiAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** `undefined` for a body that is no JSON. */
  readonly body: unknown
  readonly durationMs: number
}

export interface StreamEvent {
  /** Of the event, where it has a name. */
  readonly name: string | undefined
  readonly data: string
  /** Since the request was sent. */
  readonly atMs: number
}

/** A stream that was refused has no events, and the refusal as its body. */
export interface StreamedAnswer extends ApiAnswer {
  readonly events: readonly StreamEvent[]
  /** Whether every byte of the stream was part of a character. */
  readonly isUtf8: boolean
  /** Whether the response ended by itself, neither broken off nor left by us. */
  readonly isComplete: boolean
}

export interface Api {
  send(request: ApiRequest): Promise<ApiAnswer>
  /** Reads a stream to its end, or leaves it after so many events. */
  stream(request: ApiRequest, leaveAfterEvents?: number): Promise<StreamedAnswer>
}

export interface Finding {
  /** A fact worth a line, for people. */
  readonly note?: string
  /** Measured numbers, with their units in their names. */
  readonly facts?: Readonly<Record<string, number>>
}

/** What a catalogue may declare that checks hold a model to. */
export type Capability = 'tools' | 'vision' | 'reasoning'

export interface Check {
  /** `<group>.<name>`; stable, because runs are compared by it. */
  readonly id: string
  readonly title: string
  /** What a failure means for clients, and what to do. */
  readonly advice: string
  readonly categories: readonly SubjectCategory[]
  /** A check that is not required leaves a gap when it fails, and no more. */
  readonly required: boolean
  /** A model that declares other capabilities, but not this one, is not asked; one that declares none at all is not held to it. */
  readonly capability?: Capability
  /** The default is `checkLimitMs`. */
  readonly limitMs?: number
  run(api: Api, subject: Subject): Promise<Finding | void>
}

export const checkLimitMs = 60_000

class CheckFailure extends Error {
  override readonly name = 'CheckFailure'
}
class CheckSkip extends Error {
  override readonly name = 'CheckSkip'
}

export function fail(why: string): never {
  throw new CheckFailure(why)
}

export function skip(why: string): never {
  throw new CheckSkip(why)
}

export function must(holds: unknown, why: string): asserts holds {
  if (!holds) fail(why)
}

export function isFailure(error: unknown): error is Error {
  return error instanceof CheckFailure
}

export function isSkip(error: unknown): error is Error {
  return error instanceof CheckSkip
}
