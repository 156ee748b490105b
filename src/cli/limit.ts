/** `colonnade limit …`: how much a tenant, a project, a key or a model may use; what is used of it, and what was refused. */
import type { Command } from 'commander'
import { z } from 'zod'
import { CliError, type Cli, type CliCommand, type ControlClient } from './command.ts'
import { choose, chooseProject, chooseTenant, key, listAll } from './identity-rows.ts'
import {
  limitCells,
  limitColumns,
  limitRow,
  parseAmount,
  parseChoice,
  parseMeasure,
  parseMode,
  parseWindow,
  planWithLimits,
  renderAmount,
  scopeOf,
  type LimitRow,
  type ModeOptions,
} from './limit-rows.ts'

const useRow = z.object({
  ruleId: z.string(),
  rule: limitRow.nullable(),
  measure: z.string(),
  window: z.string(),
  subject: z.string().nullable(),
  windowStart: z.string().nullable(),
  windowEnd: z.string().nullable(),
  limit: z.string(),
  used: z.string(),
  remaining: z.string(),
})
const useReport = z.object({ data: z.array(useRow), hasMore: z.boolean() })
const refusalRow = z.object({
  hour: z.string(),
  tenantId: z.string(),
  ruleId: z.string(),
  rule: limitRow.nullable(),
  modelId: z.string(),
  refused: z.number(),
  wouldHaveRefused: z.number(),
})
const refusalReport = z.object({ data: z.array(refusalRow), hasMore: z.boolean() })

interface OwnerOptions {
  readonly tenant?: string
  readonly plan?: string
}

interface SetOptions extends OwnerOptions, ModeOptions {
  readonly project?: string
  readonly key?: string
  readonly model?: string
  readonly per: string
  readonly measure: string
  readonly window?: string
  readonly limit: string
}

interface UpdateOptions extends OwnerOptions, ModeOptions {
  readonly limit?: string
}

interface ReportOptions {
  readonly tenant?: string
  readonly from?: string
  readonly to?: string
}

const examples = `
Examples:
  colonnade limit set --tenant acme --measure amount --window month --limit 500.00
  colonnade limit set --tenant acme --key k1 --measure amount --window month --limit 50.00 --shadow
  colonnade limit set --tenant acme --per key --measure requests --window minute --limit 60 --soft --on-outage open
  colonnade limit set --plan tier-1 --model gemma3:27b --measure concurrency --limit 4

Windows are calendar windows in the platform's time zone. Of all limits that match a request, each must have room.
`

export const limitCommand: CliCommand = {
  register(program, cli) {
    const limits = program
      .command('limit')
      .description('limits: list, set, update, remove, status, report, gateways, retire-gateway')
      .addHelpText('after', examples)
    withOwner(limits.command('list'))
      .description('list the limits that bind a tenant, or those of a plan')
      .action((options: OwnerOptions) => list(cli, options))
    withMode(withOwner(limits.command('set')))
      .requiredOption(
        '--measure <measure>',
        'requests, input-tokens, output-tokens, tokens, concurrency or amount',
      )
      .requiredOption('--limit <number>', "how much; an amount in the tenant's currency")
      .option('--window <window>', 'minute, hour, day, month or lifetime; none for concurrency')
      .option('--project <project>', 'only requests of this project (id or name)')
      .option('--key <key>', 'only requests of this key (id or name)')
      .option('--model <id>', 'only requests for this model')
      .option('--per <whom>', 'who has the amount for itself: tenant, project or key', 'tenant')
      .description('set a limit for a tenant, or for all tenants on a plan')
      .addHelpText('after', examples)
      .action((options: SetOptions) => set(cli, options))
    withMode(withOwner(limits.command('update').argument('<limit>', 'as listed: lim_…')))
      .option('--limit <number>', 'how much from now on; what is used counts on')
      .description('change a limit')
      .action((id: string, options: UpdateOptions) => update(cli, id, options))
    withOwner(limits.command('remove').argument('<limit>', 'as listed: lim_…'))
      .description('take a limit away')
      .action((id: string, options: OwnerOptions) => remove(cli, id, options))
    limits
      .command('status')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('what is used of each limit in the window that runs, and what remains')
      .action((options: { tenant?: string }) => status(cli, options))
    limits
      .command('report')
      .option('--tenant <tenant>', 'only this one (id or name)')
      .option('--from <date>', 'hours that begin at or after (ISO date or moment, UTC)')
      .option('--to <date>', 'hours that begin before')
      .description('what limits refused, and what shadow limits would have refused, by the hour')
      .action((options: ReportOptions) => report(cli, options))
    limits
      .command('gateways')
      .description('the gateways that hold parts of limits, and when they were last heard of')
      .action(() => listGateways(cli))
    limits
      .command('retire-gateway')
      .argument('<gateway>', 'as listed: gw_…')
      .description('free what a gateway holds whose disk is gone for good')
      .action((id: string) => retire(cli, id))
  },
}

