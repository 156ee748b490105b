/** What holds for every operation: the border of the API, its errors, its audit entries, its documentation. */
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { verifyChain, type AuditRow } from '../audit/audit.ts'
import { createReceiptSigner } from '../billing/receipt.ts'
import { detectKind } from '../engines/detect.ts'
import { findAdapter } from '../engines/registry.ts'
import { createAnswerBook } from '../idempotency/answers.ts'
import { createKeyDirectory } from '../identity/key-directory.ts'
import { loadKeyRecords } from '../identity/identity.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase } from '../platform/postgres/database.ts'
import { createSeal } from '../platform/seal.ts'
import { createControl } from './control.ts'

let platform: ControlPlatform
let token: string
beforeAll(async () => {
  platform = await startControlPlatform()
  token = platform.actor('platform', 'operator').secret
})
afterAll(() => platform?.close())

const call = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => platform.call({ method, path, body, token, ...(headers ? { headers } : {}) })

/** What a request leaves: its answer, the entries that it made, and whether it changed anything. */
async function observe(...request: Parameters<typeof call>) {
  const before = await platform.fingerprint()
  const last = await platform.lastAuditSequence()
  const answer = await call(...request)
  const entries = await platform.auditEntries(last)
  return { answer, entries, changed: (await platform.fingerprint()) !== before }
}

test('a key is made, used, rotated and revoked; its secret is in one answer, and never in the audit log', async () => {
  const path = `/tenants/${platform.own.id}/keys`
  const expiresAt = '2100-01-01T00:00:00+02:00'
  const last = await platform.lastAuditSequence()
  const made = await call('POST', path, {
    projectId: platform.own.projectId,
    name: 'web',
    allowedIps: ['10.1.2.3/8'],
    expiresAt,
  })
  expect(made.status, made.text).toBe(200)
  expect(made.body.key).toMatchObject({
    allowedIps: ['10.0.0.0/8'],
    expiresAt: '2099-12-31T22:00:00.000Z',
    allowedModels: null,
  })
  const accepts = async (secret: string): Promise<string> => {
    const directory = createKeyDirectory(
      await platform.run(loadKeyRecords),
      new Map([[platform.pepper.version, platform.pepper.key]]),
    )
    return directory.authenticate({ secret, ip: '10.9.9.9', nowMs: Date.now() }).outcome
  }
  const { id } = made.body.key
  expect(await accepts(made.body.secret)).toBe('accepted')
  const rotated = await call('POST', `${path}/${id}/rotate`, { overlapMs: 60_000 })
  expect([await accepts(made.body.secret), await accepts(rotated.body.secret)]).toEqual([
    'accepted',
    'accepted',
  ])
  expect(rotated.body.key.secrets).toHaveLength(2)
  await call('POST', `${path}/${id}/revoke`)
  expect([await accepts(made.body.secret), await accepts(rotated.body.secret)]).toEqual([
    'refused',
    'refused',
  ])

  const entries = await platform.auditEntries(last)
  expect(entries.map((entry) => entry['action'])).toEqual([
    'keys.create',
    'keys.rotate',
    'keys.revoke',
  ])
  expect(entries[0]).toMatchObject({
    tenantId: platform.own.id,
    resource: id,
    outcome: 'done',
    ip: '127.0.0.1',
    details: { name: 'web', expiresAt: '2099-12-31T22:00:00.000Z' },
  })
  const seen = JSON.stringify(entries) + (await call('GET', path)).text
  for (const secret of [made.body.secret, rotated.body.secret]) {
    expect(seen).not.toContain(secret.slice(-30, -4))
  }
})

test.each([
  ['an unknown field', { name: 'x', isAdmin: true }, 'isAdmin'],
  ['a missing field', {}, 'name'],
  ['a wrong type', { name: 7 }, 'name'],
  ['an empty name', { name: '   ' }, 'name'],
  ['a long name', { name: 'x'.repeat(201) }, 'name'],
])('%s is refused by its name, without effect, and the attempt is told', async (_, body, param) => {
  const { answer, entries, changed } = await observe('POST', '/tenants', body)
  expect(answer.status).toBe(400)
  expect(answer.body.error).toMatchObject({
    type: 'client',
    code: 'client.invalid_request',
    param,
  })
  expect(changed).toBe(false)
  expect(entries).toMatchObject([{ action: 'tenants.create', outcome: 'refused' }])
})

