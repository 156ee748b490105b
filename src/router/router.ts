/** From the replicas of a model to an ordered plan of attempts. Pure: what is known comes in, a decision goes out. */

export interface Candidate {
  readonly replicaId: string
  readonly inFlight: number
  /** Failures since the last success, before the answer began. */
  readonly failuresInARow: number
  /** Monotonic time of the last failure. */
  readonly failedAtMs: number
}

/** Envoy's default: this many failures in a row put a replica aside. */
const failuresToEject = 5
const ejectionMs = 10_000
const ejectionMsMax = 300_000

/** Orders the candidates: healthy ones by load, then ejected ones as a last resort, so that a model is never without an attempt. */
export function planAttempts(
  candidates: readonly Candidate[],
  nowMs: number,
  tieBreak: number,
): readonly string[] {
  const order = candidates.map((candidate, index) => ({
    candidate,
    ejected: isEjected(candidate, nowMs),
    // Rotates equal candidates, so the first in the list is not favoured.
    turn: (index + tieBreak) % candidates.length,
  }))
  order.sort(
    (a, b) =>
      Number(a.ejected) - Number(b.ejected) ||
      a.candidate.inFlight - b.candidate.inFlight ||
      a.turn - b.turn,
  )
  return order.map((entry) => entry.candidate.replicaId)
}

/** A replica that keeps failing is left alone for 10 s, doubling with each further failure. */
export function isEjected(candidate: Candidate, nowMs: number): boolean {
  const excess = candidate.failuresInARow - failuresToEject
  if (excess < 0) return false
  const durationMs = Math.min(ejectionMs * 2 ** excess, ejectionMsMax)
  return nowMs - candidate.failedAtMs < durationMs
}
