/** What shall happen to a gateway, and at which passage of which point. Handed over as a file, so that it can be armed while it runs. */
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const points = [
  /** A frame with such an event is about to be written, or is on stable storage while its writers do not know yet. */
  'open.before-write',
  'open.after-write',
  'progress.after-write',
  'settle.before-write',
  'settle.after-write',
  /** Any frame of the journal. */
  'journal.write',
  /** A new segment is being filled with zeros. */
  'segment.fill',
  /** The transaction that carries a batch to the ledger: applied and not committed, sent off and not answered, answered. */
  'ledger.before-commit',
  'ledger.commit-sent',
  'ledger.after-commit',
] as const
export type Point = (typeof points)[number]

export type Act =
  | { readonly do: 'kill' }
  /** Keeps the frame back for so long, and dies without it: whoever does not wait for the disk has gone on by then. */
  | { readonly do: 'withhold'; readonly ms: number }
  /** Writes that share of the frame, and dies. */
  | { readonly do: 'tear'; readonly share: number }
  | { readonly do: 'fail'; readonly code: 'EIO' | 'ENOSPC' }
  | { readonly do: 'stall'; readonly ms: number }
  /** Cuts the connection to the database. */
  | { readonly do: 'drop' }
  /** The wall clock jumps; the monotonic one does not. */
  | { readonly do: 'shift-clock'; readonly ms: number }

export interface Plan {
  readonly id: string
  readonly point: Point
  /** 1 for the first passage after it was armed. */
  readonly passage: number
  readonly act: Act
}

/** Where the injection finds its plans. Not one of Colonnade's own variables: those are taken out of its roles' environment. */
export const folderVariable = 'CHAOS_FOLDER'

/** Where the supervisor's standard error goes, instead of to whoever started it. */
export const logVariable = 'CHAOS_LOG'

export function planPath(folder: string, gateway: number): string {
  return join(folder, `gateway-${gateway}.json`)
}

export function firedPath(folder: string, id: string): string {
  return join(folder, `fired-${id}`)
}

/** Replaces the plan that the gateway has. Appears whole or not at all. */
export function arm(folder: string, gateway: number, plan: Plan): void {
  const path = planPath(folder, gateway)
  writeFileSync(`${path}.partial`, JSON.stringify(plan))
  renameSync(`${path}.partial`, path)
}

export function hasFired(folder: string, plan: Pick<Plan, 'id'>): boolean {
  return existsSync(firedPath(folder, plan.id))
}
