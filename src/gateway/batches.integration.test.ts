/** Files and batches as a client meets them: official SDK, two gateways, real PostgreSQL, an engine that does as the prompt says. */
import fs from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import type { Batch } from 'openai/resources/batches'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import {
  createGate,
  gatewayForTests,
  until as untilWithin,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
  type Owner,
} from '../../test/gateway-for-tests.ts'
import { createProject, revokeApiKey } from '../identity/identity.ts'

let gateways: GatewayForTests
let owner: pg.Client
let otherProject: Owner
let otherTenant: Owner
let client: OpenAI
const engine = createGatedEngine()

beforeAll(async () => {
  gateways = await gatewayForTests({
    script: engine.answer,
    priceListId: 'standard',
    models: [
      { id: 'chat', category: 'chat' },
      { id: 'vectors', category: 'embedding' },
      { id: 'nowhere', category: 'chat', engineKind: null },
    ],
    gateways: [{ batch: { linesAtOnce: 4 } }, { batch: { linesAtOnce: 4 } }],
  })
  owner = new pg.Client({ connectionString: gateways.databaseOwnerUrl })
  await owner.connect()
  const { tenantId } = gateways.owner
  const project = await gateways.inDatabase((tx) => createProject(tx, tenantId, 'q'))
  otherProject = { tenantId, projectId: project.id }
  otherTenant = await gateways.makeOwner('B')
  client = clientOf(gateways.key)
}, 120_000)

afterAll(async () => {
  engine.open()
  await owner?.end()
  await gateways?.close()
})

beforeEach(() => {
  // No test leaves work behind.
  expect(engine.waiting()).toBe(0)
  engine.open()
  engine.forget()
})

function clientOf(apiKey: string, gateway = 0): OpenAI {
  return new OpenAI({ apiKey, baseURL: `${gateways.gateways[gateway]?.url}/v1`, maxRetries: 0 })
}

interface Line {
  readonly id: string
  readonly custom_id: string
  readonly response: {
    readonly status_code: number
    readonly request_id: string
    // oxlint-disable-next-line typescript/no-explicit-any
    readonly body: any
  } | null
  readonly error: { readonly code: string; readonly message: string } | null
}

const chatLine = (customId: string, content = customId, body: Record<string, unknown> = {}) => ({
  custom_id: customId,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'chat', max_tokens: 20, messages: [{ role: 'user', content }], ...body },
})

async function upload(lines: readonly unknown[], by = client) {
  const text = lines.map((line) => JSON.stringify(line)).join('\n')
  return by.files.create({ file: await toFile(Buffer.from(text), 'in.jsonl'), purpose: 'batch' })
}

async function submit(lines: readonly unknown[], by = client, endpoint = '/v1/chat/completions') {
  const input = await upload(lines, by)
  return by.batches.create({
    input_file_id: input.id,
    endpoint: endpoint as '/v1/chat/completions',
    completion_window: '24h',
  })
}

const ends = ['completed', 'failed', 'expired', 'cancelled']
const ended = (batch: Batch, by = client): Promise<Batch> =>
  until(async () => {
    const now = await by.batches.retrieve(batch.id)
    return ends.includes(now.status) ? now : undefined
  })

