/**
 * Requests that carry an idempotency key. No answer is kept, so a repetition runs again as a further leg of the first request, under its request id, and is
 * charged only what it costs beyond the legs before: a client that never saw its answer pays once. A request without a key passes here for free.
 */
import type { Leg } from '../idempotency/idempotency.ts'
import { parseIdempotencyKey, replayedHeader } from '../idempotency/key.ts'
import type { Principal } from '../identity/principal.ts'
import { Fault } from '../platform/fault.ts'
import type { GatewayDeps } from './deps.ts'
import type { Exchange } from './exchange.ts'

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
    readonly body: Buffer
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