function withOwner(command: Command): Command {
  return command
    .option('--tenant <tenant>', 'id or name; the only one when left out')
    .option('--plan <plan>', 'a limit of this plan instead')
}

function withMode(command: Command): Command {
  return command
    .option('--hard', 'never exceeded; an answer that reaches it ends there (the default)')
    .option('--soft', 'refuses once it is used up, and cuts no answer')
    .option('--shadow', 'refuses nothing, and reports what it would have')
    .option('--on-outage <mode>', 'closed, or open for soft and shadow limits: without a database')
}

interface Owner {
  /** Of the API, where the limits are. */
  readonly path: string
  /** For people. */
  readonly name: string
  readonly currency: string
  readonly tenantId: string | undefined
  readonly limits: () => Promise<readonly LimitRow[]>
}

async function findOwner(client: ControlClient, options: OwnerOptions): Promise<Owner> {
  if (options.plan === undefined) {
    const tenant = await chooseTenant(client, options.tenant)
    const path = `/api/v1/tenants/${tenant.id}/limits`
    const limits = () => listAll(client, path, limitRow)
    return { path, name: tenant.name, currency: tenant.currency, tenantId: tenant.id, limits }
  }
  if (options.tenant !== undefined) throw new CliError('Choose one of --tenant and --plan.')
  const path = `/api/v1/plans/${encodeURIComponent(options.plan)}`
  const plan = planWithLimits.parse(await client.call('GET', path))
  return {
    path: `${path}/limits`,
    name: `the plan ${plan.id}`,
    currency: plan.currency,
    tenantId: undefined,
    limits: () => Promise.resolve(plan.rules),
  }
}

async function list(cli: Cli, options: OwnerOptions): Promise<void> {
  const owner = await findOwner(await cli.control(), options)
  const rows = await owner.limits()
  cli.result(rows, () => {
    if (rows.length === 0) return `Nothing limits ${owner.name}. See: colonnade limit set --help`
    const cells = rows.map((row) => limitCells(row, owner.currency))
    return cli.table(limitColumns, cells)
  })
}

async function set(cli: Cli, options: SetOptions): Promise<void> {
  const measure = parseMeasure(options.measure)
  const limit = parseAmount(measure, options.limit)
  const body = {
    measure,
    limit,
    window: options.window === undefined ? undefined : parseWindow(options.window),
    per: parseChoice('--per', options.per, ['tenant', 'project', 'key']),
    modelId: options.model,
    ...parseMode(options),
  }
  const client = await cli.control()
  const owner = await findOwner(client, options)
  const scope = await findScope(client, owner.tenantId, options)
  const made = limitRow.parse(await client.call('POST', owner.path, { ...body, ...scope }))
  cli.result(
    made,
    () =>
      `${describe(made, owner.currency)} for ${owner.name}: ${made.id}. Gateways know within 5 seconds.`,
  )
}

async function findScope(
  client: ControlClient,
  tenantId: string | undefined,
  options: SetOptions,
): Promise<Readonly<Record<string, string>>> {
  if (options.project === undefined && options.key === undefined) return {}
  if (tenantId === undefined)
    throw new CliError(
      'A plan is for many tenants and knows no project or key. --per key gives each key its own amount.',
    )
  const project =
    options.project === undefined
      ? undefined
      : await chooseProject(client, tenantId, options.project)
  const found = options.key === undefined ? undefined : await findKey(client, tenantId, options.key)
  return {
    ...(project ? { projectId: project.id } : {}),
    ...(found ? { apiKeyId: found.id } : {}),
  }
}

async function findKey(
  client: ControlClient,
  tenantId: string,
  wanted: string,
): Promise<{ id: string }> {
  const rows = await listAll(client, `/api/v1/tenants/${tenantId}/keys`, key)
  // A name means the living key; a revoked one is still found by its id.
  const living = rows.filter((row) => row.id === wanted || !row.revokedAt)
  return choose(living, wanted, 'key')
}

async function update(cli: Cli, id: string, options: UpdateOptions): Promise<void> {
  const mode = parseMode(options)
  if (options.limit === undefined && !mode.enforcement && !mode.onOutage)
    throw new CliError(
      'Say what to change: --limit, --hard, --soft, --shadow or --on-outage. Another measure or window is another limit: colonnade limit set',
    )
  const client = await cli.control()
  const owner = await findOwner(client, options)
  const row = (await owner.limits()).find((each) => each.id === id)
  if (!row) throw unknown(id, owner)
  const limit = options.limit === undefined ? undefined : parseAmount(row.measure, options.limit)
  const path = `${owner.path}/${encodeURIComponent(id)}`
  const changed = limitRow.parse(await client.call('PATCH', path, { limit, ...mode }))
  cli.result(
    changed,
    () => `${id} is ${describe(changed, owner.currency)}. Gateways know within 5 seconds.`,
  )
}