async function linesOf(fileId: string | null | undefined, by = client): Promise<readonly Line[]> {
  if (!fileId) return []
  const text = await (await by.files.content(fileId)).text()
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

const until = <Value>(attempt: () => Promise<Value | undefined> | Value | undefined) =>
  untilWithin(attempt, 20_000)

const rows = async <Row>(text: string, values: unknown[] = []): Promise<Row[]> =>
  (await owner.query(text, values)).rows as Row[]

async function charged(requestIds: readonly string[]): Promise<number> {
  return until(async () => {
    const found = await rows<{ requests: number; nanos: number }>(
      `SELECT count(DISTINCT request_id) FILTER (WHERE outcome = 'completed')::int AS requests, sum(amount_nanos)::int AS nanos FROM usage_events WHERE request_id = ANY ($1)`,
      [requestIds],
    )
    return found[0]?.requests === requestIds.length ? found[0].nanos : undefined
  })
}

/** Of a chat completion with 5 tokens in and 10 out, at half the price. */
const halfPrice = (5 * 900 + 10 * 4_000) / 2

test('a batch lives its whole life: validated, run, delivered, charged half the price once a line', async () => {
  const input = await upload([
    chatLine('a'),
    chatLine('b'),
    chatLine('c', 'c', { max_tokens: 5_000 }),
    chatLine('d', 'd', { model: 'unknown' }),
  ])
  expect(input).toMatchObject({ object: 'file', purpose: 'batch', filename: 'in.jsonl' })
  const made = await client.batches.create({
    input_file_id: input.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { job: 'nightly' },
  })
  expect(made).toMatchObject({
    object: 'batch',
    status: 'validating',
    metadata: { job: 'nightly' },
    output_file_id: null,
  })
  const batch = await ended(made)
  expect(batch).toMatchObject({
    status: 'completed',
    request_counts: { total: 4, completed: 2, failed: 2 },
    usage: { input_tokens: 10, output_tokens: 20, total_tokens: 30 },
    metadata: { job: 'nightly' },
    errors: null,
  })
  for (const moment of ['created_at', 'in_progress_at', 'finalizing_at', 'completed_at'] as const)
    expect(batch[moment]).toEqual(expect.any(Number))
  expect(Number(batch.expires_at) - batch.created_at).toBe(86_400)

  const good = await linesOf(batch.output_file_id)
  expect(good.map((line) => line.custom_id)).toEqual(['a', 'b'])
  expect(good[0]).toMatchObject({
    response: { status_code: 200, body: { object: 'chat.completion' } },
    error: null,
  })
  const bad = await linesOf(batch.error_file_id)
  expect(bad.map((line) => [line.custom_id, line.response?.status_code])).toEqual([
    ['c', 400],
    ['d', 404],
  ])
  expect(bad[0]?.response?.body.error.code).toBe('context_length_exceeded')
  const output = await client.files.retrieve(batch.output_file_id ?? '')
  expect(output).toMatchObject({ purpose: 'batch_output' })
  expect(Number(output.expires_at) - output.created_at).toBe(7 * 86_400)
  const requestIds = good.map((line) => line.response?.request_id ?? '')
  expect(await charged(requestIds)).toBe(2 * halfPrice)
  expect(engine.runs('a')).toBe(1)
})

test('a batch of embeddings runs like one of chats', async () => {
  const line = {
    custom_id: 'v',
    method: 'POST',
    url: '/v1/embeddings',
    body: { model: 'vectors', input: 'hello' },
  }
  const batch = await ended(await submit([line], client, '/v1/embeddings'))
  const [only] = await linesOf(batch.output_file_id)
  expect(only?.response?.body.data[0].embedding).toEqual([1, 0])
  expect(batch.usage).toMatchObject({ input_tokens: 5, output_tokens: 0 })
})

test('a file that is streamed from a disk is read like any other, and results live as long as the batch says', async () => {
  const path = join(gateways.directory, 'from-disk.jsonl')
  const names = Array.from({ length: 300 }, (_, index) => `disk-${index}`)
  // Longer than a chunk of the store, so that lines lie across its borders.
  fs.writeFileSync(
    path,
    names.map((name) => JSON.stringify(chatLine(name, 'x'.repeat(2_000)))).join('\n'),
  )
  const input = await client.files.create({ file: fs.createReadStream(path), purpose: 'batch' })
  expect(input).toMatchObject({ filename: 'from-disk.jsonl', bytes: fs.statSync(path).size })
  expect((await client.files.waitForProcessing(input.id)).status).toBe('processed')
  const same = await client.files.content(input.id)
  expect(Buffer.from(await same.arrayBuffer()).equals(fs.readFileSync(path))).toBe(true)
  const made = await client.batches.create({
    input_file_id: input.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    output_expires_after: { anchor: 'created_at', seconds: 3_600 },
  })
  const batch = await ended(made)
  const good = await linesOf(batch.output_file_id)
  expect(good.map((line) => line.custom_id)).toEqual(names)
  const output = await client.files.retrieve(batch.output_file_id ?? '')
  expect(Number(output.expires_at) - output.created_at).toBe(3_600)
})

test('metrics tell how many lines ran, failed and wait', async () => {
  await ended(await submit([chatLine('m1'), chatLine('m2', 'm2', { model: 'unknown' })]))
  const texts = await Promise.all(
    gateways.gateways.map(async (gateway) => (await fetch(gateway.metricsUrl ?? '')).text()),
  )
  const text = texts.join('\n')
  expect(text).toMatch(/^colonnade_batch_lines_total\{outcome="completed"\} [1-9]/m)
  expect(text).toMatch(/^colonnade_batch_lines_total\{outcome="failed"\} [1-9]/m)
  expect(text).toMatch(/^colonnade_batch_lines_running \d/m)
  expect(text).toMatch(/^colonnade_batch_lines_waiting \d/m)
})

test('a batch whose lines all fail is completed, and has an error file alone', async () => {
  const batch = await ended(await submit([chatLine('x', 'x', { model: 'unknown' })]))
  expect(batch).toMatchObject({ status: 'completed', output_file_id: null })
  expect(await linesOf(batch.error_file_id)).toHaveLength(1)
})

test('a line whose engine fails for a moment runs again, and is charged once', async () => {
  const batch = await ended(await submit([chatLine('a', 'FAIL-ONCE moment')]))
  const [line] = await linesOf(batch.output_file_id)
  expect(batch.request_counts).toEqual({ total: 1, completed: 1, failed: 0 })
  expect(await charged([line?.response?.request_id ?? ''])).toBe(halfPrice)
})

test('a line whose engine always fails is an error line in the end', async () => {
  const batch = await ended(await submit([chatLine('a', 'FAIL-ALWAYS')]))
  const [line] = await linesOf(batch.error_file_id)
  expect(line?.response).toMatchObject({ status_code: 502 })
})

test('a line with a stream, a wrong url, method, body, JSON or a repeated custom_id fails the batch, each told by its line', async () => {
  const input = await client.files.create({
    file: await toFile(
      Buffer.from(
        [
          JSON.stringify(chatLine('a')),
          '{"custom_id": "secret-marker"',
          JSON.stringify({ ...chatLine('b'), url: '/v1/embeddings' }),
          JSON.stringify({ ...chatLine('c'), method: 'GET' }),
          '',
          JSON.stringify({ ...chatLine('d'), body: 'x' }),
          JSON.stringify(chatLine('a')),
          JSON.stringify(chatLine('e', 'e', { stream: true })),
          JSON.stringify({ ...chatLine('f'), custom_id: undefined }),
        ].join('\n'),
      ),
      'bad.jsonl',
    ),
    purpose: 'batch',
  })
  const batch = await ended(
    await client.batches.create({
      input_file_id: input.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    }),
  )
  expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null })
  expect(batch.failed_at).toEqual(expect.any(Number))
  expect(batch.errors?.data?.map(({ line, code }) => [line, code])).toEqual([
    [2, 'invalid_json_line'],
    [3, 'mismatched_url'],
    [4, 'invalid_method'],
    [6, 'invalid_body'],
    [7, 'duplicate_custom_id'],
    [8, 'unsupported_value'],
    [9, 'missing_required_parameter'],
  ])
  expect(JSON.stringify(batch)).not.toContain('secret-marker')
  expect(engine.runs('a')).toBe(0)
})

