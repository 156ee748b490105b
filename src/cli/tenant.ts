/** `colonnade tenant …`: the customers or departments that use the platform. */
import { CliError, type CliCommand, type ControlClient } from './command.ts'
import { z } from 'zod'
import { chooseTenant, listAll, tenant as tenantRow } from './identity-rows.ts'
import { planRow } from './limit-rows.ts'
import { renderMoney } from './money.ts'
import { keptDaysMax, keptDaysMin } from '../responses/response.ts'

const tenant = tenantRow.extend({
  planId: z.string().nullable(),
  allowedLocations: z.array(z.string()),
  responsesKeptDays: z.number().nullable(),
})
const tenantPlan = z.object({ plan: planRow.nullable() })

interface UpdateOptions {
  readonly name?: string
  readonly priceList?: string
  /** `false` for --no-plan. */
  readonly plan?: string | false
  readonly allowLocation?: readonly string[]
  readonly ownMachinesOnly?: boolean
  /** `false` for --no-keep-responses. */
  readonly keepResponses?: string | false
}

export const tenantCommand: CliCommand = {
  register(program, cli) {
    const tenants = program
      .command('tenant')
      .description('tenants: create, list, get, update, suspend, resume')
    tenants
      .command('create')
      .argument('<name>')
      .option('--price-list <id>', 'price list', 'standard')
      .option('--plan <id>', 'plan: its limits, and whether it is prepaid; none when left out')
      .description('create a tenant')
      .action(async (name: string, options: { priceList: string; plan?: string }) => {
        const client = await cli.control()
        const body = { name, priceListId: options.priceList, planId: options.plan }
        const made = tenant.parse(await client.call('POST', '/api/v1/tenants', body))
        cli.result(
          made,
          () =>
            `Tenant ${made.name} is ${made.id}. Next: colonnade project create NAME --tenant ${made.name}`,
        )
      })
    tenants
      .command('list')
      .description('list the tenants')
      .action(async () => {
        const rows = await listAll(await cli.control(), '/api/v1/tenants', tenant)
        const cells = rows.map((row) => [
          row.id,
          row.name,
          row.state,
          row.priceListId,
          row.planId ?? '-',
          row.currency,
        ])
        const columns = ['ID', 'NAME', 'STATE', 'PRICE LIST', 'PLAN', 'CURRENCY']
        cli.result(rows, () => cli.table(columns, cells))
      })
    tenants
      .command('get')
      .argument('<tenant>', 'id or name')
      .description(
        'show a tenant: its plan, its prices, where its prompts may go, and what is kept of its responses',
      )
      .action(async (wanted: string) => {
        const client = await cli.control()
        const { id } = await chooseTenant(client, wanted)
        const found = tenant.parse(await client.call('GET', `/api/v1/tenants/${id}`))
        const rows = [
          ['id', found.id],
          ['name', found.name],
          ['state', found.state],
          ['price list', found.priceListId],
          ['plan', found.planId ?? '-'],
          ['currency', found.currency],
          ['prompts may go to', renderPlaces(found.allowedLocations)],
          ['responses are kept', renderKept(found.responsesKeptDays)],
        ]
        cli.result(found, () => cli.table(['WHAT', 'VALUE'], rows))
      })
    tenants
      .command('update')
      .argument('<tenant>', 'id or name')
      .option('--name <name>', 'a new name')
      .option('--price-list <id>', 'another price list of the same currency')
      .option('--plan <id>', 'another plan of the same currency')
      .option('--no-plan', 'take the tenant off its plan: only its own limits are left')
      .option('--allow-location <place...>', 'places where its prompts may go too: FR, EU, US')
      .option('--own-machines-only', 'its prompts go nowhere else')
      .option(
        '--keep-responses <days>',
        'keep responses whose requests say store: true for so long, 1 to 30 days',
      )
      .option('--no-keep-responses', 'keep none, and delete those that are kept')
      .description(
        'rename a tenant, or change its prices, its plan, where its prompts may go, or what is kept',
      )
      .action(async (wanted: string, options: UpdateOptions) => {
        const client = await cli.control()
        const { id } = await chooseTenant(client, wanted)
        const planId = options.plan === false ? null : options.plan
        const body = {
          name: options.name,
          priceListId: options.priceList,
          planId,
          allowedLocations: placesOf(options),
          responsesKeptDays: keptDaysOf(options),
        }
        const changed = tenant.parse(await client.call('PATCH', `/api/v1/tenants/${id}`, body))
        const advice = typeof planId === 'string' ? await adviseOnCredit(client, changed) : ''
        const plan = changed.planId === null ? 'no plan' : `the plan ${changed.planId}`
        const places = body.allowedLocations
          ? ` Its prompts may go to ${renderPlaces(changed.allowedLocations)}; gateways know within 5 seconds.`
          : ''
        const kept =
          body.responsesKeptDays === undefined
            ? ''
            : ` Its responses are kept ${renderKept(changed.responsesKeptDays)}; gateways know within 5 seconds.`
        cli.result(
          changed,
          () =>
            `${changed.name} has the price list ${changed.priceListId} and ${plan}.${places}${kept}${advice}`,
        )
      })
    for (const [verb, state, text] of [
      ['suspend', 'suspended', 'refuse all keys of a tenant'],
      ['resume', 'active', 'accept the keys of a suspended tenant again'],
    ] as const) {
      tenants
        .command(verb)
        .argument('<tenant>', 'id or name')
        .description(text)
        .action(async (wanted: string) => {
          const client = await cli.control()
          const { id } = await chooseTenant(client, wanted)
          const changed = tenant.parse(
            await client.call('PATCH', `/api/v1/tenants/${id}`, { state }),
          )
          cli.result(
            changed,
            () => `${changed.name} is ${changed.state}; gateways know within 5 seconds.`,
          )
        })
    }
  },
}

/** All places that are allowed from now on; `undefined` leaves them as they are. */
function placesOf(options: UpdateOptions): readonly string[] | undefined {
  const { allowLocation, ownMachinesOnly } = options
  if (allowLocation && ownMachinesOnly)
    throw new CliError('Give either --allow-location or --own-machines-only.')
  if (ownMachinesOnly) return []
  return allowLocation?.flatMap((places) => places.split(',')).map((place) => place.toUpperCase())
}

function renderPlaces(places: readonly string[]): string {
  return ['our own machines', ...places].join(', ')
}

/** `null` for none from now on; `undefined` leaves it as it is. */
function keptDaysOf({ keepResponses }: UpdateOptions): number | null | undefined {
  if (keepResponses === false) return null
  if (keepResponses === undefined) return undefined
  const days = Number(keepResponses)
  if (!Number.isInteger(days) || days < keptDaysMin || days > keptDaysMax)
    throw new CliError(`--keep-responses takes ${keptDaysMin} to ${keptDaysMax} days.`)
  return days
}

function renderKept(days: number | null): string {
  if (days === null) return 'not at all'
  return days === 1 ? '1 day' : `${days} days`
}

/** Whoever is put on a prepaid plan is refused until there is credit. */
async function adviseOnCredit(
  client: ControlClient,
  { id, name }: z.infer<typeof tenant>,
): Promise<string> {
  const { plan } = tenantPlan.parse(await client.call('GET', `/api/v1/tenants/${id}/plan`))
  if (!plan?.prepaid) return ''
  const upfront = plan.upfrontCreditNanos ?? '100000000000'
  const [amount] = renderMoney(upfront, plan.currency).split(' ')
  return `\nIt is prepaid: without credit, its requests are refused. Next: colonnade credit grant --tenant ${name} --amount ${amount}`
}
