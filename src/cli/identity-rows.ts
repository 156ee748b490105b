/** Tenants, projects and keys as the control API answers them, and the way from a name to an id. */
import { z } from 'zod'
import { CliError, type ControlClient } from './command.ts'

export const tenant = z.object({
  id: z.string(),
  name: z.string(),
  state: z.string(),
  priceListId: z.string(),
  currency: z.string(),
})
export const project = z.object({ id: z.string(), name: z.string(), state: z.string() })
export const key = z.object({
  id: z.string(),
  projectId: z.string(),
  name: z.string(),
  allowedModels: z.array(z.string()).nullable(),
  allowedIps: z.array(z.string()).nullable(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  secrets: z.array(z.object({ hint: z.string(), expiresAt: z.string().nullable() })),
})
export type KeyRow = z.infer<typeof key>

const pagesMax = 1_000

/** Every row of a list, page by page. */
export async function listAll<Row extends { readonly id: string }>(
  client: ControlClient,
  path: string,
  row: z.ZodType<Row>,
): Promise<Row[]> {
  const page = z.object({ data: z.array(row), hasMore: z.boolean() })
  const rows: Row[] = []
  for (let count = 0; count < pagesMax; count += 1) {
    const after = rows.at(-1)?.id
    const answer = page.parse(
      await client.call(
        'GET',
        `${path}?limit=500${after === undefined ? '' : `&after=${encodeURIComponent(after)}`}`,
      ),
    )
    rows.push(...answer.data)
    if (!answer.hasMore) break
  }
  return rows
}

/** The row of this id or name; without either, the only one there is. */
export function choose<Row extends { readonly id: string; readonly name: string }>(
  rows: readonly Row[],
  wanted: string | undefined,
  what: string,
): Row {
  const matching =
    wanted === undefined ? rows : rows.filter((row) => row.id === wanted || row.name === wanted)
  const [only, second] = matching
  if (only && !second) return only
  const names = rows
    .map((row) => row.name)
    .slice(0, 20)
    .join(', ')
  if (wanted === undefined && rows.length === 0)
    throw new CliError(`There is no ${what} yet. Create one: colonnade ${what} create NAME`)
  if (wanted === undefined)
    throw new CliError(`There are several ${what}s: say which with --${what}. They are: ${names}.`)
  throw new CliError(
    only
      ? `Several ${what}s are named '${wanted}'; give the id.`
      : `There is no ${what} '${wanted}'. There are: ${names || 'none'}.`,
  )
}

export async function chooseTenant(
  client: ControlClient,
  wanted: string | undefined,
): Promise<z.infer<typeof tenant>> {
  // Members of a tenant may read theirs, and cannot list all.
  if (wanted !== undefined && /^ten_[0-9A-Za-z]{16}$/.test(wanted))
    return tenant.parse(await client.call('GET', `/api/v1/tenants/${wanted}`))
  return choose(await listAll(client, '/api/v1/tenants', tenant), wanted, 'tenant')
}

export async function chooseProject(
  client: ControlClient,
  tenantId: string,
  wanted: string | undefined,
): Promise<z.infer<typeof project>> {
  return choose(
    await listAll(client, `/api/v1/tenants/${tenantId}/projects`, project),
    wanted,
    'project',
  )
}