test('a cancelled batch delivers and charges what had begun, and names the lines that had not', async () => {
  engine.shut()
  const made = await submit(Array.from({ length: 20 }, (_, index) => chatLine(`line-${index}`)))
  await until(() => engine.waiting() >= 4 || undefined)
  const asked = await client.batches.cancel(made.id)
  expect(asked.status).toBe('cancelling')
  expect((await client.batches.cancel(made.id)).status).toBe('cancelling')
  engine.open()
  const batch = await ended(made)
  expect(batch).toMatchObject({ status: 'cancelled', request_counts: { total: 20 } })
  const good = await linesOf(batch.output_file_id)
  const bad = await linesOf(batch.error_file_id)
  expect(good.length).toBeGreaterThanOrEqual(4)
  expect(good.length + bad.length).toBe(20)
  expect(new Set([...good, ...bad].map((line) => line.custom_id)).size).toBe(20)
  expect(
    bad.every((line) => line.response === null && line.error?.code === 'batch_cancelled'),
  ).toBe(true)
  const requestIds = good.map((line) => line.response?.request_id ?? '')
  expect(await charged(requestIds)).toBe(good.length * halfPrice)
  await expect(client.batches.cancel(made.id)).resolves.toMatchObject({ status: 'cancelled' })
})

test('a batch that has ended otherwise cannot be cancelled', async () => {
  const batch = await ended(await submit([chatLine('a')]))
  await expect(client.batches.cancel(batch.id)).rejects.toMatchObject({ status: 409 })
})

