/** How a route describes itself: what the published document says of it beyond its path, its method and its dialect of errors. Types only. */
import type { z } from 'zod'
import type { FaultCode } from '../../platform/fault.ts'
import type { HeaderName, ParameterName } from './headers.ts'

/** A schema, and the name under which the document shows it. */
export interface NamedSchema {
  readonly name: string
  readonly schema: z.ZodType
}

export const tags = {
  Chat: 'Chat completions, and the text completions before them, in OpenAI’s dialect.',
  Responses:
    'OpenAI’s Responses API. Responses are kept only where the tenant wants it and the request asks for it.',
  Messages: 'Anthropic’s dialect.',
  Embeddings: 'Vectors of texts.',
  Rerank:
    'Documents by their relevance, in the dialects of Cohere, Jina and text-embeddings-inference.',
  Moderations: 'What is harmful in a text.',
  Audio: 'Speech to text, and text to speech.',
  Images: 'Images from text.',
  Files: 'The input and the output of batches.',
  Batches: 'Many requests at half the price, within 24 hours.',
  Models: 'What a key may use.',
  Estimates: 'What a request would cost, before it is sent.',
  Platform: 'What is not about models: this description, health, and the keys of receipts.',
} as const
export type Tag = keyof typeof tags

export interface OperationDoc {
  /** Unique; client generators name functions by it. */
  readonly id: string
  readonly summary: string
  readonly description?: string
  readonly tag: Tag
  /** Runs through the pipeline, and is metered and billed. */
  readonly isBilled?: boolean
  /** On an answer and on a refusal, besides those of all that is metered. */
  readonly meteredHeaders?: readonly HeaderName[]
  /** Needs no key. */
  readonly isPublic?: boolean
  readonly pathParameters?: Readonly<Record<string, string>>
  readonly query?: z.ZodObject
  readonly headerParameters?: readonly ParameterName[]
  readonly request?: RequestDoc
  readonly answers: readonly AnswerDoc[]
  /** Besides those that every request may meet, and every billed one. */
  readonly faults?: readonly FaultCode[]
  /** OpenAI's where it is left out. */
  readonly error?: NamedSchema
  /** What stands within the others and is worth a name of its own. */
  readonly parts?: readonly NamedSchema[]
}

export interface RequestDoc extends NamedSchema {
  readonly type: 'application/json' | 'multipart/form-data'
  /** By name. Each is a request that is answered as it stands, given a model of that name. */
  readonly examples: Readonly<Record<string, unknown>>
}

/** One way in which a request is answered. Those of one status differ in their media type. */
export interface AnswerDoc {
  /** 200 where it is left out. */
  readonly status?: number
  readonly description?: string
  readonly headers?: readonly HeaderName[]
  /** None for an answer without a body. */
  readonly content?: readonly ContentDoc[]
}

export type ContentDoc = JsonContent | EventContent | RawContent

export interface JsonContent extends NamedSchema {
  readonly type: 'application/json'
  readonly examples?: Readonly<Record<string, unknown>>
}

/** Server-sent events. The schema is that of one event's data. */
export interface EventContent extends NamedSchema {
  readonly type: 'text/event-stream'
  /** Whether each event has a name, which is its data's `type`. */
  readonly isNamed: boolean
  /** How a whole answer ends: with data that is this text, or with an event of one of these types. An answer that ends otherwise was cut. */
  readonly end: { readonly data: string } | { readonly types: readonly string[] }
}

export interface RawContent {
  readonly type: string
  readonly description: string
  readonly isText?: boolean
}

/** What is spoken over a WebSocket, one JSON text a message. OpenAPI has no words for it: the document says it in `x-websocket`. */
export interface SocketDoc {
  readonly id: string
  readonly summary: string
  readonly description: string
  readonly tag: Tag
  readonly query?: z.ZodObject
  readonly clientMessage: NamedSchema
  readonly serverMessage: NamedSchema
}
