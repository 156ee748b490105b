/** What an operator does at the command line, and what it means for clients; with two gateways on one port. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks } from './books.ts'
import { descendantsOf } from './processes.ts'
import { root } from './platform.ts'
import { startWithStub, type StubbedPlatform } from './stubbed-platform.ts'
import { until } from './until.ts'

const commandTimeoutMs = 30_000
/** What the product promises for a changed key, on every gateway. */
const keyChangeMaxMs = 5_000
const quick = 'stub/quick:1'

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-cli-'))
let platform: StubbedPlatform

beforeAll(async () => {
  platform = await startWithStub(dataDirectory, { args: ['--gateways', '2'] })
})

afterAll(async () => {
  await platform.stop()
  rmSync(dataDirectory, { recursive: true, force: true })
})

interface Ran {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

function colonnade(...args: readonly string[]): Promise<Ran> {
  const launcher = join(root, 'bin/colonnade.mjs')
  return new Promise((resolve) => {
    const options = { cwd: root, timeout: commandTimeoutMs }
    execFile(
      process.execPath,
      [launcher, ...args, '--data', dataDirectory],
      options,
      (error, stdout, stderr) => {
        const code = error?.code
        resolve({ exitCode: error ? (typeof code === 'number' ? code : 1) : 0, stdout, stderr })
      },
    )
  })
}

/** The one JSON document that a command prints under `--json`. */
async function json<Result>(...args: readonly string[]): Promise<Result> {
  const ran = await colonnade(...args, '--json')
  expect(ran.exitCode, ran.stderr + ran.stdout).toBe(0)
  // The shape is what each test then checks.
  return JSON.parse(ran.stdout) as Result
}

/** The status of a small request, on a connection of its own, so that the kernel may choose either gateway. */
async function statusWith(apiKey: string, model = quick): Promise<number> {
  const response = await fetch(`${platform.apiUrl}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      connection: 'close',
    },
    body: JSON.stringify({
      model,
      max_completion_tokens: 1,
      messages: [{ role: 'user', content: 'tick' }],
    }),
  })
  await response.text()
  return response.status
}

/** Several connections, so that both gateways are asked. */
async function statusesWith(apiKey: string): Promise<readonly number[]> {
  return Promise.all(Array.from({ length: 12 }, () => statusWith(apiKey)))
}

interface MadeKey {
  readonly secret: string
  readonly key: { readonly id: string }
}

test('two gateways share the port', () => {
  const gateways = descendantsOf(platform.supervisorPid).filter(({ command }) =>
    command.endsWith('main.ts gateway'),
  )
  expect(gateways).toHaveLength(2)
})

test('a new key works, its model list holds, and a revoked one is refused everywhere within 5 s', async () => {
  const made = await json<MadeKey>('key', 'create', '--name', 'short-lived', '--models', quick)
  await until('the key works on both gateways', keyChangeMaxMs, async () =>
    (await statusesWith(made.secret)).every((status) => status === 200),
  )
  expect(await statusWith(made.secret, 'stub/steady:1')).toBe(404)

  await json('key', 'revoke', made.key.id)
  await until('the key is refused on both gateways', keyChangeMaxMs, async () =>
    (await statusesWith(made.secret)).every((status) => status === 401),
  )
})

test('a rotated key has two secrets that work during the overlap', async () => {
  const made = await json<MadeKey>('key', 'create', '--name', 'rotated')
  const next = await json<MadeKey>('key', 'rotate', made.key.id)
  expect(next.secret).not.toBe(made.secret)
  await until('both work', keyChangeMaxMs, async () => {
    const statuses = [...(await statusesWith(made.secret)), ...(await statusesWith(next.secret))]
    return statuses.every((status) => status === 200)
  })
})

test('usage adds up to the ledger to the nano-unit, in every grouping', async () => {
  const books = await openBooks(dataDirectory)
  try {
    await until('nothing is on its way', 20_000, async () => {
      const known = new Set((await books.usage()).map((row) => row.requestId))
      return [...platform.engine.truth.keys()].every((id) => known.has(id))
    })
    const { charged } = await books.sums()
    expect(charged).toBeGreaterThan(0n)
    for (const by of ['model', 'key', 'day', 'hour', 'project', 'tenant']) {
      const report = await json<{
        data: readonly { amountNanos: string }[]
        totals: readonly { amountNanos: string }[]
      }>('usage', '--by', by)
      const sum = (rows: readonly { amountNanos: string }[]): bigint =>
        rows.reduce((total, row) => total + BigInt(row.amountNanos), 0n)
      expect(sum(report.data), `by ${by}`).toBe(charged)
      expect(sum(report.totals), `totals by ${by}`).toBe(charged)
    }
  } finally {
    await books.close()
  }
})

test('every change is in the audit log, and its chain verifies', async () => {
  const entries = JSON.stringify(await json('audit', 'list', '--last', '100'))
  for (const action of ['keys.create', 'keys.revoke', 'keys.rotate', 'engines.create']) {
    expect(entries).toContain(action)
  }
  expect(entries).not.toMatch(/cln_[ka]_(?:live|test)_/)
  expect((await colonnade('audit', 'verify')).exitCode).toBe(0)
})

test('an entry that was changed behind our back breaks the chain', async () => {
  const books = await openBooks(dataDirectory)
  try {
    // What an attacker with the database's own rights could do.
    const change = async (text: string): Promise<void> => {
      await books.query('ALTER TABLE audit_entries DISABLE TRIGGER ALL')
      await books.query('ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY')
      await books.query(text)
      await books.query('ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY')
      await books.query('ALTER TABLE audit_entries ENABLE TRIGGER ALL')
    }
    await change("UPDATE audit_entries SET payload = payload || ' ' WHERE sequence = 2")
    expect((await colonnade('audit', 'verify')).exitCode).toBe(1)
    await change('UPDATE audit_entries SET payload = rtrim(payload) WHERE sequence = 2')
    expect((await colonnade('audit', 'verify')).exitCode).toBe(0)
  } finally {
    await books.close()
  }
})

test('doctor finds a running installation well', async () => {
  const findings = await json<readonly { name: string; ok: boolean; detail: string }[]>('doctor')
  expect(findings.filter((finding) => !finding.ok)).toEqual([])
})

test('a taken port is said so, with what to do', async () => {
  const port = new URL(platform.apiUrl).port
  const other = mkdtempSync(join(tmpdir(), 'colonnade-port-'))
  const launcher = join(root, 'bin/colonnade.mjs')
  const ran = await new Promise<Ran>((resolve) => {
    execFile(
      process.execPath,
      [launcher, 'serve', '--data', other, '--port', port],
      { cwd: root, timeout: commandTimeoutMs },
      (error, stdout, stderr) => resolve({ exitCode: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
  rmSync(other, { recursive: true, force: true })
  expect(ran.exitCode).toBe(1)
  expect(ran.stdout + ran.stderr).toContain(`Port ${port}`)
  expect(ran.stdout + ran.stderr).toContain('--port')
})

test.each([
  { args: ['--help'], says: 'serve' },
  { args: ['key', '--help'], says: 'rotate' },
  { args: ['model', '--help'], says: 'pull' },
])('$args explains itself', async ({ args, says }) => {
  const ran = await colonnade(...args)
  expect(ran.exitCode).toBe(0)
  expect(ran.stdout).toContain(says)
})

test('a wrong command ends with 1 and says where help is', async () => {
  const ran = await colonnade('kye', 'create')
  expect(ran.exitCode).not.toBe(0)
  expect(ran.stderr).toContain('--help')
})
