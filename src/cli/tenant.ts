/** `colonnade tenant …`: the customers or departments that use the platform. */
import type { CliCommand } from './command.ts'
import { chooseTenant, listAll, tenant } from './identity-rows.ts'

export const tenantCommand: CliCommand = {
  register(program, cli) {
    const tenants = program
      .command('tenant')
      .description('tenants: create, list, update, suspend, resume')
    tenants
      .command('create')
      .argument('<name>')
      .option('--price-list <id>', 'price list', 'standard')
      .description('create a tenant')
      .action(async (name: string, options: { priceList: string }) => {
        const client = await cli.control()
        const made = tenant.parse(
          await client.call('POST', '/api/v1/tenants', { name, priceListId: options.priceList }),
        )
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
          row.currency,
        ])
        cli.result(rows, () => cli.table(['ID', 'NAME', 'STATE', 'PRICE LIST', 'CURRENCY'], cells))
      })
    tenants
      .command('update')
      .argument('<tenant>', 'id or name')
      .option('--name <name>', 'a new name')
      .option('--price-list <id>', 'another price list of the same currency')
      .description('rename a tenant, or change its prices')
      .action(async (wanted: string, options: { name?: string; priceList?: string }) => {
        const client = await cli.control()
        const { id } = await chooseTenant(client, wanted)
        const body = { name: options.name, priceListId: options.priceList }
        const changed = tenant.parse(await client.call('PATCH', `/api/v1/tenants/${id}`, body))
        cli.result(changed, () => `${changed.name} has the price list ${changed.priceListId}.`)
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
