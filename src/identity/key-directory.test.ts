import { expect, test } from 'vitest'
import { createSecret, digestSecret } from './api-key.ts'
import { createKeyDirectory } from './key-directory.ts'
import { createKeyRecords, type KeyRecord } from './key-records.ts'

const nowMs = 1_000_000
const peppers = new Map([
  [1, Buffer.alloc(32, 1)],
  [2, Buffer.alloc(32, 2)],
])
const ip = '192.0.2.7'

function make(change: Partial<KeyRecord> = {}): { readonly secret: string; record: KeyRecord } {
  const { secret, publicId } = createSecret('k', 'live')
  const pepperVersion = change.pepperVersion ?? 1
  const digest = digestSecret(peppers.get(pepperVersion) ?? Buffer.alloc(32), secret)
  const record: KeyRecord = {
    publicId,
    digest: digest.toString('base64'),
    pepperVersion,
    apiKeyId: 'key_a',
    tenantId: 'ten_a',
    projectId: 'prj_a',
    revoked: false,
    ...change,
  }
  return { secret, record }
}

/** Of one active tenant with one active project, and another tenant that is suspended, with an archived project. */
function directoryOf(...keys: readonly KeyRecord[]) {
  const facts = { currency: 'EUR', priceListId: 'standard' }
  return createKeyDirectory(
    createKeyRecords({
      keys,
      tenants: [
        { ...facts, id: 'ten_a', active: true },
        { ...facts, id: 'ten_b', active: false },
      ],
      projects: [
        { id: 'prj_a', active: true },
        { id: 'prj_b', active: false },
      ],
    }),
    peppers,
  )
}

function authenticate(
  change: Partial<KeyRecord>,
  request: { readonly secret?: string; readonly ip?: string } = {},
) {
  const { secret, record } = make(change)
  return directoryOf(record).authenticate({ secret, ip, nowMs, ...request })
}

test('a live key is accepted as its tenant, project and key, and nobody else', () => {
  const { secret, record } = make({ allowedModels: ['a'] })
  const directory = directoryOf(make({ tenantId: 'ten_b' }).record, record)
  expect(directory.authenticate({ secret, ip, nowMs })).toEqual({
    outcome: 'accepted',
    principal: {
      tenantId: 'ten_a',
      projectId: 'prj_a',
      apiKeyId: 'key_a',
      currency: 'EUR',
      priceListId: 'standard',
      allowedModels: ['a'],
      allowedLocations: [],
    },
  })
})

test('unknown, wrong, expired, replaced, revoked and suspended keys get one and the same answer', () => {
  const known = make()
  const sameIdOtherSecret = createSecret('k', 'live').secret
  const answers = [
    authenticate({}, { secret: createSecret('k', 'live').secret }),
    authenticate({ digest: Buffer.alloc(32).toString('base64') }),
    authenticate({ expiresAtMs: nowMs }),
    authenticate({ secretExpiresAtMs: nowMs }),
    authenticate({ revoked: true }),
    authenticate({ tenantId: 'ten_b' }),
    authenticate({ tenantId: 'ten_unknown' }),
    authenticate({ projectId: 'prj_b' }),
    authenticate({ projectId: 'prj_unknown' }),
    authenticate({}, { secret: 'cln_k_live_nonsense' }),
    authenticate({}, { secret: createSecret('a', 'live').secret }),
    directoryOf().authenticate({ secret: known.secret, ip, nowMs }),
    directoryOf(known.record).authenticate({
      secret: sameIdOtherSecret,
      ip,
      nowMs,
    }),
  ]
  expect(
    answers.map((answer) => (answer.outcome === 'refused' ? answer.code : 'accepted')),
  ).toEqual(answers.map(() => 'auth.invalid_key'))
})

test('an access token of the control API is no API key, even with a digest that fits', () => {
  const { secret, publicId } = createSecret('a', 'live')
  const digest = digestSecret(Buffer.alloc(32, 1), secret).toString('base64')
  expect(authenticate({ publicId, digest }, { secret })).toMatchObject({ code: 'auth.invalid_key' })
})

test('no key at all is told apart, so that a client with an unset variable sees why', () => {
  expect(authenticate({}, { secret: '' })).toMatchObject({ code: 'auth.missing_key' })
})

test('an end lies at its moment: a millisecond before, the key still works', () => {
  expect(authenticate({ expiresAtMs: nowMs + 1 }).outcome).toBe('accepted')
  expect(authenticate({ secretExpiresAtMs: nowMs + 1 }).outcome).toBe('accepted')
})

