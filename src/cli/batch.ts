/** `colonnade batch …`: the batches of tenants, as operators may know them: states and counts. */
import { z } from 'zod'
import type { Cli, CliCommand, ControlClient } from './command.ts'
import { chooseTenant, listAll } from './identity-rows.ts'

const batch = z.object({
  id: z.string(),
  projectId: z.string(),
  endpoint: z.string(),
  state: z.string(),
  lines: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
  usage: z.object({ inputTokens: z.number(), outputTokens: z.number() }),
  errors: z.array(z.object({ code: z.string(), message: z.string(), line: z.number().nullable() })),
  createdAt: z.string(),
  expiresAt: z.string(),
  endedAt: z.string().nullable(),
})
type BatchRow = z.infer<typeof batch>

interface BatchOptions {
  readonly tenant?: string
}

export const batchCommand: CliCommand = {
  register(program, cli) {
    const batches = program.command('batch').description('batches: list, get, cancel')
    const tenant = ['--tenant <tenant>', 'id or name; the only one when left out'] as const
    batches
      .command('list')
      .option(...tenant)
      .description('list the batches of a tenant, the newest first')
      .action((options: BatchOptions) => list(cli, options))
    batches
      .command('get')
      .argument('<batch>', 'id')
      .option(...tenant)
      .description('show how far a batch is, and what was wrong with its input')
      .action((id: string, options: BatchOptions) => get(cli, id, options))
    batches
      .command('cancel')
      .argument('<batch>', 'id')
      .option(...tenant)
      .description('end a batch: what is under way is delivered, and nothing else begins')
      .action((id: string, options: BatchOptions) => cancel(cli, id, options))
  },
}

async function list(cli: Cli, options: BatchOptions): Promise<void> {
  const client = await cli.control()
  const rows = await listAll(client, await pathOf(client, options), batch)
  cli.result({ data: rows }, () => (rows.length === 0 ? 'There are no batches.' : table(cli, rows)))
}

async function get(cli: Cli, id: string, options: BatchOptions): Promise<void> {
  const client = await cli.control()
  const row = batch.parse(await client.call('GET', await pathOf(client, options, id)))
  const errors = row.errors.map(
    ({ code, message, line }) => `${line === null ? '' : `line ${line}: `}${code}: ${message}`,
  )
  cli.result(row, () => [table(cli, [row]), ...errors].join('\n'))
}

async function cancel(cli: Cli, id: string, options: BatchOptions): Promise<void> {
  const client = await cli.control()
  const path = `${await pathOf(client, options, id)}/cancel`
  const row = batch.parse(await client.call('POST', path, {}))
  cli.result(row, () => `${row.id} is ${row.state}.`)
}

async function pathOf(
  client: ControlClient,
  options: BatchOptions,
  ...rest: readonly string[]
): Promise<string> {
  const { id } = await chooseTenant(client, options.tenant)
  return ['/api/v1/tenants', id, 'batches', ...rest.map(encodeURIComponent)].join('/')
}

function table(cli: Cli, rows: readonly BatchRow[]): string {
  const minutes = (moment: string): string => moment.slice(0, 16).replace('T', ' ')
  return cli.table(
    ['ID', 'STATE', 'ENDPOINT', 'LINES', 'DONE', 'FAILED', 'TOKENS', 'CREATED', 'ENDS BY'],
    rows.map((row) => [
      row.id,
      row.state,
      row.endpoint,
      String(row.lines.total),
      String(row.lines.completed),
      String(row.lines.failed),
      String(row.usage.inputTokens + row.usage.outputTokens),
      minutes(row.createdAt),
      minutes(row.endedAt ?? row.expiresAt),
    ]),
  )
}
