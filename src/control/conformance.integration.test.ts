/** Runs of the conformance suite, from the control API to the catalogue that gateways hold, on real PostgreSQL. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { loadCatalogRecords } from '../catalog/catalog.ts'
import { createCatalogue } from '../catalog/catalogue.ts'
import { runsMax } from '../conformance/run.ts'

let platform: ControlPlatform
beforeAll(async () => {
  platform = await startControlPlatform()
  await asOperator('POST', '/engines', { url: platform.engineUrl, name: 'house' })
})
afterAll(() => platform?.close())

async function asOperator(method: string, path: string, body?: unknown) {
  const { secret } = platform.actor('platform', 'operator')
  return await platform.call({ method, path, token: secret, body })
}

const check = { id: 'chat.n', title: 'n choices', required: true, result: 'passed', durationMs: 12 }
const run = {
  suiteVersion: '2026-01-01',
  programVersion: '1.2.3',
  startedAt: '2026-01-01T00:00:00.000Z',
  finishedAt: '2026-01-01T00:01:00.000Z',
  checks: [
    check,
    { ...check, id: 'tools.named', required: false, result: 'failed', why: 'no tool was called' },
    { ...check, id: 'headers.rate-limit', result: 'skipped', why: 'no limit concerns this key' },
  ],
}
const badge = {
  verdict: 'partial',
  date: run.finishedAt,
  suiteVersion: '2026-01-01',
  passed: 1,
  failed: 1,
  skipped: 1,
  engineKinds: ['openai-compatible'],
}
const path = '/models/house/conformance'

async function badgeInGateways(): Promise<unknown> {
  const records = await platform.run((tx) => loadCatalogRecords(tx))
  return createCatalogue(records).resolve('house')?.conformance
}

test('a model that was never checked has no badge', async () => {
  expect((await asOperator('GET', '/models/house')).body.conformance).toBeNull()
  expect(await badgeInGateways()).toBeUndefined()
})

test('a run that is kept is the badge of the model, for operators and for gateways, and is in the audit log', async () => {
  const last = await platform.lastAuditSequence()
  const answer = await asOperator('POST', path, run)
  expect(answer.status, answer.text).toBe(200)
  const { verdict, passed, failed, skipped, engineKinds } = badge
  expect(answer.body).toEqual({
    modelId: 'house',
    ...run,
    verdict,
    passed,
    failed,
    skipped,
    engineKinds,
  })
  expect((await asOperator('GET', '/models/house')).body.conformance).toEqual(badge)
  const { data } = (await asOperator('GET', '/models?id=house')).body
  expect(data[0].conformance).toEqual(badge)
  expect(await badgeInGateways()).toEqual(badge)
  expect(await platform.auditEntries(last)).toMatchObject([
    {
      action: 'conformance.record',
      resource: 'house',
      details: { verdict, suiteVersion: '2026-01-01', passed, failed, skipped },
    },
  ])
})

test('the verdict is worked out here, not taken over', async () => {
  const failing = { ...run, checks: [{ ...check, result: 'failed', why: 'one choice' }] }
  expect((await asOperator('POST', path, failing)).body.verdict).toBe('failed')
  expect((await asOperator('POST', path, { ...failing, verdict: 'passed' })).status).toBe(400)
})

test.each([
  ['a check without an id', { checks: [{ ...check, id: '' }] }],
  ['a long text', { checks: [{ ...check, why: 'x'.repeat(501) }] }],
  ['no check', { checks: [] }],
  ['more checks than a suite has', { checks: Array.from({ length: 201 }, () => check) }],
  ['an end before the beginning', { finishedAt: '2025-12-31T00:00:00.000Z' }],
])('%s is refused, and the badge stays', async (_what, change) => {
  const before = await badgeInGateways()
  expect((await asOperator('POST', path, { ...run, ...change })).status).toBe(400)
  expect(await badgeInGateways()).toEqual(before)
})

test('a model that is not there keeps no run', async () => {
  const answer = await asOperator('POST', '/models/nobody/conformance', run)
  expect(answer.status).toBe(404)
  expect((await asOperator('GET', '/models/nobody/conformance')).status).toBe(404)
})

test(`the last ${runsMax} runs are kept, the newest first`, async () => {
  for (let count = 0; count < runsMax + 2; count += 1) {
    await asOperator('POST', path, { ...run, programVersion: `2.0.${count}` })
  }
  const { data } = (await asOperator('GET', path)).body
  expect(data).toHaveLength(runsMax)
  expect(data[0].programVersion).toBe(`2.0.${runsMax + 1}`)
  expect(data.at(-1).programVersion).toBe('2.0.2')
})

test('weights from another place lose the badge, and a model that goes takes its runs along', async () => {
  const weightSources = ['file:/models/a.gguf']
  await asOperator('POST', '/models', { id: 'mine', weightSources })
  await asOperator('POST', '/models/mine/conformance', run)
  expect((await asOperator('GET', '/models/mine')).body.conformance).not.toBeNull()
  await asOperator('POST', '/models/mine/enable', { weightSources: ['file:/models/b.gguf'] })
  expect((await asOperator('GET', '/models/mine')).body.conformance).toBeNull()
  expect((await asOperator('GET', '/models/mine/conformance')).body.data).toHaveLength(1)
  expect((await asOperator('DELETE', '/models/mine')).status).toBe(200)
  await asOperator('POST', '/models', { id: 'mine', weightSources })
  expect((await asOperator('GET', '/models/mine/conformance')).body.data).toEqual([])
})
