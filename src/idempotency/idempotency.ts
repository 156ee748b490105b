/**
 * Front door of idempotency on a gateway. No answer is ever kept, so a repetition cannot be given the first one's bytes: it runs again, as a further
 * leg of the same request, and all legs together are charged no more than the dearest of them. The database decides which of two gateways has a
 * key, so only requests that carry one wait for it.
 */
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import { digest } from './key.ts'
import { beginLeg, deleteExpired, releaseLeg, type Beginning } from './store.ts'

/** Answers that a key may fetch: the first, and what a client asks for whose connection broke twice. */
export const servedMax = 3
/** Legs that were never served cost nothing; there may be this many all told. */
const legsMax = 30
/** Legs to be taken back once the database answers again. */
const unreleasedMax = 1_000
const releaseRetryMs = 2_000
const purgedAtOnceMax = 5_000

export interface KeyedRequest {
  readonly tenantId: string
  readonly projectId: string
  readonly endpoint: string
  readonly key: string
  readonly body: readonly Buffer[]
  /** Taken when the key is new. */
  readonly requestId: string
}

/** A leg that this gateway may run. */
export interface Leg {
  readonly outcome: 'begun'
  /** Of the first leg, and so of all. */
  readonly requestId: string
  readonly leg: number
  /** What earlier legs were charged. */
  readonly alreadyChargedNanos: bigint
  /** Takes it back: it was refused before it was opened. Never throws. */
  release(): Promise<void>
}

export type LegRefusal = { readonly outcome: 'reused' | 'in_progress' | 'exhausted' }

export interface Idempotency {
  /** Throws `platform.database_unavailable` when nobody can tell. */
  begin(request: KeyedRequest): Promise<Leg | LegRefusal>
  close(): void
}

export function openIdempotency(options: {
  readonly database: Database
  readonly secret: Buffer
  readonly gatewayId: string
  /** The life of its leases, whose end tells that its journal is in the ledger. */
  readonly lifeId: () => string
  readonly clock: Clock
  readonly log: Logger
}): Idempotency {
  const { database, secret, gatewayId, lifeId, clock, log } = options
  const unreleased = new Set<Beginning>()
  let cancelRetry: (() => void) | undefined

  const takeBack = (begun: Beginning): Promise<void> =>
    database.transaction(platformScope, (tx) => releaseLeg(tx, begun))

  const release = async (begun: Beginning): Promise<void> => {
    try {
      await takeBack(begun)
    } catch (error) {
      log.warn({ requestId: begun.requestId, error }, 'an idempotency key is released later')
      if (unreleased.size < unreleasedMax) unreleased.add(begun)
      cancelRetry ??= clock.after(releaseRetryMs, retry)
    }
  }
  const retry = (): void => {
    cancelRetry = undefined
    for (const begun of unreleased) {
      unreleased.delete(begun)
      void release(begun)
    }
  }

  return {
    async begin({ tenantId, projectId, endpoint, key, body, requestId }) {
      const keyDigest = digest(secret, ['request', tenantId, projectId, key])
      const bodyDigest = digest(secret, ['body', endpoint], body)
      const begun = await database.transaction(platformScope, (tx) =>
        beginLeg(
          tx,
          { tenantId, keyDigest, bodyDigest, requestId },
          { gatewayId, lifeId: lifeId() },
          {
            servedMax,
            legsMax,
          },
        ),
      )
      if (begun.outcome !== 'begun') return { outcome: begun.outcome }
      const { request_id: firstRequestId, leg, begins } = begun
      return {
        outcome: 'begun',
        requestId: firstRequestId,
        leg,
        alreadyChargedNanos: begun.charged_nanos,
        release: () => release({ tenantId, keyDigest, requestId: firstRequestId, leg, begins }),
      }
    },
    close: () => cancelRetry?.(),
  }
}

/** Forgets what is older than 24 hours. Called now and then; whoever has missed a call forgets more with the next. */
export async function purgeIdempotency(database: Database): Promise<void> {
  let gone: number
  do {
    gone = await database.transaction(platformScope, (tx) => deleteExpired(tx, purgedAtOnceMax))
  } while (gone >= purgedAtOnceMax)
}
