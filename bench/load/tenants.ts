/** Ten thousand tenants with a hundred thousand keys that work, put straight into the embedded database of a platform. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { existingSecrets, secretPath } from '../../src/app/secrets.ts'
import { createSecret, digestSecret } from '../../src/identity/api-key.ts'

export interface Tenants {
  readonly tenants: number
  readonly keys: number
  /** Each tenant on a plan with requests per minute, output tokens per hour, an amount per month, and an amount per month for each key. */
  readonly limited: boolean
}

/** Far beyond what a bench can spend: it measures what limits cost, not what they refuse. */
const rules = [
  ['tenant', 'requests', 'minute', 100_000n],
  ['tenant', 'output_tokens', 'hour', 100_000_000n],
  ['tenant', 'amount', 'month', 1_000_000_000_000n],
  ['key', 'amount', 'month', 100_000_000_000n],
] as const
const batch = 10_000

/** Returns the path of a file with a secret in each line. */
export async function seedTenants(dataDirectory: string, wish: Tenants): Promise<string> {
  const client = new pg.Client({ connectionString: embeddedUrl(dataDirectory) })
  await client.connect()
  try {
    if (wish.limited) await insertPlan(client)
    await insertTenants(client, wish)
    const secrets = await insertSecrets(client, dataDirectory, wish)
    await client.query('ANALYZE')
    const file = join(dataDirectory, 'bench-keys.txt')
    writeFileSync(file, `${secrets.join('\n')}\n`, { mode: 0o600 })
    return file
  } finally {
    await client.end()
  }
}

async function insertPlan(client: pg.Client): Promise<void> {
  await client.query("INSERT INTO plans (id, name, rank) VALUES ('bench', 'Bench', 1000)")
  for (const [index, [per, measure, window, limit]] of rules.entries()) {
    await client.query(
      `INSERT INTO limit_rules (id, plan_id, per, measure, time_window, limit_value) VALUES ($1, 'bench', $2, $3, $4, $5)`,
      [`lim_${String(index).padStart(16, '0')}`, per, measure, window, limit],
    )
  }
}

async function insertTenants(client: pg.Client, wish: Tenants): Promise<void> {
  await client.query(
    `INSERT INTO tenants (id, name, currency, price_list_id, plan_id)
     SELECT 'ten_' || lpad(i::text, 16, '0'), 'Bench ' || i, list.currency, list.id, $2
     FROM generate_series(0, $1::int - 1) AS i, (SELECT id, currency FROM price_lists WHERE id = 'standard') AS list`,
    [wish.tenants, wish.limited ? 'bench' : null],
  )
  await client.query(
    `INSERT INTO projects (tenant_id, id, name)
     SELECT 'ten_' || lpad(i::text, 16, '0'), 'prj_' || lpad(i::text, 16, '0'), 'bench' FROM generate_series(0, $1::int - 1) AS i`,
    [wish.tenants],
  )
  await client.query(
    `INSERT INTO api_keys (tenant_id, project_id, id, name)
     SELECT 'ten_' || lpad((i % $1)::text, 16, '0'), 'prj_' || lpad((i % $1)::text, 16, '0'), 'key_' || lpad(i::text, 16, '0'), 'bench ' || i
     FROM generate_series(0, $2::int - 1) AS i`,
    [wish.tenants, wish.keys],
  )
}

async function insertSecrets(
  client: pg.Client,
  dataDirectory: string,
  wish: Tenants,
): Promise<readonly string[]> {
  const { peppers, pepperVersion } = existingSecrets(secretPath({ dataDirectory }))
  const pepper = peppers.get(pepperVersion)
  if (!pepper) throw new Error('the platform has no pepper')
  const secrets = Array.from({ length: wish.keys }, () => createSecret('k', 'live'))
  for (let from = 0; from < secrets.length; from += batch) {
    const some = secrets.slice(from, from + batch)
    await client.query(
      `INSERT INTO api_key_secrets (tenant_id, api_key_id, public_id, digest, pepper_version, hint)
       SELECT 'ten_' || lpad((i % $1)::text, 16, '0'), 'key_' || lpad(i::text, 16, '0'), public_id, decode(digest, 'hex'), $2, hint
       FROM unnest($3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS made (public_id, digest, hint, place),
         LATERAL (SELECT $6::int + place - 1 AS i) AS number`,
      [
        wish.tenants,
        pepperVersion,
        some.map(({ publicId }) => publicId),
        some.map(({ secret }) => digestSecret(pepper, secret).toString('hex')),
        some.map(({ hint }) => hint),
        from,
      ],
    )
  }
  return secrets.map(({ secret }) => secret)
}

function embeddedUrl(dataDirectory: string): string {
  // PostgreSQL's own lock file; its fifth line is the folder of the socket.
  const lock = readFileSync(join(dataDirectory, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')
  const socketDirectory = lock.split('\n')[4] ?? ''
  return `postgresql://colonnade_owner@localhost/colonnade?host=${encodeURIComponent(socketDirectory)}`
}