async function remove(cli: Cli, id: string, options: OwnerOptions): Promise<void> {
  const client = await cli.control()
  const owner = await findOwner(client, options)
  const path = `${owner.path}/${encodeURIComponent(id)}`
  const gone = limitRow.parse(await client.call('DELETE', path))
  cli.result(gone, () => `${describe(gone, owner.currency)} no longer binds ${owner.name}.`)
}

function unknown(id: string, owner: Owner): CliError {
  return new CliError(`There is no limit '${id}' for ${owner.name}. See: colonnade limit list`)
}

/** `50.00 EUR a month (shadow)`, `4 concurrency (hard)`. */
function describe(row: LimitRow, currency: string): string {
  const what = row.measure === 'amount' ? kindOf(row).replace('amount ', '') : kindOf(row)
  return `${renderAmount(row.measure, row.limit, currency)} ${what} (${row.enforcement})`
}

/** `output tokens a day`, `amount ever`. */
function kindOf(row: LimitRow): string {
  const what = row.measure.replace('_', ' ')
  if (row.measure === 'concurrency') return what
  return row.window === 'lifetime' ? `${what} ever` : `${what} a ${row.window}`
}

async function status(cli: Cli, options: { tenant?: string }): Promise<void> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const path = `/api/v1/tenants/${tenant.id}/limits/status`
  const answer = useReport.parse(await client.call('GET', `${path}?limit=10000`))
  const cells = answer.data.map((row) => {
    const amount = (text: string): string => renderAmount(row.measure, text, tenant.currency)
    return [
      row.ruleId,
      row.rule ? scopeOf(row.rule) : 'prepaid credit',
      row.subject ?? '-',
      row.measure,
      row.measure === 'concurrency' ? '-' : row.window,
      amount(row.used),
      amount(row.limit),
      amount(row.remaining),
      row.windowEnd?.slice(0, 16).replace('T', ' ') ?? '-',
    ]
  })
  const columns = [
    'LIMIT',
    'FOR',
    'WHO',
    'MEASURE',
    'WINDOW',
    'USED',
    'OF',
    'REMAINS',
    'UNTIL (UTC)',
  ]
  cli.result(answer, () => {
    if (cells.length === 0) return `Nothing limits ${tenant.name}.`
    const more = answer.hasMore ? '\n(more counters than shown)' : ''
    return `${cli.table(columns, cells)}${more}`
  })
}

async function report(cli: Cli, options: ReportOptions): Promise<void> {
  const client = await cli.control()
  const query = new URLSearchParams({ limit: '10000' })
  if (options.from !== undefined) query.set('from', options.from)
  if (options.to !== undefined) query.set('to', options.to)
  const path =
    options.tenant === undefined
      ? '/api/v1/limits/refusals'
      : `/api/v1/tenants/${(await chooseTenant(client, options.tenant)).id}/limits/refusals`
  const answer = refusalReport.parse(await client.call('GET', `${path}?${query.toString()}`))
  const cells = answer.data.map((row) => [
    row.hour.slice(0, 16).replace('T', ' '),
    row.tenantId,
    row.ruleId,
    row.rule ? kindOf(row.rule) : '-',
    row.modelId,
    String(row.refused),
    String(row.wouldHaveRefused),
  ])
  const columns = ['HOUR', 'TENANT', 'LIMIT', 'KIND', 'MODEL', 'REFUSED', 'WOULD HAVE REFUSED']
  cli.result(answer, () => {
    if (cells.length === 0) return 'No limit refused anything, or would have.'
    const more = answer.hasMore ? '\n(more hours than shown: narrow them with --from and --to)' : ''
    return `${cli.table(columns, cells)}${more}`
  })
}

const gatewayRow = z.object({ gatewayId: z.string(), seenAt: z.string(), countersHeld: z.number() })

async function listGateways(cli: Cli): Promise<void> {
  const client = await cli.control()
  const answer = await client.call('GET', '/api/v1/gateways')
  const { data } = z.object({ data: z.array(gatewayRow) }).parse(answer)
  const cells = data.map((row) => [
    row.gatewayId,
    row.seenAt.slice(0, 19).replace('T', ' '),
    String(row.countersHeld),
  ])
  cli.result(data, () => cli.table(['GATEWAY', 'LAST SEEN (UTC)', 'LIMITS HELD'], cells))
}

async function retire(cli: Cli, id: string): Promise<void> {
  const client = await cli.control()
  const path = `/api/v1/gateways/${encodeURIComponent(id)}/retire`
  const gateway = gatewayRow.parse(await client.call('POST', path))
  cli.result(gateway, () => `${id} holds nothing any more.`)
}
