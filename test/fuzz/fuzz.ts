/** Runs numbered cases against targets, and judges each. */
import { seededRandom } from '../chaos/random.ts'
import type { Target } from './target.ts'
import { answersTarget } from './targets/answers.ts'
import { bodiesTarget } from './targets/bodies.ts'
import { formsTarget } from './targets/forms.ts'
import { httpTarget } from './targets/http.ts'

/** Nothing may hold the event loop for longer. */
const stallMs = 50
/** A case that takes longer never ends. */
const caseMs = 25_000
const progressEveryMs = 5_000
const failuresMax = 20

const targets = {
  bodies: bodiesTarget,
  forms: formsTarget,
  answers: answersTarget,
  http: httpTarget,
} as const satisfies Record<string, () => Target | Promise<Target>>

export type TargetName = keyof typeof targets
export const targetNames = [
  'bodies',
  'forms',
  'answers',
  'http',
] as const satisfies readonly TargetName[]
/** What each takes of a run over all: those that are cheap take more. */
const shares: Readonly<Record<TargetName, number>> = {
  bodies: 0.4,
  forms: 0.1,
  answers: 0.4,
  http: 0.1,
}

export interface FuzzResult {
  readonly name: TargetName
  readonly cases: number
  readonly failures: readonly string[]
  readonly slowestMs: number
}

/** `cases` in all, over the targets; case `i` of a target is made from `from + i` alone. */
export async function fuzz(options: {
  readonly names: readonly TargetName[]
  readonly cases: number
  readonly from: number
  readonly say: (text: string) => void
}): Promise<FuzzResult[]> {
  const sum = options.names.reduce((total, name) => total + shares[name], 0)
  const results: FuzzResult[] = []
  for (const name of options.names) {
    const cases = Math.ceil((options.cases * shares[name]) / sum)
    results.push(await fuzzTarget(name, { ...options, cases }))
  }
  return results
}

async function fuzzTarget(
  name: TargetName,
  options: { readonly cases: number; readonly from: number; readonly say: (text: string) => void },
): Promise<FuzzResult> {
  const target = await targets[name]()
  const failures: string[] = []
  let slowestMs = 0
  let done = 0
  let saidMs = performance.now()
  const fail = (number: number, why: string): void => {
    failures.push(why)
    options.say(
      `${name} ${number}: ${why}\n  npm run fuzz -- --target ${name} --from ${number} --cases 1`,
    )
  }
  try {
    for (let number = options.from; done < options.cases; number += 1, done += 1) {
      try {
        const ms = await timeCase(target, number)
        slowestMs = Math.max(slowestMs, ms)
        if (ms > stallMs) fail(number, `took ${ms.toFixed(0)} ms`)
      } catch (error) {
        fail(
          number,
          error instanceof Error ? `${error.name}: ${error.message.slice(0, 200)}` : 'a non-error',
        )
      }
      if (failures.length >= failuresMax) break
      if (performance.now() - saidMs < progressEveryMs) continue
      saidMs = performance.now()
      options.say(`${name}: ${done + 1} of ${options.cases}, slowest ${slowestMs.toFixed(1)} ms`)
    }
  } finally {
    await target.close?.()
  }
  return { name, cases: done, failures, slowestMs }
}

/** Throws when the work does not end. */
async function withinLimit(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not ended after ${caseMs} ms`)), caseMs)
  })
  await Promise.race([work, limit]).finally(() => clearTimeout(timer))
}

/** Milliseconds of this thread's CPU; of a case that seems slow, the best of three. */
async function timeCase(target: Target, number: number): Promise<number> {
  const once = async (): Promise<number> => {
    const run = target.prepare(seededRandom(number))
    const before = process.threadCpuUsage()
    await withinLimit(run())
    const { user, system } = process.threadCpuUsage(before)
    return (user + system) / 1_000
  }
  const ms = await once()
  return ms <= stallMs ? ms : Math.min(ms, await once(), await once())
}
