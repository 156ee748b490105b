/** `colonnade usage`: what was used and what it cost, grouped as wanted; the sums are the ledger's. */
import { z } from 'zod'
import type { Cli, CliCommand } from './command.ts'
import { chooseTenant } from './identity-rows.ts'

const figures = {
  currency: z.string(),
  requests: z.number(),
  inputTokens: z.number(),
  cachedInputTokens: z.number(),
  outputTokens: z.number(),
  reasoningTokens: z.number(),
  amountNanos: z.string(),
  amount: z.string(),
}
const report = z.object({
  data: z.array(z.object({ group: z.record(z.string(), z.string()), ...figures })),
  totals: z.array(z.object(figures)),
  hasMore: z.boolean(),
})
type Figures = z.infer<typeof report>['totals'][number]

interface UsageOptions {
  readonly by: string
  readonly from?: string
  readonly to?: string
  readonly tenant?: string
  readonly project?: string
  readonly model?: string
  readonly key?: string
  readonly request?: string
}

export const usageCommand: CliCommand = {
  register(program, cli) {
    program
      .command('usage')
      .description('tokens used and what they cost')
      .option(
        '--by <groups>',
        'tenant, project, key, model, day, hour, request, outcome; several with commas',
        'model',
      )
      .option('--from <date>', 'settled at or after (ISO date or moment, UTC)')
      .option('--to <date>', 'settled before')
      .option('--tenant <tenant>', 'only this one (id or name)')
      .option('--project <id>', 'only this one')
      .option('--model <id>', 'only this one')
      .option('--key <id>', 'only this one')
      .option('--request <id>', 'a single request, by its x-request-id')
      .action((options: UsageOptions) => show(cli, options))
  },
}

async function show(cli: Cli, options: UsageOptions): Promise<void> {
  const client = await cli.control()
  const query = new URLSearchParams({
    groupBy: options.request === undefined ? options.by : 'request,model,outcome',
  })
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined) query.set(name, value)
  }
  set('from', options.from)
  set('to', options.to)
  set('projectId', options.project)
  set('modelId', options.model)
  set('apiKeyId', options.key)
  set('requestId', options.request)
  // A tenant's own people may see their tenant's usage, and only the provider's staff that of all.
  const path =
    options.tenant === undefined
      ? '/api/v1/usage'
      : `/api/v1/tenants/${(await chooseTenant(client, options.tenant)).id}/usage`
  const answer = report.parse(await client.call('GET', `${path}?${query.toString()}`))
  const groups = (query.get('groupBy') ?? '').split(',')
  const rows = answer.data.map((row) => [
    ...groups.map((name) => row.group[name] ?? ''),
    ...cells(row),
  ])
  const totals = answer.totals.map((row) => [
    ...groups.map((_, index) => (index === 0 ? 'TOTAL' : '')),
    ...cells(row),
  ])
  const columns = [
    ...groups.map((name) => name.toUpperCase()),
    'REQUESTS',
    'INPUT',
    'CACHED',
    'OUTPUT',
    'REASONING',
    'AMOUNT',
  ]
  cli.result(answer, () => {
    if (rows.length === 0) return 'No usage. What has just ended appears within a second.'
    const more = answer.hasMore ? '\n(more groups than shown; the total has them all)' : ''
    return cli.table(columns, [...rows, ...totals]) + more
  })
}

function cells(row: Figures): string[] {
  const counts = [
    row.requests,
    row.inputTokens,
    row.cachedInputTokens,
    row.outputTokens,
    row.reasoningTokens,
  ]
  return [...counts.map(String), `${row.amount} ${row.currency}`]
}