test('two gateways share a batch, and no line runs twice', async () => {
  const names = Array.from({ length: 60 }, (_, index) => `shared-${index}`)
  engine.shut()
  const made = await submit(names.map((name) => chatLine(name)))
  // More than the places of one.
  await until(() => engine.waiting() > 4 || undefined)
  engine.open()
  const batch = await ended(made)
  expect(batch.request_counts).toEqual({ total: 60, completed: 60, failed: 0 })
  expect(names.map((name) => engine.runs(name))).toEqual(names.map(() => 1))
  const good = await linesOf(batch.output_file_id)
  expect(await charged(good.map((line) => line.response?.request_id ?? ''))).toBe(60 * halfPrice)
  const byGateway = await rows<{ count: number }>(
    `SELECT count(*)::int AS count FROM usage_events WHERE request_id = ANY ($1) GROUP BY gateway_id`,
    [good.map((line) => line.response?.request_id)],
  )
  expect(byGateway).toHaveLength(2)
})

test('another project and another tenant find neither file nor batch', async () => {
  const batch = await ended(await submit([chatLine('mine')]))
  for (const other of [otherProject, otherTenant]) {
    const stranger = clientOf((await gateways.makeKey({ owner: other })).secret)
    for (const attempt of [
      () => stranger.batches.retrieve(batch.id),
      () => stranger.batches.cancel(batch.id),
      () => stranger.files.retrieve(batch.input_file_id),
      () => stranger.files.content(batch.output_file_id ?? ''),
      () => stranger.files.delete(batch.input_file_id),
    ])
      await expect(attempt()).rejects.toMatchObject({ status: 404 })
    await expect(
      stranger.batches.create({
        input_file_id: batch.input_file_id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      }),
    ).rejects.toMatchObject({ status: 400, param: 'input_file_id' })
    expect((await stranger.batches.list()).data).toEqual([])
    expect((await stranger.files.list()).data).toEqual([])
  }
})

test('no byte of prompts, answers, names or metadata is in the database unsealed, while it runs or after', async () => {
  engine.shut()
  const input = await client.files.create({
    file: await toFile(
      Buffer.from(
        [chatLine('marker-id-1', 'marker-prompt'), chatLine('marker-id-2', 'NEVER marker-prompt')]
          .map((line) => JSON.stringify(line))
          .join('\n'),
      ),
      'marker-name.jsonl',
    ),
    purpose: 'batch',
  })
  const made = await client.batches.create({
    input_file_id: input.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { key: 'marker-metadata' },
  })
  await until(() => engine.waiting() >= 2 || undefined)
  engine.open()
  // One line is done, the other waits for an engine that never answers.
  await until(async () => {
    const now = await client.batches.retrieve(made.id)
    return now.request_counts?.completed === 1 ? now : undefined
  })
  const during = await tableBytes()
  expect(during.includes(made.id)).toBe(true)
  for (const marker of ['marker-', 'ANSWER-OF-THE-MODEL'])
    expect(during.includes(marker)).toBe(false)
  engine.releaseNever()
  const batch = await ended(made)
  const after = await tableBytes()
  for (const marker of ['marker-', 'ANSWER-OF-THE-MODEL'])
    expect(after.includes(marker)).toBe(false)
  const text = await (await client.files.content(batch.output_file_id ?? '')).text()
  expect(text).toContain('marker-id-1')
  expect(text).toContain('ANSWER-OF-THE-MODEL')
  expect((await client.files.retrieve(input.id)).filename).toBe('marker-name.jsonl')
  expect(batch.metadata).toEqual({ key: 'marker-metadata' })
})

