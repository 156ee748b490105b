/** `colonnade plan …`: sets of limits, and whether they are prepaid, that tenants are put on. */
import { z } from 'zod'
import { CliError, type Cli, type CliCommand } from './command.ts'
import { listAll } from './identity-rows.ts'
import {
  limitCells,
  limitColumns,
  parseChoice,
  planRow,
  planWithLimits,
  type PlanRow,
} from './limit-rows.ts'
import { parseMoney, renderMoney } from './money.ts'

interface PlanOptions {
  readonly name?: string
  readonly rank?: string
  readonly priority?: string
  readonly prepaid?: boolean
  /** `false` for --no-upfront-credit. */
  readonly upfrontCredit?: string | false
  readonly currency?: string
}

const examples = `
Examples:
  colonnade plan create startup --rank 15 --prepaid --upfront-credit 100.00
  colonnade limit set --plan startup --measure amount --window month --limit 400.00
  colonnade tenant update acme --plan startup
`

export const planCommand: CliCommand = {
  register(program, cli) {
    const plans = program
      .command('plan')
      .description('plans: list, show, create, update, remove')
      .addHelpText('after', examples)
    plans
      .command('list')
      .description('list the plans, from the smallest to the largest')
      .action(() => list(cli))
    plans
      .command('show')
      .argument('<plan>')
      .description('show a plan and its limits')
      .action((id: string) => show(cli, id))
    plans
      .command('create')
      .argument('<plan>', 'its id: small letters, digits and -')
      .requiredOption('--rank <number>', 'its place from the smallest plan to the largest')
      .option('--name <name>', 'for people; the id when left out')
      .option('--priority <priority>', 'normal or high', 'normal')
      .option('--prepaid', 'its tenants spend what they have been credited, and no more')
      .option('--upfront-credit <amount>', 'what a tenant pays ahead, such as 500.00')
      .option('--currency <code>', 'of its amounts and its tenants', 'EUR')
      .description('create a plan, which has no limits yet')
      .addHelpText('after', examples)
      .action((id: string, options: PlanOptions) => create(cli, id, options))
    plans
      .command('update')
      .argument('<plan>')
      .option('--name <name>', 'a new name')
      .option('--rank <number>', 'its place from the smallest plan to the largest')
      .option('--priority <priority>', 'normal or high')
      .option('--prepaid', 'its tenants spend what they have been credited, and no more')
      .option('--no-prepaid', 'its tenants pay afterwards')
      .option('--upfront-credit <amount>', 'what a tenant pays ahead, such as 500.00')
      .option('--no-upfront-credit', 'nothing is paid ahead')
      .description('change a plan; for its limits: colonnade limit set --plan')
      .action((id: string, options: PlanOptions) => update(cli, id, options))
    plans
      .command('remove')
      .argument('<plan>')
      .description('delete a plan that no tenant is on')
      .action((id: string) => remove(cli, id))
  },
}

const pathOf = (id: string): string => `/api/v1/plans/${encodeURIComponent(id)}`

async function list(cli: Cli): Promise<void> {
  const found = await listAll(await cli.control(), '/api/v1/plans', planRow)
  const rows = found.toSorted((a, b) => a.rank - b.rank)
  const cells = rows.map((row) => [
    row.id,
    row.name,
    String(row.rank),
    row.priority,
    row.prepaid ? 'prepaid' : 'billed',
    row.upfrontCreditNanos === null ? '-' : renderMoney(row.upfrontCreditNanos, row.currency),
  ])
  cli.result(rows, () =>
    cli.table(['ID', 'NAME', 'RANK', 'PRIORITY', 'BILLING', 'UPFRONT CREDIT'], cells),
  )
}

async function show(cli: Cli, id: string): Promise<void> {
  const client = await cli.control()
  const plan = planWithLimits.parse(await client.call('GET', pathOf(id)))
  cli.result(plan, () => {
    const cells = plan.rules.map((rule) => limitCells(rule, plan.currency))
    const rules = cells.length === 0 ? 'It has no limits.' : cli.table(limitColumns, cells)
    return `${describe(plan)}\n\n${rules}`
  })
}

async function create(cli: Cli, id: string, options: PlanOptions): Promise<void> {
  const body = { id, name: id, ...fields(options), currency: options.currency }
  const client = await cli.control()
  const made = planRow.parse(await client.call('POST', '/api/v1/plans', body))
  cli.result(
    made,
    () => `${describe(made)}\nIt has no limits yet. Next: colonnade limit set --plan ${made.id} …`,
  )
}

async function update(cli: Cli, id: string, options: PlanOptions): Promise<void> {
  const body = fields(options)
  if (Object.keys(body).length === 0)
    throw new CliError('Say what to change. See: colonnade plan update --help')
  const client = await cli.control()
  const changed = planRow.parse(await client.call('PATCH', pathOf(id), body))
  cli.result(changed, () => `${describe(changed)}\nGateways know within 5 seconds.`)
}

async function remove(cli: Cli, id: string): Promise<void> {
  const client = await cli.control()
  const gone = z.object({ id: z.string() }).parse(await client.call('DELETE', pathOf(id)))
  cli.result(gone, () => `The plan ${gone.id} is gone.`)
}

/** What was named, as the API has it. */
function fields(options: PlanOptions): Readonly<Record<string, unknown>> {
  const { name, rank, priority, prepaid, upfrontCredit: credit } = options
  if (rank !== undefined && !/^\d{1,6}$/.test(rank))
    throw new CliError(`--rank takes a whole number from 0 to 999999: not "${rank}".`)
  return {
    ...(name === undefined ? {} : { name }),
    ...(rank === undefined ? {} : { rank: Number(rank) }),
    ...(priority === undefined
      ? {}
      : { priority: parseChoice('--priority', priority, ['normal', 'high']) }),
    ...(prepaid === undefined ? {} : { prepaid }),
    ...(credit === undefined ? {} : { upfrontCreditNanos: parseCredit(credit) }),
  }
}

function parseCredit(credit: string | false): string | null {
  return credit === false ? null : String(parseMoney(credit, '--upfront-credit'))
}

function describe(plan: PlanRow): string {
  const credit =
    plan.upfrontCreditNanos === null
      ? ''
      : `, ${renderMoney(plan.upfrontCreditNanos, plan.currency)} upfront`
  const billing = plan.prepaid ? `prepaid${credit}` : 'billed afterwards'
  return `${plan.id} (${plan.name}): rank ${plan.rank}, ${plan.priority} priority, ${billing}.`
}
