/** What is kept of a tenant's responses: set by the command and the control API, audited, and made known to gateways. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { operatorAt, runCommand } from '../../test/cli-for-tests.ts'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { loadKeyRecords } from '../identity/identity.ts'
import { CliError } from './command.ts'
import { tenantCommand } from './tenant.ts'

let platform: ControlPlatform
beforeAll(async () => {
  platform = await startControlPlatform()
})
afterAll(() => platform?.close())

const run = (line: string): Promise<string> =>
  runCommand([tenantCommand], line.split(' '), operatorAt(platform))

const gatewaysKnow = async (): Promise<number | undefined> =>
  (await platform.run(loadKeyRecords)).tenant(platform.own.id)?.responsesKeptDays

test('responses are kept as long as an operator says, who sees it, and gateways hear of it', async () => {
  const { id } = platform.own
  expect(await run(`tenant get ${id}`)).toMatch(/responses are kept +not at all/)
  expect(await gatewaysKnow()).toBeUndefined()
  const before = await platform.lastAuditSequence()
  expect(await run(`tenant update ${id} --keep-responses 7`)).toContain(
    'Its responses are kept 7 days; gateways know within 5 seconds.',
  )
  expect(await run(`tenant get ${id}`)).toMatch(/responses are kept +7 days/)
  expect(await gatewaysKnow()).toBe(7)
  const change = await platform.run((tx) =>
    sql<{
      kind: string
      id: string
    }>`SELECT kind, id FROM snapshot_changes ORDER BY version DESC LIMIT 1`.execute(tx),
  )
  expect(change.rows).toEqual([{ kind: 'tenant', id }])
  // What else is changed leaves it alone.
  await run(`tenant update ${id} --own-machines-only`)
  expect(await gatewaysKnow()).toBe(7)
  expect(await run(`tenant update ${id} --no-keep-responses`)).toContain('kept not at all')
  expect(await gatewaysKnow()).toBeUndefined()
  expect(await platform.auditEntries(before)).toMatchObject([
    { action: 'tenants.update', details: { responsesKeptDays: 7 } },
    { action: 'tenants.update', details: { allowedLocations: [] } },
    { action: 'tenants.update', details: { responsesKeptDays: null } },
  ])
})

test('no other time can be set, and no tenant sets it by itself', async () => {
  const { id } = platform.own
  for (const wrong of ['0', '31', '1.5', 'ever'])
    await expect(run(`tenant update ${id} --keep-responses ${wrong}`)).rejects.toThrow(CliError)
  const patch = (responsesKeptDays: unknown, token: string) =>
    platform.call({ method: 'PATCH', path: `/tenants/${id}`, body: { responsesKeptDays }, token })
  for (const wrong of [0, 31, 1.5, '7', true])
    expect((await patch(wrong, platform.actor('platform', 'operator').secret)).status).toBe(400)
  expect((await patch(7, platform.actor('tenant', 'owner').secret)).status).toBe(403)
  expect(await gatewaysKnow()).toBeUndefined()
})
