/** A run of the suite over one model: what came out, and what verdict follows. Pure. */

/** Raised whenever a check is added, removed or judges otherwise: badges of other versions are not comparable. */
export const suiteVersion = '2026-11-21'

export const checkResults = ['passed', 'failed', 'skipped'] as const
export type CheckResult = (typeof checkResults)[number]

export interface CheckOutcome {
  readonly id: string
  readonly title: string
  /** Whether this model was held to it. */
  readonly required: boolean
  readonly result: CheckResult
  /** Why it failed or was skipped, or a fact that was noted. */
  readonly why?: string | undefined
  readonly facts?: Readonly<Record<string, number>> | undefined
  readonly durationMs: number
}

/** `partial`: everything that the model is held to holds, and something else does not. */
export const verdicts = ['passed', 'partial', 'failed'] as const
export type Verdict = (typeof verdicts)[number]

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export function countOf(outcomes: readonly Pick<CheckOutcome, 'result'>[]): Counts {
  const of = (result: CheckResult): number =>
    outcomes.filter((outcome) => outcome.result === result).length
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') }
}

export function verdictOf(outcomes: readonly Pick<CheckOutcome, 'result' | 'required'>[]): Verdict {
  const failures = outcomes.filter(({ result }) => result === 'failed')
  if (failures.some(({ required }) => required)) return 'failed'
  const hasPassed = outcomes.some(({ result, required }) => required && result === 'passed')
  if (!hasPassed) return 'failed'
  return failures.length > 0 ? 'partial' : 'passed'
}

/** Runs of one model that are kept. */
export const runsMax = 20
