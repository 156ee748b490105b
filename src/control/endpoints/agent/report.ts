import { z } from 'zod'
import { agentReport, type AgentReport } from '../../../agent/protocol.ts'
import { noteWeights } from '../../../catalog/catalog.ts'
import { applyReport } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { defineOperation } from '../../operation.ts'

const result = z.object({ nodeId: z.string() })

export const postAgentReport = defineOperation<
  { readonly clock: Clock },
  unknown,
  unknown,
  AgentReport,
  z.infer<typeof result>
>({
  id: 'agent.report',
  method: 'POST',
  path: '/agent/report',
  permission: 'fleet:report',
  summary: 'What a node runs',
  body: agentReport,
  result,
  // A heartbeat: it changes no right and no money.
  audit: 'none',
  async handle({ body: report }, { tx, deps }) {
    const nodeId = await applyReport(tx, report, deps.clock.nowMs())
    for (const replica of report.replicas) await noteWeights(tx, replica.modelId, replica)
    return { nodeId }
  },
})
