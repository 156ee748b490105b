/** Providers and places through the control API, on real PostgreSQL, with a server that stands in for a provider's list of models. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  startControlPlatform,
  type Answer,
  type ControlPlatform,
} from '../../test/control-platform.ts'
import { loadReplicaRecords } from '../fleet/fleet.ts'

const goodKey = 'sk-ant-made-up-1'
const otherKey = 'sk-ant-made-up-2'
const awsKey = 'AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
let asked: { readonly path: string; readonly headers: Readonly<Record<string, unknown>> }[] = []
let status = 200
const service = createServer((request, response) => {
  asked.push({ path: request.url ?? '', headers: request.headers })
  const isKnown = [goodKey, otherKey].includes(String(request.headers['x-api-key']))
  const isAws = String(request.headers.authorization).startsWith('AWS4-HMAC-SHA256 Credential=')
  response.statusCode = isKnown || isAws ? status : 401
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ data: [{ id: 'claude-1' }], modelSummaries: [] }))
})
let platform: ControlPlatform
let url = ''
beforeAll(async () => {
  platform = await startControlPlatform()
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
})
afterAll(async () => {
  await platform?.close()
  service.closeAllConnections()
  service.close()
})

const asOperator = (method: string, path: string, body?: unknown): Promise<Answer> =>
  platform.call({ method, path, body, token: platform.actor('platform', 'operator').secret })

const wish = () => ({
  kind: 'anthropic',
  url,
  key: goodKey,
  models: ['claude-1'],
  location: 'US',
})

test('nothing is connected, and nobody may be sent anywhere, until somebody says so', async () => {
  expect((await asOperator('GET', '/engines')).body.data).toEqual([])
  expect((await asOperator('GET', `/tenants/${platform.own.id}`)).body.allowedLocations).toEqual([])
})

test('a provider is connected with its place and its settings; its key is tried, sealed, and never shown', async () => {
  asked = []
  const before = await platform.lastAuditSequence()
  const made = await asOperator('POST', '/engines', {
    ...wish(),
    name: 'claude',
    settings: { outputTokens: '64000' },
  })
  expect(made.status).toBeLessThan(300)
  expect(made.body.data).toMatchObject([
    { modelId: 'claude', engineModel: 'claude-1', location: 'US', operator: 'anthropic' },
  ])
  expect(asked).toMatchObject([
    { path: '/v1/models', headers: { 'x-api-key': goodKey, 'anthropic-version': '2023-06-01' } },
  ])
  const shown = await asOperator('GET', '/engines')
  expect(shown.body.data).toMatchObject([
    { engineKind: 'anthropic', location: 'US', operator: 'anthropic', baseUrl: url },
  ])
  expect(made.text + shown.text).not.toContain(goodKey)

  const [record] = await platform.run(loadReplicaRecords)
  expect(record).toMatchObject({ location: 'US', settings: { outputTokens: '64000' } })
  const stored = await platform.run((tx) =>
    sql<{ text: string }>`SELECT replicas::text AS text FROM replicas`.execute(tx),
  )
  expect(stored.rows[0]?.text).not.toContain(goodKey)
  expect(stored.rows[0]?.text).not.toContain(Buffer.from(goodKey).toString('hex'))

  const entries = await platform.auditEntries(before)
  expect(entries).toMatchObject([
    {
      action: 'engines.create',
      details: {
        kind: 'anthropic',
        models: ['claude'],
        withKey: true,
        location: 'US',
        operator: 'anthropic',
        settings: { outputTokens: '64000' },
      },
    },
  ])
  expect(JSON.stringify(entries)).not.toContain(goodKey)
})

test('adding it again renews the key and the settings of the same engine', async () => {
  const [before] = await platform.run(loadReplicaRecords)
  const again = await asOperator('POST', '/engines', { ...wish(), name: 'claude', key: otherKey })
  expect(again.body.data[0].id).toBe(before?.id)
  const [after] = await platform.run(loadReplicaRecords)
  expect(after?.sealedKey).not.toBe(before?.sealedKey)
  expect(after).not.toHaveProperty('settings')
})

test.each([
  ['a key that is not accepted', { key: 'sk-ant-wrong-key' }, undefined, 502],
  ['no key', { key: undefined }, 'key', 400],
  ['no place', { location: undefined }, 'location', 400],
  ['a place of our own', { location: 'local' }, 'location', 400],
  ['no models', { models: undefined }, 'models', 400],
  ['plain HTTP', { url: 'http://api.anthropic.example' }, 'url', 400],
  ['a key inside the address', { url: 'https://u:p@api.anthropic.com' }, 'url', 400],
  ['a setting that it has not', { settings: { region: 'x' } }, 'settings', 400],
  ['a setting that is wrong', { settings: { thinking: 'often' } }, 'settings', 400],
  ['no region for AWS', { kind: 'bedrock', key: awsKey }, 'settings', 400],
  [
    'a key that is none of AWS',
    { kind: 'bedrock', key: 'AKIASECRET', settings: { region: 'eu-west-3' } },
    'key',
    400,
  ],
  ['a key file without a region', { kind: 'vertex', key: '{"type":"x"}' }, 'key', 400],
  [
    'a key file that is none',
    { kind: 'vertex', key: '{"type":"x"}', settings: { region: 'europe-west9' } },
    'key',
    400,
  ],
  ['no address where there is none to know', { kind: 'hugging-face', url: undefined }, 'url', 400],
])('%s is refused, and the key is not repeated', async (_what, change, param, expected) => {
  const body = { ...wish(), ...change }
  const refused = await asOperator('POST', '/engines', body)
  expect(refused.status).toBe(expected)
  if (param !== undefined) expect(refused.body.error.param).toBe(param)
  if (body.key !== undefined) expect(refused.text).not.toContain(body.key)
})

test('an endpoint that sleeps is connected all the same, and AWS by a list on its other host', async () => {
  status = 503
  const sleeping = await asOperator('POST', '/engines', { ...wish(), name: 'sleeping' })
  expect(sleeping.status).toBeLessThan(300)
  status = 200
  asked = []
  const aws = await asOperator('POST', '/engines', {
    ...wish(),
    kind: 'bedrock',
    key: awsKey,
    name: 'on-aws',
    settings: { region: 'eu-west-3' },
    location: 'FR',
  })
  expect(aws.body.data).toMatchObject([{ operator: 'aws', location: 'FR' }])
  expect(asked.map(({ path }) => path)).toEqual(['/foundation-models'])
})

test('a server of our own needs no place over plain HTTP, and one behind TLS needs one', async () => {
  const server = { url: platform.engineUrl, name: 'house' }
  const own = await asOperator('POST', '/engines', server)
  expect(own.body.data).toMatchObject([{ location: 'local', operator: 'own' }])
  const away = await asOperator('POST', '/engines', { ...server, url: 'https://127.0.0.1:9' })
  expect(away).toMatchObject({ status: 400, body: { error: { param: 'location' } } })
  const set = await asOperator('POST', '/engines', { ...server, settings: { region: 'x' } })
  expect(set).toMatchObject({ status: 400, body: { error: { param: 'settings' } } })
})

test('where prompts may go is set, shown, audited, and known to gateways; tenants cannot widen it themselves', async () => {
  const path = `/tenants/${platform.own.id}`
  const before = await platform.lastAuditSequence()
  const changed = await asOperator('PATCH', path, { allowedLocations: ['FR', 'EU', 'FR'] })
  expect(changed.body.allowedLocations).toEqual(['EU', 'FR'])
  expect((await asOperator('GET', path)).body.allowedLocations).toEqual(['EU', 'FR'])
  expect(await platform.auditEntries(before)).toMatchObject([
    { action: 'tenants.update', details: { allowedLocations: ['FR', 'EU', 'FR'] } },
  ])
  const change = await platform.run((tx) =>
    sql<{
      kind: string
      id: string
    }>`SELECT kind, id FROM snapshot_changes ORDER BY version DESC LIMIT 1`.execute(tx),
  )
  expect(change.rows).toEqual([{ kind: 'tenant', id: platform.own.id }])

  for (const wrong of [['local'], ['france'], ['F'], 'FR'])
    expect((await asOperator('PATCH', path, { allowedLocations: wrong })).status).toBe(400)
  const owner = platform.actor('tenant', 'owner').secret
  const own = await platform.call({
    method: 'PATCH',
    path,
    body: { allowedLocations: ['US'] },
    token: owner,
  })
  expect(own.status).toBe(403)
  expect((await asOperator('PATCH', path, { allowedLocations: [] })).body.allowedLocations).toEqual(
    [],
  )
})
