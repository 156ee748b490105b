/** A public, billable route as data: how its body becomes work, and how parts become its answer. */
import type { IncomingHttpHeaders } from 'node:http'
import type { EngineTask, StreamPart } from '../engines/engine.ts'
import type { Seal } from '../platform/seal.ts'
import type { GatewayDeps } from './deps.ts'
import type { Body, BodyType, Exchange } from './exchange.ts'
import type { OperationDoc } from './openapi/operation.ts'
import type { ResponseMemory } from './response-memory.ts'
import type { OfferedModel } from './stages/resolve-model.ts'
import type { FieldPolicy } from './wire/openai/field-policy.ts'
import { openAiErrors, type ErrorDialect } from './wire/openai/errors.ts'
import type { Work } from './work.ts'

export interface Answer<SomeWork extends Work = Work> {
  readonly exchange: Exchange
  readonly work: SomeWork
  readonly model: OfferedModel
  /** The way in which the work was done: one of its tasks. */
  readonly task: EngineTask
  readonly parts: AsyncIterable<StreamPart>
  /** The signed receipt, once the request is settled; `undefined` before, and for those who did not ask for one. */
  readonly receipt: () => string | undefined
  readonly deps: GatewayDeps
}

/** What a body is read by, beside its own bytes. */
export interface BodyContext {
  readonly headers: IncomingHttpHeaders
  /** What the operator says about fields that nobody knows. */
  readonly fieldPolicy: FieldPolicy
  /** Opens what only the caller's tenant may read. */
  readonly seal: () => Seal
  /** What the caller has left here; `undefined` where its tenant leaves nothing. */
  readonly memory: () => ResponseMemory | undefined
}

interface EndpointOf<SomeWork extends Work> {
  readonly path: string
  /** JSON where it is left out. */
  readonly body?: BodyType
  /** OpenAI's where it is left out. */
  readonly errors?: ErrorDialect
  /** What the published description says of it. */
  readonly doc?: OperationDoc
  /** Throws a `client.*` fault for a body that is not this endpoint's. */
  parse(body: Body, context: BodyContext): SomeWork | Promise<SomeWork>
  /** Resolves at the last byte or when the client has left. */
  respond(answer: Answer<SomeWork>): Promise<void>
}

export interface Endpoint {
  readonly path: string
  readonly body: BodyType
  readonly errors: ErrorDialect
  readonly doc?: OperationDoc
  parse(body: Body, context: BodyContext): Work | Promise<Work>
  respond(answer: Answer): Promise<void>
}

/** Ties the kind of work that `parse` returns to the one that `respond` takes. */
export function defineEndpoint<SomeWork extends Work>(endpoint: EndpointOf<SomeWork>): Endpoint {
  return {
    body: 'json',
    errors: openAiErrors,
    ...endpoint,
    // The pipeline hands back what `parse` made.
    respond: (answer) => endpoint.respond(answer as Answer<SomeWork>),
  }
}