/** Every row of these tables, each value as PostgreSQL has it in memory. */
async function tableBytes(): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (const table of ['files', 'file_chunks', 'batches', 'batch_lines'])
    for (const row of await rows<Record<string, unknown>>(`SELECT * FROM ${table}`))
      for (const value of Object.values(row))
        pieces.push(Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value) ?? ''))
  return Buffer.concat(pieces)
}

test('a deleted file is gone to the last row, with its key; one that a batch reads stays', async () => {
  engine.shut()
  const made = await submit([chatLine('a')])
  await expect(client.files.delete(made.input_file_id)).rejects.toMatchObject({ status: 409 })
  engine.open()
  const batch = await ended(made)
  for (const id of [batch.input_file_id, batch.output_file_id ?? '']) {
    expect(await client.files.delete(id)).toEqual({ id, object: 'file', deleted: true })
    await expect(client.files.retrieve(id)).rejects.toMatchObject({ status: 404 })
    await expect(client.files.content(id)).rejects.toMatchObject({ status: 404 })
    await expect(client.files.delete(id)).rejects.toMatchObject({ status: 404 })
    expect(await rows('SELECT 1 FROM files WHERE id = $1', [id])).toEqual([])
    expect(await rows('SELECT 1 FROM file_chunks WHERE file_id = $1', [id])).toEqual([])
  }
  const [left] = await rows<{ sealed_key: unknown }>('SELECT * FROM batches WHERE id = $1', [
    batch.id,
  ])
  expect(left?.sealed_key).toBeNull()
  expect(await rows('SELECT 1 FROM batch_lines WHERE batch_id = $1', [batch.id])).toEqual([])
})

test('files are listed in pages, in both orders, by purpose', async () => {
  const key = await gateways.makeKey({ owner: otherTenant })
  const lister = clientOf(key.secret)
  const made: string[] = []
  for (let index = 0; index < 5; index += 1) made.push((await upload([chatLine('x')], lister)).id)
  const newest: string[] = []
  for await (const file of lister.files.list({ limit: 2 })) newest.push(file.id)
  expect(newest).toEqual(made.toReversed())
  const oldest: string[] = []
  for await (const file of lister.files.list({ limit: 2, order: 'asc' })) oldest.push(file.id)
  expect(oldest).toEqual(made)
  expect((await lister.files.list({ purpose: 'batch_output' })).data).toEqual([])
  const page = await gateways.get('/v1/files?limit=2', key.secret)
  expect(await page.json()).toMatchObject({
    object: 'list',
    has_more: true,
    first_id: made[4],
    last_id: made[3],
  })
  for (const id of made) await lister.files.delete(id)
})

test('batches are listed in pages, the newest first', async () => {
  const lister = clientOf((await gateways.makeKey({ owner: otherProject })).secret)
  const submitted: Batch[] = []
  for (let index = 0; index < 3; index += 1) submitted.push(await submit([chatLine('x')], lister))
  const made = submitted.map((batch) => batch.id)
  const listed: string[] = []
  for await (const batch of lister.batches.list({ limit: 2 })) listed.push(batch.id)
  expect(listed).toEqual(made.toReversed())
  for (const batch of submitted) await ended(batch, lister)
})

