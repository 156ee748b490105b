import { z } from 'zod'
import { getModel } from '../../../catalog/catalog.ts'
import { listRuns } from '../../../conformance/conformance.ts'
import { runView, viewRun } from '../../conformance-view.ts'
import { modelParams } from '../../model-parameters.ts'
import { defineOperation } from '../../operation.ts'

const result = z.object({ data: z.array(runView) })

export const listConformanceOperation = defineOperation<
  unknown,
  z.infer<typeof modelParams>,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'conformance.list',
  method: 'GET',
  path: '/models/:modelId/conformance',
  permission: 'catalog:read',
  summary: 'List the runs of the conformance suite over a model that are kept, the newest first',
  params: modelParams,
  result,
  async handle({ params: { modelId } }, { tx }) {
    await getModel(tx, modelId)
    const runs = await listRuns(tx, modelId)
    return { data: runs.map((run) => viewRun(modelId, run)) }
  },
})