test('a body where none belongs is refused', async () => {
  const path = `/tenants/${platform.own.id}/keys/${platform.own.apiKeyId}/revoke`
  const { answer, changed } = await observe('POST', path, { force: true })
  expect(answer.body.error).toMatchObject({ code: 'client.invalid_request', param: 'force' })
  expect(changed).toBe(false)
})

test.each([
  ['not JSON', '{"name": ', 400, 'client.invalid_json'],
  ['a forbidden key', '{"name":"x","__proto__":{"isAdmin":true}}', 400, 'client.invalid_json'],
  ['a key given twice', '{"name":"x","name":"y"}', 400, 'client.invalid_json'],
  ['a pit', '['.repeat(10_000), 400, 'client.invalid_json'],
  ['an array', '[]', 400, 'client.invalid_request'],
  ['a text', '"x"', 400, 'client.invalid_request'],
  ['nothing', 'null', 400, 'client.invalid_request'],
  ['a NUL character', '{"name":"a\\u0000b"}', 400, 'client.invalid_request'],
  ['more than 1 MiB', `{"name":"${'x'.repeat(1024 * 1024)}"}`, 413, 'client.body_too_large'],
])(
  'a body that is %s is refused with its code, and nothing of it is quoted',
  async (_, body, status, code) => {
    const { answer, changed } = await observe('POST', '/tenants', body)
    expect(answer.status, answer.text).toBe(status)
    expect(answer.body.error.code).toBe(code)
    expect(answer.text.length).toBeLessThan(500)
    expect(changed).toBe(false)
  },
)

test('another content type than JSON is refused', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    const answer = await call('POST', '/tenants', 'name=x', { 'content-type': type })
    expect(answer.status).toBe(415)
  }
})

test.each([
  ['keys', { expiresAt: '2001-01-01' }],
  ['keys', { expiresAt: 'tomorrow' }],
  ['keys', { expiresAt: true }],
  ['keys', { expiresAt: '0001-01-01T00:00:00Z' }],
  ['keys', { allowedIps: ['10.0.0.0/33'] }],
  ['keys', { allowedIps: [] }],
  ['keys', { allowedModels: [''] }],
  ['tokens', { role: 'operator' }],
  ['tokens', { role: 'owner', expiresAt: 1 }],
])('for %s the value %j is refused, not misread', async (what, change) => {
  const base = what === 'keys' ? { projectId: platform.own.projectId, name: 'x' } : { name: 'x' }
  const path = `/tenants/${platform.own.id}/${what}`
  const { answer, changed } = await observe('POST', path, { ...base, ...change })
  expect(answer.body.error?.code, answer.text).toBe('client.invalid_request')
  expect(changed).toBe(false)
})

test('a change that fails half way leaves nothing but the entry of its refusal', async () => {
  const { answer, entries, changed } = await observe('POST', '/tenants', { name: 'own' })
  expect(answer.status).toBe(409)
  expect(changed).toBe(false)
  expect(entries).toMatchObject([
    {
      action: 'tenants.create',
      outcome: 'refused',
      tenantId: null,
      details: { code: 'client.conflict' },
    },
  ])
})

test('who tries to rise above their own rights is refused, and found in the log', async () => {
  const owner = platform.actor('tenant', 'owner')
  const last = await platform.lastAuditSequence()
  const answer = await platform.call({
    method: 'POST',
    path: '/tokens',
    body: { name: 'mine', role: 'operator' },
    token: owner.secret,
  })
  expect(answer.status).toBe(403)
  expect(await platform.auditEntries(last)).toMatchObject([
    { actor: owner.tokenId, outcome: 'refused', details: { code: 'auth.permission_denied' } },
  ])
})

test('the key of an application opens nothing here', async () => {
  const answer = await platform.call({
    method: 'GET',
    path: `/tenants/${platform.own.id}`,
    token: platform.own.apiKeySecret,
  })
  expect(answer.status).toBe(401)
})

