/** What docs/failure-modes.md says of each process that dies, with `kill -9`. The gateway's own death is in test/kill. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks } from './books.ts'
import { openStream } from './open-stream.ts'
import { startPlatform } from './platform.ts'
import { descendantsOf, isAlive, isKnown } from './processes.ts'
import { startWithStub, type StubbedPlatform } from './stubbed-platform.ts'
import { until } from './until.ts'

const quick = 'stub/quick:1'
const restartTimeoutMs = 30_000
/** Progress is durable every second, which is 20 tokens of the steady engine; some more were on their way. */
const lostTokensMax = 32

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-deaths-'))
let platform: StubbedPlatform

beforeAll(async () => {
  platform = await startWithStub(dataDirectory)
})

afterAll(async () => {
  await platform.stop()
  rmSync(dataDirectory, { recursive: true, force: true })
})

/** Kills the role, and resolves when another process has its place. */
async function kill(role: 'control' | 'postgres' | 'agent'): Promise<() => Promise<void>> {
  const pid = platform.roleProcess(role)
  process.kill(pid, 'SIGKILL')
  await until(`${role} is dead`, 5_000, () => !isAlive(pid))
  return async () => {
    await until(`${role} is back`, restartTimeoutMs, () => platform.roleProcess(role) !== pid)
  }
}

async function billed(
  requestId: string,
  directory = dataDirectory,
): Promise<{ outcome: string; outputTokens: number }> {
  const books = await openBooks(directory)
  try {
    return await until(`${requestId} is in the ledger`, 30_000, async () =>
      (await books.usage()).find((row) => row.requestId === requestId),
    )
  } finally {
    await books.close()
  }
}

test.each([
  { role: 'control', named: 'control' },
  { role: 'agent', named: 'agent' },
  { role: 'postgres', named: 'database' },
] as const)(
  '$named dies: streams go on, new requests are served meanwhile, it comes back, and the bill is exact',
  async ({ role, named }) => {
    const stream = await openStream(platform, 40)
    const back = await kill(role)
    const during = await platform.chat(quick, 3)
    expect(during.status).toBe(200)
    expect(await stream.ended).toContain('[DONE]')
    await back()
    await until('the control API answers', restartTimeoutMs, () =>
      platform.control('GET', '/api/v1/tenants').then(() => true),
    )
    expect(await billed(stream.requestId)).toMatchObject({ outcome: 'completed', outputTokens: 40 })
    const duringId = during.headers.get('x-request-id') ?? ''
    expect(await billed(duringId)).toMatchObject({ outcome: 'completed', outputTokens: 3 })
    const told = platform.events.filter((event) => event['role'] === named)
    expect(told.map((event) => event.event)).toEqual(['role-stopped', 'role-restarted'])
  },
  90_000,
)

test('the supervisor dies: streams end whole, its roles end after them, and the next start has the bill and all data', async () => {
  const stream = await openStream(platform, 60)
  const roles = (['gateway', 'control', 'agent'] as const).map((role) => platform.roleProcess(role))
  process.kill(platform.supervisorPid, 'SIGKILL')
  expect(await stream.ended).toContain('[DONE]')
  for (const pid of roles) {
    await until(`process ${pid} ended`, restartTimeoutMs, () => !isAlive(pid))
  }

  const second = await startPlatform({ dataDirectory })
  try {
    expect(second.ready.apiKey).toBeUndefined()
    expect(second.ready.adminToken).toBeUndefined()
    expect(await billed(stream.requestId)).toMatchObject({ outcome: 'completed', outputTokens: 60 })
    const response = await fetch(`${second.ready.apiUrl}/models`, {
      headers: { authorization: `Bearer ${platform.apiKey}` },
    })
    expect(response.status).toBe(200)
  } finally {
    await second.stop()
  }
}, 120_000)

test('the whole machine stops at once: the next start settles what was open from its last durable progress', async () => {
  const own = mkdtempSync(join(tmpdir(), 'colonnade-power-'))
  const first = await startWithStub(own)
  const stream = await openStream(first, 2_000)
  await until('two windows of progress', 20_000, () => stream.text().split('tick').length > 40)
  const all = [
    first.child.pid ?? 0,
    first.supervisorPid,
    ...descendantsOf(first.supervisorPid).map((entry) => entry.pid),
  ]
  for (const pid of all) process.kill(pid, 'SIGKILL')
  expect(await stream.ended).not.toContain('[DONE]')

  // A machine that comes back has no zombies of before.
  await until('all are reaped', restartTimeoutMs, () => !all.some(isKnown))

  const second = await startPlatform({ dataDirectory: own })
  try {
    const row = await billed(stream.requestId, own)
    const emitted = first.engine.truth.get(stream.requestId)?.[0]?.outputTokens ?? 0
    expect(row.outcome).toBe('crashed')
    expect(row.outputTokens).toBeGreaterThan(0)
    expect(row.outputTokens).toBeLessThanOrEqual(emitted)
    expect(emitted - row.outputTokens).toBeLessThanOrEqual(lostTokensMax)
  } finally {
    await second.stop()
    await first.stop()
    rmSync(own, { recursive: true, force: true })
  }
}, 120_000)