test('during a rotation both secrets work, and after it the new one alone', () => {
  const old = make({ secretExpiresAtMs: nowMs + 10 })
  const fresh = make()
  const directory = directoryOf(old.record, fresh.record)
  const outcomes = (atMs: number) =>
    [old, fresh].map(({ secret }) => directory.authenticate({ secret, ip, nowMs: atMs }).outcome)
  expect(outcomes(nowMs + 9)).toEqual(['accepted', 'accepted'])
  expect(outcomes(nowMs + 10)).toEqual(['refused', 'accepted'])
})

test('secrets of an older pepper work beside those of the newest, and one without its pepper does not', () => {
  expect(authenticate({ pepperVersion: 2 }).outcome).toBe('accepted')
  expect(authenticate({ pepperVersion: 3 })).toMatchObject({ code: 'auth.invalid_key' })
})

test('a key that belongs to a missing pepper is not opened by the pepper of zeros', () => {
  const { secret, publicId } = createSecret('k', 'live')
  const digest = digestSecret(Buffer.alloc(32), secret).toString('base64')
  expect(authenticate({ publicId, digest, pepperVersion: 9 }, { secret }).outcome).toBe('refused')
})

test.each([
  ['192.0.2.7', ['192.0.2.0/24'], true],
  ['::ffff:192.0.2.7', ['192.0.2.0/24'], true],
  ['192.0.3.7', ['192.0.2.0/24'], false],
  ['2001:db8::1', ['192.0.2.0/24', '2001:db8::/32'], true],
  ['2001:db9::1', ['2001:db8::/32'], false],
  ['192.0.2.7', ['::/0'], false],
  ['2001:db8::1', ['0.0.0.0/0'], false],
  ['not an address', ['0.0.0.0/0'], false],
  ['', ['0.0.0.0/0', '::/0'], false],
  ['192.0.2.7', ['damaged'], false],
])('from %s with the list %j: %s', (from, allowedIps, isAllowed) => {
  const answer = authenticate({ allowedIps }, { ip: from })
  expect(answer.outcome).toBe(isAllowed ? 'accepted' : 'refused')
  if (!isAllowed) expect(answer).toMatchObject({ code: 'auth.ip_not_allowed' })
})

test('a wrong secret from a wrong address learns nothing about addresses', () => {
  const wrong = createSecret('k', 'live').secret
  const answer = authenticate({ allowedIps: ['10.0.0.0/8'] }, { secret: wrong })
  expect(answer).toMatchObject({ code: 'auth.invalid_key' })
})

test('a directory made from records that went through JSON decides alike', () => {
  const { secret, record } = make({ allowedIps: ['192.0.2.0/24'], expiresAtMs: nowMs + 1 })
  const copy: KeyRecord = JSON.parse(JSON.stringify(record))
  const directory = directoryOf(copy)
  expect(directory.authenticate({ secret, ip, nowMs }).outcome).toBe('accepted')
  expect(directory.authenticate({ secret, ip, nowMs: nowMs + 1 }).outcome).toBe('refused')
})

test('refusals never quote the secret', () => {
  const { secret } = make()
  for (const answer of [authenticate({}, { secret }), authenticate({}, { secret: `${secret}x` })]) {
    expect(JSON.stringify(answer)).not.toContain(secret.slice(-30))
  }
})

test('work that a key asked for earlier goes on as long as the key lives, through a rotation, from no address at all', () => {
  const allowedIps = ['203.0.113.0/24']
  const old = make({ secretExpiresAtMs: nowMs, allowedIps, allowedModels: ['a'] })
  const fresh = make({ allowedIps, allowedModels: ['a'] })
  const directory = directoryOf(old.record, fresh.record)
  expect(directory.recall('key_a', nowMs)).toMatchObject({
    outcome: 'accepted',
    principal: { apiKeyId: 'key_a', tenantId: 'ten_a', projectId: 'prj_a', allowedModels: ['a'] },
  })
})

test.each([
  ['revoked', { revoked: true }],
  ['expired', { expiresAtMs: nowMs }],
  ['of a suspended tenant', { tenantId: 'ten_b' }],
  ['of an archived project', { projectId: 'prj_b' }],
  ['without a valid secret', { secretExpiresAtMs: nowMs }],
] as const)('a key that is %s has nothing done any more', (_, change) => {
  const directory = directoryOf(make(change).record)
  expect(directory.recall('key_a', nowMs)).toMatchObject({ outcome: 'refused' })
  expect(directory.recall('key_other', nowMs)).toMatchObject({ outcome: 'refused' })
})