test.each([
  'evil.example',
  'evil.example:8081',
  'localhost.evil.example',
  '127.0.0.1.evil.example',
  'notlocalhost',
  'x.control.example',
  'control.example.',
])(
  'a page of somebody else that points its name %s at us gets nothing, not even the documentation',
  async (host) => {
    for (const url of [
      '/api/v1/tenants',
      '/docs',
      '/api/v1/openapi.json',
      '/metrics',
      '/nowhere',
      '/',
    ]) {
      const answer = await platform.app.inject({
        method: 'GET',
        url,
        headers: { host, authorization: `Bearer ${token}` },
      })
      expect(answer.statusCode, url).toBe(421)
      expect(answer.json().error.code).toBe('client.misdirected_host')
    }
  },
)

test.each(['localhost', 'LOCALHOST:8081', '127.0.0.1:1', '[::1]:8081', 'control.example:443'])(
  'the host %s is ours',
  async (host) => {
    const answer = await platform.app.inject({ method: 'GET', url: '/health', headers: { host } })
    expect(answer.statusCode).toBe(200)
  },
)

test('every answer names its request, and the audit entry names the same', async () => {
  const { answer, entries } = await observe('POST', '/tenants', { name: 'with an id' })
  expect(answer.headers['x-request-id']).toMatch(/^req_[0-9A-Za-z]{16}$/)
  expect(entries[0]?.['requestId']).toBe(answer.headers['x-request-id'])
  const given = await call('GET', '/tenants', undefined, {
    'x-request-id': 'mine',
    'request-id': 'mine',
  })
  expect(given.headers['x-request-id']).not.toBe('mine')
})

test('an unknown route says where the description is', async () => {
  const answer = await call('GET', '/nowhere?secret=x')
  expect(answer.status).toBe(404)
  expect(answer.body.error).toMatchObject({ code: 'client.route_not_found', type: 'client' })
  expect(answer.text).not.toContain('secret')
})

test('answers are kept by no cache, guessed at by no browser, and framed by no page', async () => {
  const { headers } = await call('GET', '/tenants')
  expect(headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  })
})

test('pages follow one another by the last id, within their bounds', async () => {
  for (let n = 0; n < 5; n += 1)
    await call('POST', `/tenants/${platform.own.id}/projects`, { name: `p${n}` })
  const path = `/tenants/${platform.own.id}/projects`
  const all = (await call('GET', path)).body
  const names: string[] = []
  let after = ''
  for (let pages = 0; pages < 10; pages += 1) {
    const page = (await call('GET', `${path}?limit=2&after=${after}`)).body
    names.push(...page.data.map((project: { name: string }) => project.name))
    after = page.data.at(-1)?.id
    if (!page.hasMore) break
  }
  expect(names).toEqual(all.data.map((project: { name: string }) => project.name))
  for (const limit of ['0', '-1', '501', '1.5', 'x', '1e9']) {
    expect((await call('GET', `${path}?limit=${limit}`)).status).toBe(400)
  }
})

test('the whole log, read by pages with its head, is an intact chain', async () => {
  const rows: AuditRow[] = []
  for (;;) {
    const { body: page } = await call('GET', `/audit?limit=7&after=${rows.at(-1)?.sequence ?? 0}`)
    rows.push(...page.data)
    if (page.hasMore) continue
    expect(verifyChain(rows)).toEqual({ outcome: 'intact', head: page.head })
    return
  }
})

test("a tenant's log holds what concerns it, and nothing of another tenant", async () => {
  const owner = platform.actor('tenant', 'owner')
  await call('POST', `/tenants/${platform.other.id}/projects`, { name: 'secret plan' })
  const path = `/tenants/${platform.own.id}/audit?limit=1000`
  const seen = await platform.call({ method: 'GET', path, token: owner.secret })
  expect(seen.body.data.length).toBeGreaterThan(0)
  const tenants = seen.body.data.map((row: { payload: string }) => JSON.parse(row.payload).tenantId)
  expect(new Set(tenants)).toEqual(new Set([platform.own.id]))
  expect(seen.text).not.toContain('secret plan')
})

