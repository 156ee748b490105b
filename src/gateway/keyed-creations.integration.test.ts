/** Uploads and batches that carry an idempotency key: two gateways over one PostgreSQL, and nobody who works on the batches. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { gatewayForTests, type GatewayForTests, type Owner } from '../../test/gateway-for-tests.ts'
import { createProject } from '../identity/identity.ts'
import { chunkBytes } from '../platform/sealed-content.ts'

const projectBytesMax = 4 * chunkBytes
let gateways: GatewayForTests
let direct: pg.Client
/** A project of the test's own. */
let owner: Owner
let apiKey: string
let key: string

beforeAll(async () => {
  const batch = { linesAtOnce: 0, projectBytesMax }
  gateways = await gatewayForTests({
    models: [{ id: 'chat', category: 'chat' }],
    gateways: [{ batch }, { batch }],
  })
  direct = new pg.Client({ connectionString: gateways.databaseOwnerUrl })
  await direct.connect()
}, 120_000)
afterAll(async () => {
  await direct?.end()
  await gateways?.close()
})
beforeEach(async () => {
  const { tenantId } = gateways.owner
  const project = await gateways.inDatabase((tx) => createProject(tx, tenantId, randomUUID()))
  owner = { tenantId, projectId: project.id }
  apiKey = (await gateways.makeKey({ owner })).secret
  key = randomUUID()
})

interface Answer {
  readonly status: number
  readonly headers: Headers
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

interface Sent {
  readonly key?: string | undefined
  readonly apiKey?: string
  readonly gateway?: number
}

async function send(path: string, body: unknown, as: Sent = {}): Promise<Answer> {
  const repeated = 'key' in as ? as.key : key
  const response = await gateways.post(path, body, {
    key: as.apiKey ?? apiKey,
    gateway: as.gateway ?? 0,
    headers: repeated === undefined ? {} : { 'idempotency-key': repeated },
  })
  const { status, headers } = response
  return { status, headers, body: await response.json() }
}

const line = JSON.stringify({
  custom_id: 'a',
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'chat', messages: [] },
})

function upload(
  { content = line, name = 'in.jsonl', ...fields }: Record<string, string> = {},
  as?: Sent,
): Promise<Answer> {
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new File([content], name))
  for (const [field, value] of Object.entries(fields)) form.set(field, value)
  return send('/v1/files', form, as)
}

async function wanted(fields: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const input = await upload({}, { key: undefined })
  return {
    input_file_id: input.body.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    ...fields,
  }
}

const isReplay = ({ headers }: Answer): boolean => headers.get('idempotency-replayed') === 'true'
const count = async (table: 'files' | 'batches'): Promise<number> =>
  (
    await direct.query(`SELECT count(*)::int AS count FROM ${table} WHERE project_id = $1`, [
      owner.projectId,
    ])
  ).rows[0].count

function expectReused(answer: Answer): void {
  expect(answer.status).toBe(422)
  expect(answer.body).toMatchObject({
    error: { code: 'idempotency_key_reused', param: 'Idempotency-Key' },
  })
}

test('an upload that is repeated with its key is answered alike, on each gateway, and no second copy is kept', async () => {
  const content = 'x'.repeat(chunkBytes + 5)
  const first = await upload({ content })
  expect([first.status, isReplay(first)]).toEqual([200, false])
  for (const gateway of [0, 1]) {
    const again = await upload({ content }, { gateway })
    expect([again.status, isReplay(again)]).toEqual([200, true])
    expect(again.body).toEqual(first.body)
  }
  expect(await count('files')).toBe(1)
  const chunks = await direct.query(
    'SELECT 1 FROM file_chunks JOIN files ON files.id = file_id WHERE project_id = $1',
    [owner.projectId],
  )
  expect(chunks.rows).toHaveLength(2)
})

test('an upload without a key is a file of its own each time', async () => {
  const made = [await upload({}, { key: undefined }), await upload({}, { key: undefined })]
  expect(new Set(made.map(({ body }) => body.id)).size).toBe(2)
})

test.each([
  ['another content of the same length', { content: line.replace('"a"', '"b"') }],
  ['another name', { name: 'out.jsonl' }],
  ['another life', { 'expires_after[anchor]': 'created_at', 'expires_after[seconds]': '3600' }],
])('the key of an upload does not take %s, and what came with it is gone', async (_, change) => {
  const first = await upload()
  expectReused(await upload(change))
  expect(await count('files')).toBe(1)
  expect((await upload()).body).toEqual(first.body)
})

