/** `colonnade project …`: what a tenant's keys belong to. */
import type { CliCommand } from './command.ts'
import { chooseProject, chooseTenant, listAll, project } from './identity-rows.ts'

export const projectCommand: CliCommand = {
  register(program, cli) {
    const projects = program.command('project').description('projects: create, list, archive')
    projects
      .command('create')
      .argument('<name>')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('create a project')
      .action(async (name: string, options: { tenant?: string }) => {
        const client = await cli.control()
        const tenant = await chooseTenant(client, options.tenant)
        const made = project.parse(
          await client.call('POST', `/api/v1/tenants/${tenant.id}/projects`, { name }),
        )
        cli.result(
          made,
          () =>
            `Project ${made.name} is ${made.id}. Next: colonnade key create --name NAME --project ${made.name}`,
        )
      })
    projects
      .command('list')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('list the projects of a tenant')
      .action(async (options: { tenant?: string }) => {
        const client = await cli.control()
        const tenant = await chooseTenant(client, options.tenant)
        const rows = await listAll(client, `/api/v1/tenants/${tenant.id}/projects`, project)
        cli.result(rows, () =>
          cli.table(
            ['ID', 'NAME', 'STATE'],
            rows.map((row) => [row.id, row.name, row.state]),
          ),
        )
      })
    projects
      .command('archive')
      .argument('<project>', 'id or name')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('archive a project: its keys stop working')
      .action(async (wanted: string, options: { tenant?: string }) => {
        const client = await cli.control()
        const tenant = await chooseTenant(client, options.tenant)
        const { id } = await chooseProject(client, tenant.id, wanted)
        const changed = project.parse(
          await client.call('PATCH', `/api/v1/tenants/${tenant.id}/projects/${id}`, {
            state: 'archived',
          }),
        )
        cli.result(
          changed,
          () => `${changed.name} is archived; its keys stop working within 5 seconds.`,
        )
      })
  },
}
