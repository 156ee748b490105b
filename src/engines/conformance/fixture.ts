/** What an engine's bytes are, where they come from, and what must become of them. Types only; the suite is conformance.test.ts. */
import type { FaultCode } from '../../platform/fault.ts'
import type { EngineRequest, StreamPart, TaskKind } from '../engine.ts'

/** What a fixture shows. */
export type Situation =
  | 'stream'
  | 'whole'
  | 'tools'
  | 'reasoning'
  | 'length'
  | 'missing-usage'
  | 'error-in-stream'
  | 'refusal'

/** What a kind that does a task must show, unless it says in `lacks` why it cannot. */
export const situationsOfTask: Readonly<Record<TaskKind, readonly Situation[]>> = {
  chat: ['stream', 'tools', 'reasoning', 'length', 'missing-usage', 'error-in-stream', 'refusal'],
  completion: ['stream'],
  embedding: ['whole'],
  rerank: ['whole'],
  moderation: ['whole'],
  transcription: ['whole'],
  speech: ['stream'],
  image: ['whole'],
}

/** A piece of a body that the engine sends as one: text, or a binary frame. */
export type WireEvent = string | Uint8Array

export interface Fixture {
  readonly shows: Situation
  /** What the bytes follow, and since when (`YYYY-MM-DD`): they are written in the shape that the page tells, unless a running program sent them. */
  readonly source: { readonly page: string; readonly date: string; readonly isRecorded?: true }
  readonly request: EngineRequest
  /** What the engine must have been asked; what is left out is not compared. Names of headers are in lower case. */
  readonly asks?: {
    readonly path?: string
    readonly headers?: Readonly<Record<string, string>>
    /** The whole JSON body. */
    readonly body?: unknown
  }
  readonly answer: {
    /** 200 where it is left out. */
    readonly status?: number
    readonly headers?: Readonly<Record<string, string>>
    readonly contentType: string
    /** The body, cut where the engine's own events end; an answer that is no stream is one event. */
    readonly events: readonly WireEvent[]
    /** The first so many events are already a whole answer; all are needed where it is left out. */
    readonly wholeAfter?: number
  }
  /** All parts, `end` included where the answer is whole. Neighbouring deltas of one kind may be written as one. */
  readonly parts: readonly StreamPart[]
  /** What comes after the parts instead of `end`. */
  readonly fault?: FaultCode
}

/** All that the suite needs to know of one adapter. A file of `fixtures/`, named by the adapter's kind, exports it as `fixtures`. */
export interface AdapterFixtures {
  /** Behind the server's origin, such as `/v1`. */
  readonly basePath?: string
  /** Made up, never a real one. The origin is for credentials that name where tokens are issued. */
  readonly apiKey?: (origin: string) => string
  readonly settings?: Readonly<Record<string, string>>
  readonly fixtures: readonly Fixture[]
  /** Situations that this kind cannot show, each with the reason. */
  readonly lacks?: Readonly<Partial<Record<Situation, string>>>
  /** What the server answers, by path, besides the fixture: a token's issue, say. */
  readonly beside?: Readonly<Record<string, string>>
}
