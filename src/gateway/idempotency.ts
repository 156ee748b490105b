/**
 * Requests that carry an idempotency key. No answer is kept, so a repetition runs again as a further leg of the first request, under its request id, and is
 * charged only what it costs beyond the legs before: a client that never saw its answer pays once. What is created and stays, a file or a batch, is made
 * once, and each repetition gets it. A request without a key passes here for free.
 */
import { assert } from '../platform/assert.ts'
import type { CreationKey } from '../batches/creation-key.ts'
import type { Leg } from '../idempotency/idempotency.ts'
import { parseIdempotencyKey, replayedHeader } from '../idempotency/key.ts'
import type { Principal } from '../identity/principal.ts'
import { Fault } from '../platform/fault.ts'
import type { GatewayDeps } from './deps.ts'
import type { Body, Exchange } from './exchange.ts'

/** Which run of a request this is. */
export interface ClaimedLeg {
  readonly leg: number
  readonly alreadyChargedNanos: bigint
  /** Runs what opens the leg in the journal. If that is refused, the key is as it was before. */
  open<Admission>(admit: () => Promise<Admission>): Promise<Admission>
}

const inProgressRetryMs = 1_000
const unavailableRetryMs = 2_000

const onlyLeg: ClaimedLeg = { leg: 0, alreadyChargedNanos: 0n, open: (admit) => admit() }

export async function claimLeg(
  call: {
    readonly caller: Principal
    readonly exchange: Exchange
    readonly endpoint: string
    readonly body: Body
  },
  deps: Pick<GatewayDeps, 'idempotency'>,
): Promise<ClaimedLeg> {
  const { caller, exchange, endpoint, body } = call
  const key = parseIdempotencyKey(exchange.headers)
  if (key === undefined) return onlyLeg
  const { tenantId, projectId } = caller
  const { requestId } = exchange
  const begun = await deps.idempotency
    .begin({ tenantId, projectId, endpoint, key, body, requestId })
    .catch((error: unknown) => {
      throw unavailable(error)
    })
  if (begun.outcome !== 'begun') throw refusals[begun.outcome]()
  if (begun.requestId !== requestId) {
    exchange.adoptRequestId(begun.requestId)
    exchange.addHeaders({ [replayedHeader]: 'true' })
  }
  return { leg: begun.leg, alreadyChargedNanos: begun.alreadyChargedNanos, open: openOf(begun) }
}

/** The key with which something is created; `undefined` without one. */
export function creationKey(
  call: {
    readonly caller: Pick<Principal, 'tenantId' | 'projectId'>
    readonly exchange: Pick<Exchange, 'headers' | 'addHeaders'>
    /** Whatever makes it the same request: what it creates, and of what. */
    readonly request: readonly unknown[]
  },
  { answers }: Pick<GatewayDeps, 'answers'>,
): CreationKey | undefined {
  const { tenantId, projectId } = call.caller
  const key = parseIdempotencyKey(call.exchange.headers)
  if (key === undefined) return undefined
  const operation = { actor: projectId, tenantId, key, request: call.request }
  return {
    async find(tx, look) {
      const kept = await answers.find(tx, operation)
      if (kept.outcome === 'first') return undefined
      if (kept.outcome !== 'replayed') throw refusals[kept.outcome]()
      assert(typeof kept.answer === 'string', 'an id is kept here')
      const made = await look(kept.answer)
      if (made === undefined) throw gone()
      call.exchange.addHeaders({ [replayedHeader]: 'true' })
      return made
    },
    keep: (tx, id) => answers.keep(tx, operation, id),
  }
}

function openOf(begun: Leg): ClaimedLeg['open'] {
  return async (admit) => {
    try {
      return await admit()
    } catch (error) {
      // A journal that failed may have the leg; the next start tells, and the key waits for it.
      const isUnknown = error instanceof Fault && error.code === 'billing.journal_failed'
      if (!isUnknown) await begun.release()
      throw error
    }
  }
}

const refusals = {
  reused: () =>
    new Fault({
      code: 'idempotency.key_reused',
      public:
        'This Idempotency-Key was used for another request within the last 24 hours. Send a new key with a new request.',
      param: 'Idempotency-Key',
    }),
  in_progress: () =>
    new Fault({
      code: 'idempotency.in_progress',
      public: 'The request with this Idempotency-Key is not settled yet. Try again shortly.',
      param: 'Idempotency-Key',
      retryAfterMs: inProgressRetryMs,
    }),
  exhausted: () =>
    new Fault({
      code: 'idempotency.exhausted',
      public:
        'The request with this Idempotency-Key was answered as often as it may be. Send a new key to run it anew.',
      param: 'Idempotency-Key',
    }),
}

function gone(): Fault {
  return new Fault({
    code: 'idempotency.exhausted',
    public:
      'What was made with this Idempotency-Key is not there any more. Send a new key to make it anew.',
    param: 'Idempotency-Key',
  })
}

function unavailable(error: unknown): unknown {
  if (!(error instanceof Fault) || error.code !== 'platform.database_unavailable') return error
  return new Fault({
    code: 'idempotency.unavailable',
    public:
      'Idempotency needs the database, which does not answer at the moment. Try again shortly, or leave the header Idempotency-Key out.',
    internal: error.internal,
    cause: error,
    retryAfterMs: unavailableRetryMs,
  })
}