test('without the database the answer is 503 in time, and health goes on', async () => {
  const database = openDatabase({
    url: 'postgres://nobody:x@127.0.0.1:9/none',
    connectionsMax: 1,
    statementTimeoutMs: 1_000,
    applicationName: 'test',
    onError: () => {},
  })
  const app = createControl({
    database,
    deps: {
      clock: systemClock,
      pepper: platform.pepper,
      seal: createSeal(Buffer.alloc(32)),
      receipts: createReceiptSigner(Buffer.alloc(32)),
      findAdapter,
      detectKind,
    },
    answers: createAnswerBook(Buffer.alloc(32), createSeal(Buffer.alloc(32))),
    peppers: new Map(),
    log: createLogger('control', 'silent'),
    hostNames: [],
  })
  const headers = { authorization: `Bearer ${token}` }
  const answer = await app.inject({ method: 'GET', url: '/api/v1/tenants', headers })
  expect(answer.statusCode).toBe(503)
  expect(answer.json().error).toMatchObject({ code: 'platform.database_unavailable' })
  expect(answer.payload).not.toContain('127.0.0.1')
  expect((await app.inject('/ready')).statusCode).toBe(503)
  expect((await app.inject('/health')).statusCode).toBe(200)
  await app.close()
  await database.close()
})

test('the documentation page takes all it needs from this server, and runs no script of its own text', async () => {
  const page = await platform.app.inject('/docs')
  expect(page.statusCode).toBe(200)
  expect(page.headers['content-security-policy']).toMatch(/default-src 'none'; script-src 'self';/)
  expect(page.payload).not.toMatch(/https?:|<script>|\son\w+=/)
  const files = [...page.payload.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url ?? '')
  expect(files).toHaveLength(3)
  for (const url of files) {
    expect((await platform.app.inject(url)).statusCode, url).toBe(200)
  }
  expect((await platform.app.inject('/docs/start.js')).payload).not.toMatch(/https?:/)
  expect((await platform.app.inject('/')).headers['location']).toBe('/docs')
})

test.each([
  'package.json',
  'index.html',
  'swagger-ui.js',
  '../package.json',
  '..%2fpackage.json',
  '%2e%2e/package.json',
  'swagger-ui.css/../package.json',
])('the documentation serves its files alone, and not %s', async (path) => {
  expect((await platform.app.inject(`/docs/${path}`)).statusCode).toBe(404)
})

test('the description is served to everybody who may reach the page', async () => {
  const answer = await platform.app.inject('/api/v1/openapi.json')
  expect(answer.json()).toMatchObject({ openapi: '3.1.0', security: [{ token: [] }] })
})

test('the metrics count calls by operation, and faults by code', async () => {
  await call('GET', '/tenants/ten_nobody')
  const { payload } = await platform.app.inject('/metrics')
  expect(payload).toMatch(
    /colonnade_control_requests_total\{operation="tenants.get",status="404"\} [1-9]/,
  )
  expect(payload).toMatch(/colonnade_errors_total\{code="client.not_found"\} [1-9]/)
})

test('two framings of one body, a header too large, and a request that is none are closed, not guessed at', async () => {
  await platform.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = platform.app.server.address() as AddressInfo
  const raw = (text: string): Promise<string> =>
    new Promise((resolve) => {
      let answer = ''
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      socket.setEncoding('utf8')
      socket.on('data', (chunk: string) => {
        answer += chunk
      })
      socket.on('error', () => resolve(answer))
      socket.on('close', () => resolve(answer))
    })
  const head = `POST /api/v1/tenants HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nConnection: close\r\n`
  const before = await platform.fingerprint()
  for (const request of [
    `${head}Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{"name":"smug"}`,
    `${head}Content-Length: 15\r\nContent-Length: 16\r\n\r\n{"name":"smug"}`,
    `${head}X-Large: ${'x'.repeat(17_000)}\r\n\r\n`,
    'GARBAGE\r\n\r\n',
  ]) {
    expect((await raw(request)).slice(0, 15)).toMatch(/^HTTP\/1.1 4(00|31)/)
  }
  expect(await platform.fingerprint()).toBe(before)
})
