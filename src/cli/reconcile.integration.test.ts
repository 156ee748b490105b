/** The command against a control API with real books. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'

let platform: ControlPlatform
let url: string

beforeAll(async () => {
  platform = await startControlPlatform()
  url = await platform.app.listen({ host: '127.0.0.1', port: 0 })
}, 90_000)
afterAll(() => platform.close())

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function reconcile(...args: string[]): Promise<Ended> {
  const main = join(import.meta.dirname, '../main.ts')
  const token = platform.actor('platform', 'auditor').secret
  const argv = [main, 'reconcile', '--control-url', url, '--token', token, ...args]
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    )
  })
}

test('books that agree are shown side by side, and the command ends with 0', async () => {
  const { code, stdout } = await reconcile('--from', '2026-05-01', '--to', '2026-05-02T10:20:00Z')
  expect(code).toBe(0)
  expect(stdout).toContain('2026-05-01T00:00:00.000Z to 2026-05-02T11:00:00.000Z')
  expect(stdout).toMatch(/^engines\s+0\s+0/m)
})

test('books that differ are named, end the command with 1, and are listed until they agree', async () => {
  const owner = new pg.Client({ connectionString: platform.ownerUrl })
  await owner.connect()
  await owner.query(
    `INSERT INTO ledger_accounts (id, kind, currency, balance_nanos) VALUES ('revenue:EUR', 'revenue', 'EUR', 7)`,
  )
  const before = await platform.lastAuditSequence()
  const told = await reconcile('--thorough')
  expect(told.code).toBe(1)
  expect(told.stdout).toContain('DIFFERS  balance revenue:EUR')
  expect(told.stderr).toContain('The books differ in 2 places, 2 of them new.')
  expect(await platform.auditEntries(before)).toMatchObject([
    { action: 'reconciliation.run', details: { findings: 2, newFindings: 2, thorough: true } },
  ])
  const json = await reconcile('--json')
  expect(JSON.parse(json.stdout)).toMatchObject({ newFindings: 0, findings: [{ key: 'sum EUR' }] })

  const list = async (): Promise<unknown> => {
    const token = platform.actor('platform', 'auditor').secret
    const path = '/reconciliation/findings'
    return (await platform.call({ method: 'GET', path, token })).body
  }
  expect(await list()).toMatchObject({
    data: [{ key: 'balance revenue:EUR', kind: 'balance', hour: null }, { key: 'sum EUR' }],
    hasMore: false,
  })
  await owner.query(`UPDATE ledger_accounts SET balance_nanos = 0`)
  await owner.end()
  expect((await reconcile('--thorough')).code).toBe(0)
  expect(await list()).toEqual({ data: [], hasMore: false })
})
