/** `colonnade key …`: the API keys that applications present. */
import { z } from 'zod'
import { parseSecret, secretPattern } from '../identity/api-key.ts'
import { systemClock } from '../platform/clock.ts'
import { CliError, type Cli, type CliCommand, type ControlClient } from './command.ts'
import { choose, chooseProject, chooseTenant, key, listAll, type KeyRow } from './identity-rows.ts'
import { parseMoment } from './moment.ts'

const withSecret = z.object({ key, secret: z.string() })
const day = 86_400_000

interface KeyOptions {
  readonly tenant?: string
  readonly project?: string
  readonly name?: string
  readonly models?: readonly string[]
  readonly ips?: readonly string[]
  readonly expires?: string
  readonly lift?: readonly string[]
  readonly overlapDays?: string
}

export const keyCommand: CliCommand = {
  register(program, cli) {
    const keys = program
      .command('key')
      .description('API keys: create, list, update, rotate, revoke, verify')
    keys
      .command('create')
      .option('--name <name>', "what it is for; the project's name when left out")
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .option('--project <project>', 'id or name; the only one when left out')
      .option('--models <id...>', 'only these models')
      .option('--ips <cidr...>', 'only from these addresses')
      .option('--expires <when>', 'such as 2027-01-31 or 90d')
      .description('create an API key and show its secret, once')
      .action((options: KeyOptions) => create(cli, options))
    keys
      .command('list')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .description('list the API keys of a tenant')
      .action((options: KeyOptions) => list(cli, options))
    keys
      .command('update')
      .argument('<key>', 'id or name')
      .option('--tenant <tenant>', 'id or name; the only one when left out')
      .option('--name <name>', 'a new name')
      .option('--models <id...>', 'only these models')
      .option('--ips <cidr...>', 'only from these addresses')
      .option('--expires <when>', 'such as 2027-01-31 or 90d')
      .option('--lift <limit...>', 'take limits away: models, ips, expires')
      .description('change the name or the limits of a key')
      .action((wanted: string, options: KeyOptions) => update(cli, wanted, options))
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
      .argument(
        '[secret]',
        'read from standard input when left out, which keeps it out of the history',
      )
      .description('tell offline whether a text is a key of this format, by its checksum')
      .action(async (secret: string | undefined) => verify(cli, secret ?? (await readInput())))
    keys
      .command('pattern')
      .description('print the regular expression by which scanners find leaked secrets')
      .action(() => cli.result({ pattern: secretPattern.source }, () => secretPattern.source))
  },
}

async function create(cli: Cli, options: KeyOptions): Promise<void> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const project = await chooseProject(client, tenant.id, options.project)
  const made = withSecret.parse(
    await client.call('POST', `/api/v1/tenants/${tenant.id}/keys`, {
      projectId: project.id,
      name: options.name ?? project.name,
      ...toLimits(options),
    }),
  )
  cli.result(
    made,
    () =>
      `${made.secret}\n\nThis is the only time that the secret is shown. The key is ${made.key.id}; it works within 5 seconds.`,
  )
}

function toLimits(options: KeyOptions): Readonly<Record<string, unknown>> {
  return {
    allowedModels: options.models,
    allowedIps: options.ips,
    expiresAt: options.expires && parseMoment(options.expires, '--expires', systemClock),
  }
}

const lifted: Readonly<Record<string, Readonly<Record<string, null>>>> = {
  models: { allowedModels: null },
  ips: { allowedIps: null },
  expires: { expiresAt: null },
}

async function update(cli: Cli, wanted: string, options: KeyOptions): Promise<void> {
  const lifts = (options.lift ?? []).map((limit) => {
    const change = lifted[limit]
    if (!change) throw new CliError(`--lift takes models, ips or expires: not "${limit}".`)
    return change
  })
  const client = await cli.control()
  const { path } = await find(client, wanted, options)
  const body = Object.assign({ name: options.name, ...toLimits(options) }, ...lifts)
  const changed = key.parse(await client.call('PATCH', path, body))
  cli.result(changed, () => `${changed.name} is changed; gateways know within 5 seconds.`)
}

async function list(cli: Cli, options: KeyOptions): Promise<void> {
  const client = await cli.control()
  const tenant = await chooseTenant(client, options.tenant)
  const rows = await listAll(client, `/api/v1/tenants/${tenant.id}/keys`, key)
  const cells = rows.map((row) => [
    row.id,
    row.name,
    row.secrets
      .filter((secret) => !isPast(secret.expiresAt))
      .map((secret) => `…${secret.hint}`)
      .join(' '),
    stateOf(row),
    row.allowedModels?.join(' ') ?? 'any',
    row.allowedIps?.join(' ') ?? 'any',
    row.lastUsedAt?.slice(0, 16).replace('T', ' ') ?? 'never',
  ])
  cli.result(rows, () =>
    cli.table(['ID', 'NAME', 'SECRET', 'STATE', 'MODELS', 'FROM', 'LAST USED'], cells),
  )
}

function stateOf(row: KeyRow): string {
  if (row.revokedAt) return 'revoked'
  if (!row.expiresAt) return 'active'
  return `${isPast(row.expiresAt) ? 'expired' : 'until'} ${row.expiresAt.slice(0, 10)}`
}

function isPast(moment: string | null): boolean {
  return moment !== null && Date.parse(moment) <= systemClock.nowMs()
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
      `${made.secret}\n\nThis is the only time that the secret is shown. ${days === 0 ? 'All earlier ones end now.' : `The old one works for ${days} more days.`}`,
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
  const rows = await listAll(client, `/api/v1/tenants/${tenant.id}/keys`, key)
  // A name means the living key; a revoked one is still found by its id.
  const row = choose(
    rows.filter((each) => each.id === wanted || !each.revokedAt),
    wanted,
    'key',
  )
  return { path: `/api/v1/tenants/${tenant.id}/keys/${row.id}` }
}

const inputBytesMax = 10_000

async function readInput(): Promise<string> {
  let text = ''
  for await (const chunk of process.stdin) {
    text += String(chunk)
    if (text.length > inputBytesMax) throw new CliError('That is too long for a secret.')
  }
  return text.trim()
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
