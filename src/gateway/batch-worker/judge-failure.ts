/** What becomes of a line whose request failed: an error in its file, another run, or a wait. Pure. */
import { triesMax } from '../../batches/batch.ts'
import type { Fault, FaultCode } from '../../platform/fault.ts'

export type FailureVerdict =
  /** Its result: nothing would change by waiting. */
  | { readonly outcome: 'final' }
  /** It runs again, once what stands in the way is gone. */
  | {
      readonly outcome: 'again'
      readonly hasFailed: boolean
      /** Before anything of the batch is tried again; `undefined` for no wait. */
      readonly pause: { readonly msMin: number; readonly msMax: number } | undefined
    }

const pauseMsMin = 1_000
export const pauseMsMax = 60_000

const unsettledMsMax = 4_000

/** The platform's or the project's limits, for a while. */
const transient: ReadonlySet<FaultCode> = new Set([
  'limits.unavailable',
  'idempotency.unavailable',
  'billing.journal_full',
  'platform.database_unavailable',
])

export function judgeFailure(
  fault: Fault,
  line: {
    readonly tries: number
    readonly endsInMs: number
    /** The gateway ends, and took the line's request along. */
    readonly isEnding: boolean
  },
): FailureVerdict {
  const { code } = fault
  if (line.isEnding) return again({ pause: undefined })
  if (code.startsWith('capacity.')) return again({ pause: waitOf(fault) })
  // Of this line alone: the gateway that ran it has died, or its ledger lags. The others go on.
  if (code === 'idempotency.in_progress')
    return again({ pause: { ...waitOf(fault), msMax: unsettledMsMax } })
  if (transient.has(code)) return again({ pause: waitOf(fault) })
  if (code === 'limits.rate_exceeded') {
    const { retryAfterMs } = fault
    const clears = retryAfterMs !== undefined && retryAfterMs < line.endsInMs
    return clears ? again({ pause: waitOf(fault) }) : { outcome: 'final' }
  }
  if (code.startsWith('upstream.') && code !== 'upstream.rejected' && line.tries + 1 < triesMax)
    return again({ pause: undefined, hasFailed: true })
  return { outcome: 'final' }
}

function again(
  verdict: Pick<Extract<FailureVerdict, { outcome: 'again' }>, 'pause'> & {
    readonly hasFailed?: boolean
  },
): FailureVerdict {
  return { outcome: 'again', hasFailed: false, ...verdict }
}

function waitOf({ retryAfterMs }: Fault): { msMin: number; msMax: number } {
  const msMin = Math.min(Math.max(retryAfterMs ?? pauseMsMin, pauseMsMin), pauseMsMax)
  return { msMin, msMax: pauseMsMax }
}
