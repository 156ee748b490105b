import type { z } from 'zod'
import { setConformance } from '../../../catalog/catalog.ts'
import { recordRun, type RunRecord } from '../../../conformance/conformance.ts'
import { countOf, verdictOf } from '../../../conformance/run.ts'
import { listReplicas } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { Fault } from '../../../platform/fault.ts'
import type { Sql } from '../../../platform/postgres/database.ts'
import { runBody, runView, viewRun } from '../../conformance-view.ts'
import { modelParams } from '../../model-parameters.ts'
import { defineOperation } from '../../operation.ts'

const replicasMax = 1_000

export const recordConformanceOperation = defineOperation<
  { readonly clock: Clock },
  z.infer<typeof modelParams>,
  unknown,
  z.infer<typeof runBody>,
  z.infer<typeof runView>
>({
  id: 'conformance.record',
  method: 'POST',
  path: '/models/:modelId/conformance',
  permission: 'catalog:write',
  summary: 'Keep a run of the conformance suite over a model, and show it as its badge',
  params: modelParams,
  body: runBody,
  result: runView,
  audit: ({ params: { modelId } }, { verdict, suiteVersion, passed, failed, skipped }) => ({
    resource: modelId,
    details: { verdict, suiteVersion, passed, failed, skipped },
  }),
  async handle({ params: { modelId }, body }, { tx, deps }) {
    const { suiteVersion, programVersion, checks } = body
    const [startedAtMs, finishedAtMs] = [Date.parse(body.startedAt), Date.parse(body.finishedAt)]
    if (finishedAtMs < startedAtMs) throw endsBeforeItBegan()
    const verdict = verdictOf(checks)
    const engineKinds = await readyKinds(tx, modelId, deps.clock.nowMs())
    const run: RunRecord = {
      suiteVersion,
      programVersion,
      startedAtMs,
      finishedAtMs,
      verdict,
      engineKinds,
      checks,
    }
    const date = new Date(finishedAtMs).toISOString()
    await setConformance(tx, modelId, {
      verdict,
      date,
      suiteVersion,
      ...countOf(checks),
      engineKinds,
    })
    await recordRun(tx, modelId, run)
    return viewRun(modelId, run)
  },
})

async function readyKinds(
  tx: Sql<unknown>,
  modelId: string,
  nowMs: number,
): Promise<readonly string[]> {
  const replicas = await listReplicas(tx, { modelIds: [modelId], limit: replicasMax }, nowMs)
  const ready = replicas.filter(({ state, stale }) => state === 'ready' && !stale)
  return [...new Set(ready.map(({ engineKind }) => engineKind))].toSorted()
}

function endsBeforeItBegan(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'A run cannot end before it began.',
    param: 'finishedAt',
  })
}
