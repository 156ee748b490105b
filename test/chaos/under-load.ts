/** The usual course of a fault: mixed load all the while, something happens, the load ends, the three records are compared. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Load, LoadShape, Seen } from '../kill/load.ts'
import type { Verdict } from '../kill/verdict.ts'
import type { Finding } from './fault.ts'
import type { Scene } from './scene.ts'
import { watchBooks } from './watch-books.ts'

/** Load before and after, so that the fault falls into the middle. */
const marginMs = 1_000

export interface Course {
  readonly seen: readonly Seen[]
  readonly verdict: Verdict
  /** What the happening has found. */
  readonly broken: readonly string[]
}

export async function underLoad(
  scene: Scene,
  shape: Partial<LoadShape>,
  happen: (load: Load) => Promise<readonly string[]>,
): Promise<Course> {
  const load = scene.load(shape)
  const watch = watchBooks(scene.books)
  let broken: readonly string[] = []
  let seen: readonly Seen[] = []
  try {
    await sleep(marginMs)
    broken = await happen(load)
    await sleep(marginMs)
  } finally {
    seen = await load.stop()
    void watch.stop()
  }
  const unbalanced = await watch.stop()
  const verdict = await scene.verdict(seen)
  return { seen, verdict, broken: [...broken, ...unbalanced] }
}

/** The finding of a course in which nothing else is counted. */
export function findingOf(course: Course, ...facts: readonly string[]): Finding {
  const { requests, completed, crashed, left, faults } = course.verdict
  const nothing = completed === 0 ? ['no request completed, so nothing was proven'] : []
  return {
    facts: [
      ...facts,
      `${requests} requests, ${completed} completed, ${crashed} crashed, ${left} left`,
    ].join('; '),
    broken: [...course.broken, ...faults, ...nothing],
  }
}
