import { z } from 'zod'
import { desiredState, type DesiredState } from '../../../agent/protocol.ts'
import { findModel } from '../../../catalog/catalog.ts'
import { desiredReplicas } from '../../../fleet/fleet.ts'
import { Fault } from '../../../platform/fault.ts'
import { defineOperation } from '../../operation.ts'

const query = z.object({ node: z.string().min(1).max(200) })

export const getDesiredState = defineOperation<
  unknown,
  unknown,
  z.infer<typeof query>,
  unknown,
  DesiredState
>({
  id: 'agent.desired',
  method: 'GET',
  path: '/agent/desired',
  permission: 'fleet:report',
  summary: 'What a node shall run',
  query,
  result: desiredState,
  async handle({ query: { node } }, { tx }) {
    const desired = await desiredReplicas(tx, node)
    if (!desired) {
      throw new Fault({ code: 'client.not_found', public: 'This node has not reported yet.' })
    }
    const deployments: DesiredState['deployments'] = []
    for (const { modelId, settings } of desired.replicas) {
      const model = await findModel(tx, modelId)
      if (!model) continue
      deployments.push({
        modelId,
        weightSources: [...model.weightSources],
        weightSha256: model.weightSha256,
        weightBytes: model.weightBytes,
        embeddings: model.category === 'embedding',
        contextWindowTokens: model.contextWindowTokens,
        settings: { ...settings },
      })
    }
    return { nodeId: desired.nodeId, deployments }
  },
})
