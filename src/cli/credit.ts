/** `colonnade credit …`: what tenants on prepaid plans paid ahead. */
import { z } from 'zod'
import { CliError, type Cli, type CliCommand } from './command.ts'
import { chooseTenant } from './identity-rows.ts'
import { parseMoney, renderMoney } from './money.ts'

const grant = z.object({
  id: z.string(),
  amountNanos: z.string(),
  currency: z.string(),
  note: z.string(),
  createdAt: z.string(),
})
const credit = z.object({
  data: z.array(grant),
  hasMore: z.boolean(),
  balance: z.object({
    currency: z.string(),
    grantedNanos: z.string(),
    spentNanos: z.string(),
    remainingNanos: z.string(),
  }),
})
type Credit = z.infer<typeof credit>

const pagesMax = 1_000

interface GrantOptions {
  readonly tenant?: string
  readonly amount: string
  readonly note?: string
}

export const creditCommand: CliCommand = {
  register(program, cli) {
    const credits = program.command('credit').description('prepaid credit: grant, list')
    credits
      .command('grant')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .requiredOption(
        '--amount <amount>',
        'such as 500.00; a negative amount corrects an earlier grant',
      )
      .option('--note <text>', 'what it was for, such as the payment')
      .description('credit a tenant with what it paid ahead')
      .action((options: GrantOptions) => give(cli, options))
    credits
      .command('list')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('list what a tenant was credited, and what remains of it')
      .action((options: { tenant?: string }) => list(cli, options))
  },
}

async function give(cli: Cli, options: GrantOptions): Promise<void> {
  const amountNanos = parseMoney(options.amount, '--amount')
  if (amountNanos === 0n) throw new CliError('--amount takes anything but 0.')
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const path = `/api/v1/tenants/${tenant.id}/credit`
  const body = { amountNanos: String(amountNanos), note: options.note }
  const made = grant.parse(await client.call('POST', path, body))
  const { balance } = credit.parse(await client.call('GET', `${path}?limit=1`))
  cli.result({ ...made, balance }, () => {
    const amount = renderMoney(made.amountNanos, made.currency)
    return `${tenant.name} is credited with ${amount}. ${describe(balance)}`
  })
}

async function list(cli: Cli, options: { tenant?: string }): Promise<void> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const path = `/api/v1/tenants/${tenant.id}/credit?limit=500`
  let answer = credit.parse(await client.call('GET', path))
  const rows = [...answer.data]
  for (let page = 1; answer.hasMore && page < pagesMax; page += 1) {
    const after = encodeURIComponent(rows.at(-1)?.id ?? '')
    answer = credit.parse(await client.call('GET', `${path}&after=${after}`))
    rows.push(...answer.data)
  }
  const { balance } = answer
  // Ids say nothing of the order.
  rows.sort((a, b) => a.createdAt.localeCompare(b.createdAt))
  cli.result({ data: rows, balance }, () => {
    if (rows.length === 0) return `${tenant.name} was never credited. ${describe(balance)}`
    const cells = rows.map((row) => [
      row.id,
      row.createdAt.slice(0, 16).replace('T', ' '),
      renderMoney(row.amountNanos, row.currency),
      row.note,
    ])
    return `${cli.table(['ID', 'WHEN', 'AMOUNT', 'NOTE'], cells)}\n${describe(balance)}`
  })
}

function describe(balance: Credit['balance']): string {
  const money = (nanos: string): string => renderMoney(nanos, balance.currency)
  return `Credited: ${money(balance.grantedNanos)}, spent: ${money(balance.spentNanos)}, remaining: ${money(balance.remainingNanos)}.`
}
