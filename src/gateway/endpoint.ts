/** A public, billable route as data: how its body becomes work, and how parts become its answer. */
import type { StreamPart } from '../engines/engine.ts'
import type { GatewayDeps } from './deps.ts'
import type { Exchange } from './exchange.ts'
import type { OfferedModel } from './stages/resolve-model.ts'
import type { Work } from './work.ts'

export interface Answer<SomeWork extends Work = Work> {
  readonly exchange: Exchange
  readonly work: SomeWork
  readonly model: OfferedModel
  readonly parts: AsyncIterable<StreamPart>
  /** The signed receipt, once the request is settled; `undefined` before, and for those who did not ask for one. */
  readonly receipt: () => string | undefined
  readonly deps: GatewayDeps
}

export interface Endpoint {
  readonly method: 'POST'
  readonly path: string
  /** Throws a `client.*` fault for a body that is not this endpoint's. */
  parse(body: Buffer): Work
  /** Resolves at the last byte or when the client has left. */
  respond(answer: Answer): Promise<void>
}

/** Ties the kind of work that `parse` returns to the one that `respond` takes. */
export function defineEndpoint<SomeWork extends Work>(endpoint: {
  readonly method: 'POST'
  readonly path: string
  parse(body: Buffer): SomeWork
  respond(answer: Answer<SomeWork>): Promise<void>
}): Endpoint {
  return {
    ...endpoint,
    // The pipeline hands back what `parse` made.
    respond: (answer) => endpoint.respond(answer as Answer<SomeWork>),
  }
}
