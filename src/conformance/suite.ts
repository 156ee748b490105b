/** Runs the checks that concern a model, one after the other, each within its time. Pure: time and network come from outside. */
import {
  checkLimitMs,
  isFailure,
  isSkip,
  type Api,
  type Capability,
  type Check,
  type Finding,
  type Subject,
} from './check.ts'
import { checks } from './checks.ts'
import type { CheckOutcome } from './run.ts'

/** A model so slow that it needs more is told apart by its checks that found no time. */
export const suiteLimitMs = 15 * 60_000
const whyCharactersMax = 500

export interface TimedApi {
  /** All requests of `run` end with its time. Throws what `run` throws, or a failure once the time is over. */
  within<Result>(limitMs: number, run: (api: Api) => Promise<Result>): Promise<Result>
  monotonicMs(): number
}

export interface SuiteOptions {
  /** Groups (`tools`) or single checks (`tools.named`); all when empty. */
  readonly only?: readonly string[]
  readonly limitMs?: number
  onStart?(check: Check, place: number, count: number): void
  onOutcome?(outcome: CheckOutcome): void
}

export async function runSuite(
  api: TimedApi,
  subject: Subject,
  options: SuiteOptions = {},
): Promise<readonly CheckOutcome[]> {
  const chosen = checksFor(subject, options.only ?? [])
  const endMs = api.monotonicMs() + (options.limitMs ?? suiteLimitMs)
  const outcomes: CheckOutcome[] = []
  for (const [place, check] of chosen.entries()) {
    options.onStart?.(check, place, chosen.length)
    const leftMs = endMs - api.monotonicMs()
    const outcome = await runCheck(api, subject, check, leftMs)
    outcomes.push(outcome)
    options.onOutcome?.(outcome)
  }
  return outcomes
}

export function checksFor(subject: Subject, only: readonly string[]): readonly Check[] {
  return checks
    .filter(({ categories }) => categories.includes(subject.category))
    .filter(({ id }) => only.length === 0 || only.includes(id) || only.includes(groupOf(id)))
}

export function groupOf(id: string): string {
  return id.split('.')[0] ?? id
}

/** All names that `only` may hold. */
export function groups(): readonly string[] {
  return [...new Set(checks.map(({ id }) => groupOf(id)))]
}

/** What to tell of a check that failed. */
export function adviceFor(id: string): string | undefined {
  return checks.find((check) => check.id === id)?.advice
}

type Claim = 'claimed' | 'not claimed' | 'unknown'

function claimOf(capability: Capability | undefined, subject: Subject): Claim {
  if (capability === undefined || subject.capabilities.includes(capability)) return 'claimed'
  return subject.capabilities.length > 0 ? 'not claimed' : 'unknown'
}

async function runCheck(
  api: TimedApi,
  subject: Subject,
  check: Check,
  leftMs: number,
): Promise<CheckOutcome> {
  const claim = claimOf(check.capability, subject)
  const required = check.required && claim === 'claimed'
  const outcome = { id: check.id, title: check.title, required }
  if (claim === 'not claimed') {
    const why = `the catalogue does not say that the model has ${check.capability}`
    return { ...outcome, result: 'skipped', why, durationMs: 0 }
  }
  if (leftMs <= 0) {
    return { ...outcome, result: 'failed', why: 'the suite had no time left for it', durationMs: 0 }
  }
  const beganMs = api.monotonicMs()
  const judged = await judge(() =>
    api.within(Math.min(check.limitMs ?? checkLimitMs, leftMs), (timed) =>
      check.run(timed, subject),
    ),
  )
  return { ...outcome, ...judged, durationMs: Math.round(api.monotonicMs() - beganMs) }
}

async function judge(
  run: () => Promise<Finding | void>,
): Promise<Pick<CheckOutcome, 'result' | 'why' | 'facts'>> {
  try {
    const finding = (await run()) ?? {}
    return { result: 'passed', why: finding.note, facts: finding.facts }
  } catch (error) {
    if (isSkip(error)) return { result: 'skipped', why: error.message }
    if (isFailure(error)) return { result: 'failed', why: error.message.slice(0, whyCharactersMax) }
    throw error
  }
}
