/** `colonnade project …`: what a tenant's keys belong to. */
import type { z } from 'zod'
import type { Cli, CliCommand } from './command.ts'
import { chooseProject, chooseTenant, listAll, project } from './identity-rows.ts'

export const projectCommand: CliCommand = {
  register(program, cli) {
    const projects = program
      .command('project')
      .description('projects: create, list, rename, archive, restore')
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
            `Project ${made.name} is ${made.id}. Next: colonnade key create --tenant ${tenant.name} --project ${made.name} --name NAME`,
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
    for (const [verb, state, description, told] of [
      [
        'archive',
        'archived',
        'archive a project: its keys stop working',
        'is archived; its keys stop working within 5 seconds',
      ],
      [
        'restore',
        'active',
        'bring an archived project back, and its keys',
        'is active; its keys work within 5 seconds',
      ],
    ] as const) {
      projects
        .command(verb)
        .argument('<project>', 'id or name')
        .option('--tenant <tenant>', 'id or name; the only one when left out')
        .description(description)
        .action(async (wanted: string, options: { tenant?: string }) => {
          const changed = await change(cli, wanted, options, { state })
          cli.result(changed, () => `${changed.name} ${told}.`)
        })
    }
    projects
      .command('rename')
      .argument('<project>', 'id or name')
      .argument('<name>', 'its new name')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('rename a project')
      .action(async (wanted: string, name: string, options: { tenant?: string }) => {
        const changed = await change(cli, wanted, options, { name })
        cli.result(changed, () => `${changed.id} is ${changed.name} from now on.`)
      })
  },
}

async function change(
  cli: Cli,
  wanted: string,
  options: { tenant?: string },
  body: { readonly state?: 'active' | 'archived'; readonly name?: string },
): Promise<z.infer<typeof project>> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const { id } = await chooseProject(client, tenant.id, wanted)
  return project.parse(
    await client.call('PATCH', `/api/v1/tenants/${tenant.id}/projects/${id}`, body),
  )
}
