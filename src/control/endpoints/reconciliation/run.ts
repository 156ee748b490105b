import { z } from 'zod'
import { reconcile, wholeHours } from '../../../billing/reconciliation.ts'
import type { Clock } from '../../../platform/clock.ts'
import { defineOperation } from '../../operation.ts'
import { findingView, viewFinding } from '../../reconciliation-view.ts'

const dayMs = 86_400_000

const body = z.strictObject({
  from: z.coerce.date().optional().describe('The first hour; a day before `to` when left out.'),
  to: z.coerce.date().optional().describe('The end of the last hour; now when left out.'),
  thorough: z
    .boolean()
    .default(false)
    .describe('Also compares all balances and counters with everything that was ever posted.'),
})
const total = z.object({
  currency: z.string(),
  requests: z.string(),
  tokens: z.string(),
  amountNanos: z.string(),
})
const result = z.object({
  id: z.number(),
  from: z.string(),
  to: z.string(),
  thorough: z.boolean(),
  totals: z.object({
    journal: z.array(total),
    ledger: z.array(total),
    engines: z.object({ requests: z.string(), tokens: z.string() }),
  }),
  findings: z.array(findingView),
  newFindings: z.number(),
})

export const runReconciliationOperation = defineOperation<
  { clock: Clock },
  unknown,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'reconciliation.run',
  method: 'POST',
  path: '/reconciliation/runs',
  permission: 'usage:read',
  summary: 'Compare what gateways settled, what the ledger has, and what engines said',
  audit: (_input, run) => ({
    resource: `reconciliation/${run.id}`,
    details: {
      from: run.from,
      to: run.to,
      thorough: run.thorough,
      findings: run.findings.length,
      newFindings: run.newFindings,
    },
  }),
  body,
  result,
  async handle({ body: { from, to, thorough } }, { tx, deps }) {
    const endMs = to?.getTime() ?? deps.clock.nowMs()
    const range = wholeHours(from?.getTime() ?? endMs - dayMs, endMs)
    const run = await reconcile(tx, { ...range, thorough })
    return {
      ...run,
      from: run.from.toISOString(),
      to: run.to.toISOString(),
      totals: {
        journal: [...run.totals.journal],
        ledger: [...run.totals.ledger],
        engines: run.totals.engines,
      },
      findings: run.findings.map(viewFinding),
      newFindings: run.newFindings.length,
    }
  },
})