const badForms: readonly (readonly [string, (form: FormData) => void, string | null])[] = [
  ['a purpose that is not known', (form) => form.set('purpose', 'fine-tune'), 'purpose'],
  ['the purpose of outputs', (form) => form.set('purpose', 'batch_output'), 'purpose'],
  ['no purpose', (form) => form.delete('purpose'), 'purpose'],
  ['no file', (form) => form.delete('file'), 'file'],
  [
    'a life of a minute',
    (form) => {
      form.set('expires_after[anchor]', 'created_at')
      form.set('expires_after[seconds]', '60')
    },
    'expires_after.seconds',
  ],
  [
    'another anchor',
    (form) => {
      form.set('expires_after[anchor]', 'last_active_at')
      form.set('expires_after[seconds]', '3600')
    },
    'expires_after.anchor',
  ],
]
test.each(badForms)('a file with %s is refused, and leaves nothing', async (_, change, param) => {
  const before = await rows('SELECT id FROM files')
  const form = new FormData()
  form.set('file', new File(['{}'], 'x.jsonl'))
  form.set('purpose', 'batch')
  change(form)
  const answer = await gateways.post('/v1/files', form)
  expect(answer.status).toBe(400)
  expect(await answer.json()).toMatchObject({ error: { param } })
  expect(await rows('SELECT id FROM files')).toEqual(before)
})

test('the fields of the form may come before the file or after it, and set how long it lives', async () => {
  for (const isFirst of [true, false]) {
    const form = new FormData()
    if (!isFirst) form.set('file', new File(['{}'], 'x.jsonl'))
    form.set('purpose', 'batch')
    form.set('expires_after[anchor]', 'created_at')
    form.set('expires_after[seconds]', '3600')
    if (isFirst) form.set('file', new File(['{}'], 'x.jsonl'))
    const answer = await gateways.post('/v1/files', form)
    const file = z
      .object({ created_at: z.number(), expires_at: z.number() })
      .parse(await answer.json())
    expect(file.expires_at - file.created_at).toBe(3_600)
  }
})

const badBatches: readonly (readonly [string, Record<string, unknown>, string])[] = [
  ['an endpoint that is none', { endpoint: '/v1/files' }, 'endpoint'],
  ['an endpoint that takes forms', { endpoint: '/v1/audio/transcriptions' }, 'endpoint'],
  ['another window', { completion_window: '1h' }, 'completion_window'],
  ['a file that is not there', { input_file_id: 'file-x' }, 'input_file_id'],
  ['metadata that is too long', { metadata: { a: 'x'.repeat(513) } }, 'metadata.a'],
]
test.each(badBatches)('a batch with %s is refused', async (_, change, param) => {
  const input = await upload([chatLine('a')])
  const wanted = {
    input_file_id: input.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    ...change,
  }
  await expect(client.post('/batches', { body: wanted })).rejects.toMatchObject({
    status: 400,
    param,
  })
})

test('a key that is revoked ends its batch, what was done is delivered, and the rest is told', async () => {
  const doomed = await gateways.makeKey()
  engine.shut()
  const made = await submit(
    Array.from({ length: 12 }, (_, index) => chatLine(`doomed-${index}`)),
    clientOf(doomed.secret),
  )
  await until(() => engine.waiting() >= 6 || undefined)
  await owner.query(
    `UPDATE batches SET created_at = created_at - interval '1 minute' WHERE id = $1`,
    [made.id],
  )
  await gateways.inDatabase((tx) =>
    revokeApiKey(tx, gateways.owner.tenantId, doomed.id, Date.now()),
  )
  for (const gateway of gateways.gateways)
    await until(async () => {
      const headers = { authorization: `Bearer ${doomed.secret}` }
      const { status } = await fetch(`${gateway.url}/v1/models`, { headers })
      return status === 401 || undefined
    })
  engine.open()
  const batch = await ended(made)
  expect(batch).toMatchObject({
    status: 'failed',
    errors: { data: [{ code: 'invalid_api_key' }] },
    request_counts: { total: 12 },
  })
  const good = await linesOf(batch.output_file_id)
  const bad = await linesOf(batch.error_file_id)
  expect(good.length).toBeGreaterThanOrEqual(6)
  expect(bad.length).toBeGreaterThanOrEqual(1)
  expect(good.length + bad.length).toBe(12)
  expect(new Set(bad.map((line) => line.error?.code))).toEqual(new Set(['batch_failed']))
})

