/** SQL of conformance runs. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import type { CheckOutcome, Verdict } from './run.ts'

/** A run as it is kept. */
export interface RunRecord {
  readonly suiteVersion: string
  /** Of the program that ran the suite. */
  readonly programVersion: string
  readonly startedAtMs: number
  readonly finishedAtMs: number
  readonly verdict: Verdict
  /** Of the engines that were ready to serve the model. */
  readonly engineKinds: readonly string[]
  readonly checks: readonly CheckOutcome[]
}

export async function insertRun(tx: Sql<unknown>, modelId: string, run: RunRecord): Promise<void> {
  await sql`
    INSERT INTO conformance_runs (model_id, suite_version, program_version, started_at, finished_at, verdict, engine_kinds, checks)
    VALUES (${modelId}, ${run.suiteVersion}, ${run.programVersion}, ${new Date(run.startedAtMs)}, ${new Date(run.finishedAtMs)},
      ${run.verdict}, ${[...run.engineKinds]}, ${JSON.stringify(run.checks)})`.execute(tx)
}

export async function deleteRunsButNewest(
  tx: Sql<unknown>,
  modelId: string,
  kept: number,
): Promise<void> {
  await sql`
    DELETE FROM conformance_runs WHERE model_id = ${modelId} AND id NOT IN (
      SELECT id FROM conformance_runs WHERE model_id = ${modelId} ORDER BY id DESC LIMIT ${kept}
    )`.execute(tx)
}

interface RunRow {
  readonly suite_version: string
  readonly program_version: string
  readonly started_at: Date
  readonly finished_at: Date
  readonly verdict: Verdict
  readonly engine_kinds: readonly string[]
  readonly checks: readonly CheckOutcome[]
}

export async function selectRuns(
  tx: Sql<unknown>,
  modelId: string,
  limit: number,
): Promise<RunRecord[]> {
  const result = await sql<RunRow>`
    SELECT suite_version, program_version, started_at, finished_at, verdict, engine_kinds, checks
    FROM conformance_runs WHERE model_id = ${modelId} ORDER BY id DESC LIMIT ${limit}`.execute(tx)
  return result.rows.map((row) => ({
    suiteVersion: row.suite_version,
    programVersion: row.program_version,
    startedAtMs: row.started_at.getTime(),
    finishedAtMs: row.finished_at.getTime(),
    verdict: row.verdict,
    engineKinds: row.engine_kinds,
    checks: row.checks,
  }))
}
