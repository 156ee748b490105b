/** `colonnade reconcile`: whether gateways, ledger and engines agree; each difference with the requests that make it. */
import { z } from 'zod'
import { CliError, type Cli, type CliCommand } from './command.ts'

const total = z.object({
  currency: z.string(),
  requests: z.string(),
  tokens: z.string(),
  amountNanos: z.string(),
})
const answer = z.object({
  from: z.string(),
  to: z.string(),
  totals: z.object({
    journal: z.array(total),
    ledger: z.array(total),
    engines: z.object({ requests: z.string(), tokens: z.string() }),
  }),
  findings: z.array(z.object({ key: z.string(), details: z.record(z.string(), z.unknown()) })),
  newFindings: z.number(),
})
type Answer = z.infer<typeof answer>

interface ReconcileOptions {
  readonly from?: string
  readonly to?: string
  readonly thorough?: boolean
}

export const reconcileCommand: CliCommand = {
  register(program, cli) {
    program
      .command('reconcile')
      .description('compare what gateways settled, what the ledger has, and what engines said')
      .option('--from <date>', 'the first hour (ISO date or moment, UTC); a day ago when left out')
      .option('--to <date>', 'the end of the last hour; now when left out')
      .option('--thorough', 'also compare all balances and counters with all that was posted')
      .action((options: ReconcileOptions) => reconcile(cli, options))
  },
}

async function reconcile(cli: Cli, options: ReconcileOptions): Promise<void> {
  const client = await cli.control()
  const { from, to, thorough } = options
  const run = answer.parse(
    await client.call('POST', '/api/v1/reconciliation/runs', { from, to, thorough }),
  )
  cli.result(run, () => [sides(cli, run), ...run.findings.map(describe)].join('\n'))
  if (run.findings.length > 0)
    throw new CliError(
      `The books differ in ${run.findings.length} places, ${run.newFindings} of them new. See docs/ledger.md, "When the books differ".`,
    )
}

function sides(cli: Cli, { from, to, totals }: Answer): string {
  const rows = (['journal', 'ledger'] as const).flatMap((side) =>
    totals[side].map((row) => [side, row.requests, row.tokens, row.amountNanos, row.currency]),
  )
  const engines = ['engines', totals.engines.requests, totals.engines.tokens, '', '']
  const table = cli.table(['SIDE', 'REQUESTS', 'TOKENS', 'NANOS', 'CURRENCY'], [...rows, engines])
  return `${from} to ${to}\n${table}`
}

function describe(finding: Answer['findings'][number]): string {
  return `DIFFERS  ${finding.key}\n         ${JSON.stringify(finding.details)}`
}