test('a limit on requests at once makes a batch wait, and is no error of its lines', async () => {
  const limited = await gateways.makeKey({ rules: [{ measure: 'concurrency', limit: 2n }] })
  // A gateway that knows the limit refuses a third request, unrun.
  engine.shut()
  const by = clientOf(limited.secret)
  const made = await submit(
    ['l1', 'l2', 'l3', 'l4', 'l5'].map((name) => chatLine(name)),
    by,
  )
  await until(async () => {
    const [batch] = await rows<{ pauses: number }>('SELECT pauses FROM batches WHERE id = $1', [
      made.id,
    ])
    return (batch?.pauses ?? 0) > 0 || undefined
  })
  expect(engine.waiting()).toBeLessThanOrEqual(2)
  engine.open()
  const batch = await ended(made, by)
  expect(batch.request_counts).toEqual({ total: 5, completed: 5, failed: 0 })
})

test('requests that clients have open take the places of lines, down to one on each gateway', async () => {
  engine.shut()
  const interactive = [0, 1].flatMap((gateway) =>
    Array.from({ length: 6 }, (_, index) =>
      clientOf(String(client.apiKey), gateway).chat.completions.create({
        model: 'chat',
        max_tokens: 20,
        messages: [{ role: 'user', content: `open-${index}` }],
      }),
    ),
  )
  await until(() => engine.waiting() === 12 || undefined)
  const made = await submit(Array.from({ length: 10 }, (_, index) => chatLine(`low-${index}`)))
  const running = async (): Promise<number> =>
    (
      await rows<{ count: number }>(
        `SELECT count(*)::int AS count FROM batch_lines WHERE batch_id = $1 AND state = 'running'`,
        [made.id],
      )
    )[0]?.count ?? 0
  await until(async () => (await running()) === 2 || undefined)
  // Several turns of both workers later it is the same.
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(await running()).toBe(2)
  engine.open()
  await Promise.all(interactive)
  expect((await ended(made)).request_counts).toEqual({ total: 10, completed: 10, failed: 0 })
})