test('a repeated upload needs no room, and one that did not fit may be repeated when there is some', async () => {
  const first = await upload({ content: 'x'.repeat(projectBytesMax) })
  expect(first.status).toBe(200)
  expect((await upload({ content: 'x'.repeat(projectBytesMax) })).body).toEqual(first.body)
  const other = randomUUID()
  expect((await upload({}, { key: other })).status).toBe(413)
  const deleted = await fetch(`${gateways.url}/v1/files/${first.body.id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${apiKey}` },
  })
  expect(deleted.status).toBe(200)
  await deleted.arrayBuffer()
  const second = await upload({}, { key: other })
  expect([second.status, isReplay(second)]).toEqual([200, false])
})

test('the key of a file that was deleted makes no other one', async () => {
  const first = await upload()
  const deleted = await fetch(`${gateways.url}/v1/files/${first.body.id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${apiKey}` },
  })
  await deleted.arrayBuffer()
  const again = await upload()
  expect(again.status).toBe(409)
  expect(again.body).toMatchObject({ error: { code: 'idempotency_exhausted' } })
  expect(again.headers.get('x-should-retry')).toBe('false')
  expect(await count('files')).toBe(0)
})

test('of many uploads that come with one key at once, to two gateways, one is kept', async () => {
  const answers = await Promise.all([0, 1, 0, 1].map((gateway) => upload({}, { gateway })))
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
  expect(answers.filter(isReplay)).toHaveLength(3)
  expect(await count('files')).toBe(1)
})

test('a batch that is created again with its key is the same, as it stands now', async () => {
  const body = await wanted({ metadata: { job: 'nightly' } })
  const first = await send('/v1/batches', body)
  expect([first.status, isReplay(first)]).toEqual([200, false])
  const second = await send('/v1/batches', body, { gateway: 1 })
  expect([second.status, isReplay(second)]).toEqual([200, true])
  expect(second.body).toEqual(first.body)
  await send(`/v1/batches/${first.body.id}/cancel`, {}, { key: undefined })
  const third = await send('/v1/batches', body)
  expect(third.body).toMatchObject({ id: first.body.id, status: 'cancelling' })
  expect(await count('batches')).toBe(1)
})

test('of many batches that come with one key at once, to two gateways, one is created', async () => {
  const body = await wanted()
  const answers = await Promise.all(
    [0, 1, 0, 1].map((gateway) => send('/v1/batches', body, { gateway })),
  )
  for (const { status, headers, body: refused } of answers.filter(({ status }) => status !== 200)) {
    expect([status, refused.error.code]).toEqual([409, 'idempotency_in_progress'])
    expect(headers.get('retry-after')).toBe('1')
  }
  const made = answers.filter(({ status }) => status === 200).map(({ body: { id } }) => id)
  expect(new Set(made).size).toBe(1)
  expect((await send('/v1/batches', body)).body.id).toBe(made[0])
  expect(await count('batches')).toBe(1)
})

test('the key of a batch does not take another one, nor a file', async () => {
  const body = await wanted()
  expect((await send('/v1/batches', body)).status).toBe(200)
  expectReused(await send('/v1/batches', { ...body, metadata: { job: 'another' } }))
  expectReused(await upload())
  expect(await count('batches')).toBe(1)
})

test('a batch that was refused leaves its key free', async () => {
  const body = await wanted()
  const refused = await send('/v1/batches', { ...body, input_file_id: 'file-x' })
  expect(refused.status).toBe(400)
  const made = await send('/v1/batches', body)
  expect([made.status, isReplay(made)]).toEqual([200, false])
})

test('keys belong to a project: all of its API keys share them, and another project has its own', async () => {
  const first = await upload()
  const sibling = await gateways.makeKey({ owner })
  expect((await upload({}, { apiKey: sibling.secret })).body).toEqual(first.body)
  const elsewhere = await upload({}, { apiKey: gateways.key })
  expect([elsewhere.status, isReplay(elsewhere)]).toEqual([200, false])
  expect(elsewhere.body.id).not.toBe(first.body.id)
})

test('of a file, only its id is kept with the key, and the key itself is not', async () => {
  const sizeOf = async (): Promise<number> => {
    const kept = await direct.query(
      'SELECT octet_length(sealed_answer) AS bytes, o::text AS row FROM idempotent_operations o ORDER BY expires_at DESC LIMIT 1',
    )
    expect(kept.rows[0].row).not.toContain(Buffer.from(key).toString('hex'))
    return kept.rows[0].bytes
  }
  await upload({ name: 'x' })
  const small = await sizeOf()
  key = randomUUID()
  await upload({ name: 'x'.repeat(200), content: 'x'.repeat(10_000) })
  expect(await sizeOf()).toBe(small)
})

test.each(['/v1/files', '/v1/batches'])('%s takes no key that is none', async (path) => {
  const body = path === '/v1/files' ? new FormData() : await wanted()
  const answer = await send(path, body, { key: 'two words' })
  expect(answer.status).toBe(400)
  expect(answer.body).toMatchObject({ error: { param: 'Idempotency-Key' } })
})
