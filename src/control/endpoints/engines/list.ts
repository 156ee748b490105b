import { z } from 'zod'
import { listReplicas, replicaStates } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const query = pageQuery.extend({ modelId: z.string().min(1).max(200).optional() })
const engineView = z.object({
  id: z.string(),
  modelId: z.string(),
  nodeName: z.string().nullable().describe('null for an engine that somebody else runs.'),
  engineKind: z.string(),
  engineModel: z.string().describe('The name that the engine itself gives the model.'),
  baseUrl: z.string().nullable(),
  state: z.enum(replicaStates),
  detail: z.string().nullable(),
  progress: z.number().nullable(),
  stale: z.boolean().describe('Its node is silent; the state is the last that was heard.'),
  updatedAt: z.string(),
})
const result = z.object({ data: z.array(engineView), hasMore: z.boolean() })

export const listEngines = defineOperation<
  { readonly clock: Clock },
  unknown,
  z.infer<typeof query>,
  unknown,
  z.infer<typeof result>
>({
  id: 'engines.list',
  method: 'GET',
  path: '/engines',
  permission: 'fleet:read',
  summary: 'List the engines that serve models, with their states',
  query,
  result,
  async handle({ query: { after, limit, modelId } }, { tx, deps }) {
    const modelIds = modelId === undefined ? undefined : [modelId]
    const found = await listReplicas(tx, { modelIds, after, limit: limit + 1 }, deps.clock.nowMs())
    const data = found.slice(0, limit).map(({ updatedAtMs, ...replica }) => ({
      ...replica,
      updatedAt: new Date(updatedAtMs).toISOString(),
    }))
    return { data, hasMore: found.length > limit }
  },
})
