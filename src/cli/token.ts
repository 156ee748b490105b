/** `colonnade token …`: access tokens for the control API, for people and programs, of the platform or of a tenant. */
import { z } from 'zod'
import { systemClock } from '../platform/clock.ts'
import type { Cli, CliCommand, ControlClient } from './command.ts'
import { choose, chooseTenant, listAll } from './identity-rows.ts'
import { parseMoment } from './moment.ts'

const token = z.object({
  id: z.string(),
  name: z.string(),
  role: z.string(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
})
const made = z.object({ token, secret: z.string() })

export const tokenCommand: CliCommand = {
  register(program, cli) {
    const tokens = program
      .command('token')
      .description('access tokens for the control API: create, list, revoke')
    const scope = 'id or name; the platform itself when left out'
    tokens
      .command('create')
      .requiredOption('--name <name>', 'whose it is')
      .requiredOption(
        '--role <role>',
        'platform: operator, auditor, agent; tenant: owner, admin, developer, billing, auditor',
      )
      .option('--tenant <tenant>', scope)
      .option('--expires <when>', 'such as 2027-01-31 or 90d')
      .description('create an access token and show its secret, once')
      .action((options: { name: string; role: string; tenant?: string; expires?: string }) =>
        create(cli, options),
      )
    tokens
      .command('list')
      .option('--tenant <tenant>', scope)
      .description('list access tokens')
      .action(async (options: { tenant?: string }) => {
        const client = await cli.control()
        const rows = await listAll(client, await pathFor(client, options.tenant), token)
        const cells = rows.map((row) => [
          row.id,
          row.name,
          row.role,
          row.revokedAt ? 'revoked' : (row.expiresAt?.slice(0, 10) ?? 'active'),
        ])
        cli.result(rows, () => cli.table(['ID', 'NAME', 'ROLE', 'STATE'], cells))
      })
    tokens
      .command('revoke')
      .argument('<token>', 'id or name')
      .option('--tenant <tenant>', scope)
      .description('end an access token')
      .action(async (wanted: string, options: { tenant?: string }) => {
        const client = await cli.control()
        const path = await pathFor(client, options.tenant)
        const rows = await listAll(client, path, token)
        const row = choose(
          rows.filter((each) => each.id === wanted || !each.revokedAt),
          wanted,
          'token',
        )
        const ended = token.parse(await client.call('POST', `${path}/${row.id}/revoke`))
        cli.result(ended, () => `${ended.name} is revoked.`)
      })
  },
}

async function create(
  cli: Cli,
  options: { name: string; role: string; tenant?: string; expires?: string },
): Promise<void> {
  const client = await cli.control()
  const answer = made.parse(
    await client.call('POST', await pathFor(client, options.tenant), {
      name: options.name,
      role: options.role,
      expiresAt: options.expires && parseMoment(options.expires, '--expires', systemClock),
    }),
  )
  cli.result(
    answer,
    () =>
      `${answer.secret}\n\nThis is the only time that the secret is shown. The token is ${answer.token.id}.`,
  )
}

async function pathFor(client: ControlClient, tenant: string | undefined): Promise<string> {
  return tenant === undefined
    ? '/api/v1/tokens'
    : `/api/v1/tenants/${(await chooseTenant(client, tenant)).id}/tokens`
}
