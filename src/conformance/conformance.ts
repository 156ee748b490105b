/** Conformance's front door: reach an API, run the suite over a model, keep what came out. */
import type { Sql } from '../platform/postgres/database.ts'
import { runsMax } from './run.ts'
import * as store from './store.ts'
import type { RunRecord } from './store.ts'

export { connectApi, type ApiTarget, type ConnectedApi } from './client.ts'
export type { RunRecord } from './store.ts'

/** Keeps a run, and forgets the oldest ones of the model. */
export async function recordRun(tx: Sql<unknown>, modelId: string, run: RunRecord): Promise<void> {
  await store.insertRun(tx, modelId, run)
  await store.deleteRunsButNewest(tx, modelId, runsMax)
}

/** The runs of a model that are kept, the newest first. */
export async function listRuns(tx: Sql<unknown>, modelId: string): Promise<RunRecord[]> {
  return await store.selectRuns(tx, modelId, runsMax)
}