test('a file that says it is larger than 100 MiB is refused before it is sent', async () => {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  const request = httpRequest(`${gateways.url}/v1/files`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${client.apiKey}`,
      'content-type': 'multipart/form-data; boundary=x',
      'content-length': String(101 * 1024 * 1024),
    },
  })
  request.on('response', (response) => resolve(response.statusCode)).on('error', reject)
  request.write('--x\r\n')
  expect(await promise).toBe(413)
  request.destroy()
})

test('lines wait for a model that no engine serves, and run once one does', async () => {
  const made = await submit([chatLine('late', 'late', { model: 'nowhere' })])
  await until(async () => {
    const [line] = await rows<{ deferrals: number }>(
      'SELECT deferrals FROM batch_lines WHERE batch_id = $1',
      [made.id],
    )
    return (line?.deferrals ?? 0) >= 1 ? true : undefined
  })
  await gateways.addEngine({ id: 'nowhere', category: 'chat' })
  const batch = await ended(made)
  expect(batch.request_counts).toEqual({ total: 1, completed: 1, failed: 0 })
  const [line] = await linesOf(batch.output_file_id)
  expect(await charged([line?.response?.request_id ?? ''])).toBe(halfPrice)
})

test('a result that was lost after its settlement is made again, and nothing more is charged', async () => {
  const made = await submit([chatLine('lost'), chatLine('kept', 'NEVER')])
  await until(async () => {
    const now = await client.batches.retrieve(made.id)
    return now.request_counts?.completed === 1 || undefined
  })
  // As if the gateway had died between the two.
  await owner.query(
    `UPDATE batch_lines SET state = 'waiting', sealed_result = NULL WHERE batch_id = $1 AND state = 'done'`,
    [made.id],
  )
  await owner.query(`UPDATE batches SET lines_completed = 0 WHERE id = $1`, [made.id])
  await until(() => engine.runs('lost') === 2 || undefined)
  engine.releaseNever()
  const batch = await ended(made)
  const good = await linesOf(batch.output_file_id)
  const lost = good.find((line) => line.custom_id === 'lost')
  expect(await gateways.legs(lost?.response?.request_id ?? '', 2)).toMatchObject([
    { leg: 0, amount_nanos: BigInt(halfPrice) },
    { leg: 1, amount_nanos: 0n },
  ])
  expect(await charged(good.map((line) => line.response?.request_id ?? ''))).toBe(2 * halfPrice)
})

test('a gateway that is killed with lines under way: they run again elsewhere, and are charged once', async () => {
  // Of the gateways only the doomed one works.
  await gateways.replaceGateways([{ batch: { linesAtOnce: 0 } }])
  const by = clientOf(String(client.apiKey))
  const doomed = await gateways.startProcess(3)
  engine.shut()
  const made = await submit([chatLine('k1'), chatLine('k2'), chatLine('k3')], by)
  await until(() => engine.waiting() >= 3 || undefined)
  await doomed.kill()
  engine.open()
  await owner.query(`UPDATE batch_lines SET claimed_until = now() - interval '1 second'`)
  const again = await gateways.startProcess(3)
  try {
    const batch = await ended(made, by)
    expect(batch.request_counts).toEqual({ total: 3, completed: 3, failed: 0 })
    const good = await linesOf(batch.output_file_id, by)
    const requestIds = good.map((line) => line.response?.request_id ?? '')
    expect(await charged(requestIds)).toBe(3 * halfPrice)
    const legs = await rows<{ leg: number; outcome: string }>(
      `SELECT leg, outcome FROM usage_events WHERE request_id = $1 ORDER BY leg`,
      [requestIds[0]],
    )
    expect(legs.map(({ outcome }) => outcome)).toEqual(['crashed', 'completed'])
  } finally {
    await again.kill()
  }
}, 60_000)

/** OpenAI's dialect: 5 tokens in, 10 out. The prompt tells whether it fails, or never answers; all wait while it is shut. */
function createGatedEngine() {
  const gate = createGate()
  let waiting = 0
  const runs = new Map<string, number>()
  let never = Promise.withResolvers<void>()
  return {
    async answer({ body }: EngineHears): Promise<EngineSays> {
      const [message] = (body['messages'] ?? []) as readonly { readonly content: string }[]
      const content = message?.content ?? ''
      const run = (runs.get(content) ?? 0) + 1
      runs.set(content, run)
      waiting += 1
      await gate.passed()
      if (content.includes('NEVER')) await never.promise
      waiting -= 1
      if (content.includes('FAIL-ALWAYS') || (content.includes('FAIL-ONCE') && run <= 1))
        return { status: 500, body: {} }
      if (body['input'] !== undefined) {
        const data = [{ object: 'embedding', index: 0, embedding: [1, 0] }]
        const usage = { prompt_tokens: 5, total_tokens: 5 }
        return { body: { object: 'list', data, usage } }
      }
      const answer = { role: 'assistant', content: 'ANSWER-OF-THE-MODEL' }
      const usage = { prompt_tokens: 5, completion_tokens: 10, total_tokens: 15 }
      return { body: { choices: [{ index: 0, message: answer, finish_reason: 'stop' }], usage } }
    },
    runs: (content: string) => runs.get(content) ?? 0,
    waiting: () => waiting,
    forget: () => runs.clear(),
    shut: gate.shut,
    open: gate.open,
    releaseNever() {
      never.resolve()
      never = Promise.withResolvers()
    },
  }
}
