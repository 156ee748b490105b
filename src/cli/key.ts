/** `colonnade key …`: the API keys that applications present. */
import { z } from 'zod'
import { parseSecret } from '../identity/api-key.ts'
import { CliError, type Cli, type CliCommand, type ControlClient } from './command.ts'
import { choose, chooseProject, chooseTenant, key, listAll, type KeyRow } from './identity-rows.ts'

const withSecret = z.object({ key, secret: z.string() })
const day = 86_400_000

interface KeyOptions {
  readonly tenant?: string
  readonly project?: string
  readonly name?: string
  readonly models?: readonly string[]
  readonly ips?: readonly string[]
  readonly expires?: string
  readonly overlapDays?: string
}

export const keyCommand: CliCommand = {
  register(program, cli) {
    const keys = program
      .command('key')
      .description('API keys: create, list, rotate, revoke, verify')
    keys
      .command('create')
      .requiredOption('--name <name>', 'what it is for')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .option('--project <project>', 'id or name; the only one when left out')
      .option('--models <id...>', 'only these models')
      .option('--ips <cidr...>', 'only from these addresses')
      .option('--expires <date>', 'ISO date or moment')
      .description('create an API key and show its secret, once')
      .action((options: KeyOptions) => create(cli, options))
    keys
      .command('list')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('list the API keys of a tenant')
      .action((options: KeyOptions) => list(cli, options))
    keys
      .command('rotate')
      .argument('<key>', 'id or name')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .option('--overlap-days <days>', 'how long the old secret works on', '7')
      .description('give a key a new secret; the old one works on for a while')
      .action((wanted: string, options: KeyOptions) => rotate(cli, wanted, options))
    keys
      .command('revoke')
      .argument('<key>', 'id or name')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('end a key, everywhere within 5 seconds')
      .action((wanted: string, options: KeyOptions) => revoke(cli, wanted, options))
    keys
      .command('verify')
      .argument('<secret>')
      .description('tell offline whether a text is a key of this format, by its checksum')
      .action((secret: string) => verify(cli, secret))
  },
}

async function create(cli: Cli, options: KeyOptions): Promise<void> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const project = await chooseProject(client, tenant.id, options.project)
  const made = withSecret.parse(
    await client.call('POST', `/api/v1/tenants/${tenant.id}/keys`, {
      projectId: project.id,
      name: options.name,
      ...(options.models ? { allowedModels: options.models } : {}),
      ...(options.ips ? { allowedIps: options.ips } : {}),
      ...(options.expires ? { expiresAt: options.expires } : {}),
    }),
  )
  cli.result(
    made,
    () =>
      `${made.secret}\n\nThis is the only time that the secret is shown. The key is ${made.key.id}; it works within 5 seconds.`,
  )
}

async function list(cli: Cli, options: KeyOptions): Promise<void> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const rows = await listAll(client, `/api/v1/tenants/${tenant.id}/keys`, key)
  const cells = rows.map((row) => [
    row.id,
    row.name,
    row.secrets.map((secret) => `…${secret.hint}`).join(' '),
    stateOf(row),
    row.allowedModels?.join(' ') ?? 'any',
    row.lastUsedAt?.slice(0, 16).replace('T', ' ') ?? 'never',
  ])
  cli.result(rows, () => cli.table(['ID', 'NAME', 'SECRET', 'STATE', 'MODELS', 'LAST USED'], cells))
}

function stateOf(row: KeyRow): string {
  if (row.revokedAt) return 'revoked'
  return row.expiresAt ? `until ${row.expiresAt.slice(0, 10)}` : 'active'
}

async function rotate(cli: Cli, wanted: string, options: KeyOptions): Promise<void> {
  const client = await cli.control()
  const { path } = await find(client, wanted, options)
  const days = Number(options.overlapDays)
  if (!(days >= 0 && days <= 30)) throw new CliError('--overlap-days takes 0 to 30.')
  const made = withSecret.parse(
    await client.call('POST', `${path}/rotate`, { overlapMs: Math.round(days * day) }),
  )
  cli.result(
    made,
    () =>
      `${made.secret}\n\nThis is the only time that the secret is shown. The old one works for ${days} more days.`,
  )
}

async function revoke(cli: Cli, wanted: string, options: KeyOptions): Promise<void> {
  const client = await cli.control()
  const { path } = await find(client, wanted, options)
  const ended = key.parse(await client.call('POST', `${path}/revoke`))
  cli.result(ended, () => `${ended.name} is revoked; no gateway takes it after 5 seconds.`)
}

async function find(
  client: ControlClient,
  wanted: string,
  options: KeyOptions,
): Promise<{ path: string }> {
  const tenant = await chooseTenant(client, options.tenant)
  const row = choose(await listAll(client, `/api/v1/tenants/${tenant.id}/keys`, key), wanted, 'key')
  return { path: `/api/v1/tenants/${tenant.id}/keys/${row.id}` }
}

function verify(cli: Cli, secret: string): void {
  const parsed = parseSecret(secret)
  if (!parsed) process.exitCode = 1
  const what = parsed?.type === 'a' ? 'an access token' : 'an API key'
  cli.result({ valid: parsed !== undefined, ...parsed }, () =>
    parsed
      ? `The checksum is right: ${what} (${parsed.environment}), public id ${parsed.publicId}. Whether it is still valid, only the platform knows.`
      : 'Not a secret of Colonnade: the format or the checksum is wrong.',
  )
}
