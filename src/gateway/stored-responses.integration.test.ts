/** Responses that are kept, by OpenAI's own client, over real PostgreSQL, the real journal and a scripted engine. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'
import type { ResponseStreamEvent } from 'openai/resources/responses/responses'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  createGate,
  doneEvent,
  gatewayForTests,
  toEvent,
  until,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
  type Owner,
} from '../../test/gateway-for-tests.ts'
import { createProject, updateTenant } from '../identity/identity.ts'

const question = 'What is the secret of the blue heron?'
const answer = 'It stands on one leg.'

let gateway: GatewayForTests
/** Of another tenant, which has responses kept too. */
let strangerKey: string
/** Of the same tenant's other project. */
let neighbourKey: string
let stranger: Owner
/** What the engine was asked last. */
let asked: EngineHears
/** Holds the last event of an answer back. */
const gate = createGate()

beforeAll(async () => {
  gateway = await gatewayForTests({
    script: say,
    priceListId: 'standard',
    models: ['text', 'short', 'cut', 'tools', 'held'].map((id) => ({ id, category: 'chat' })),
    gateways: [{ byRoad: true }],
  })
  stranger = await gateway.makeOwner('B')
  strangerKey = (await gateway.makeKey({ owner: stranger })).secret
  const { tenantId } = gateway.owner
  const project = await gateway.inDatabase((tx) => createProject(tx, tenantId, 'other'))
  neighbourKey = (await gateway.makeKey({ owner: { tenantId, projectId: project.id } })).secret
  await keepFor(30, stranger.tenantId)
}, 120_000)

afterAll(() => gateway?.close())

beforeEach(async () => {
  gate.open()
  gateway.road.open()
  await keepFor(30)
})

function say(heard: EngineHears): EngineSays {
  asked = heard
  return { pieces: tell(String(heard.body['model'])) }
}

async function* tell(model: string): AsyncIterable<string> {
  const chunk = (delta: object, finish_reason: string | null): string =>
    toEvent({
      id: 'x',
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason }],
    })
  yield chunk({ content: answer }, null)
  if (model === 'tools') {
    const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } }
    yield chunk({ tool_calls: [{ index: 0, ...call }] }, null)
  }
  if (model === 'cut') return
  if (model === 'held') await gate.passed()
  const ends: Readonly<Record<string, string>> = { short: 'length', tools: 'tool_calls' }
  yield chunk({}, ends[model] ?? 'stop')
  const usage = { prompt_tokens: 9, completion_tokens: 6, total_tokens: 15 }
  yield toEvent({ id: 'x', object: 'chat.completion.chunk', choices: [], usage })
  yield doneEvent
}

/** Resolves once the gateway has heard of it. */
async function keepFor(days: number | null, tenantId = gateway.owner.tenantId): Promise<void> {
  await gateway.inDatabase((tx) => updateTenant(tx, tenantId, { responsesKeptDays: days }))
  const key = tenantId === gateway.owner.tenantId ? gateway.key : strangerKey
  await until(async () => {
    const body = { model: 'text', input: 'x', previous_response_id: 'resp_none' }
    const { error } = (await (await gateway.post('/v1/responses', body, key)).json()) as {
      error: { message: string }
    }
    return error.message.includes('for you') === (days === null) || undefined
  })
}

const client = (key = gateway.key): OpenAI =>
  new OpenAI({ apiKey: key, baseURL: `${gateway.url}/v1`, maxRetries: 0 })

const stored = (more: object = {}, key?: string) =>
  client(key).responses.create({ model: 'text', input: question, store: true, ...more })

const messages = (): unknown =>
  (asked.body['messages'] as readonly { role: string; content: unknown }[]).map(
    ({ role, content }) => [role, content],
  )

const inTables = async (): Promise<string> => {
  const database = new pg.Client({ connectionString: gateway.databaseOwnerUrl })
  await database.connect()
  try {
    let text = ''
    for (const table of ['stored_responses', 'stored_response_chunks', 'stored_response_totals']) {
      const { rows } = await database.query<{ row: string }>(
        `SELECT t::text AS row FROM ${table} AS t`,
      )
      for (const { row } of rows) text += `${table} ${row}\n`
    }
    return text
  } finally {
    await database.end()
  }
}

test('a kept response comes back as it was answered, with the items of its input, until it is deleted', async () => {
  const made = await stored({ instructions: 'Be brief.', metadata: { purpose: 'test' } })
  expect(made).toMatchObject({ store: true, status: 'completed', output_text: answer })
  expect(await client().responses.retrieve(made.id)).toEqual(made)
  const { data, has_more } = await client().responses.inputItems.list(made.id)
  expect(has_more).toBe(false)
  expect(data).toEqual([
    {
      id: expect.stringMatching(/^msg_/),
      type: 'message',
      role: 'user',
      status: 'completed',
      content: [{ type: 'input_text', text: question }],
    },
  ])
  await client().responses.delete(made.id)
  const gone = { status: 404, code: 'not_found' }
  await expect(client().responses.retrieve(made.id)).rejects.toMatchObject(gone)
  await expect(client().responses.inputItems.list(made.id)).rejects.toMatchObject(gone)
  await expect(client().responses.delete(made.id)).rejects.toMatchObject(gone)
  expect(await inTables()).not.toContain(made.id)
})

test('a conversation goes on from a kept response: all before it, without its instructions', async () => {
  const first = await stored({ instructions: 'Speak like a heron.' })
  const second = await stored({ input: 'And then?', previous_response_id: first.id })
  expect(second.previous_response_id).toBe(first.id)
  expect(messages()).toEqual([
    ['user', question],
    ['assistant', answer],
    ['user', 'And then?'],
  ])
  await client().responses.create({
    model: 'text',
    instructions: 'Speak like a fish.',
    input: [{ role: 'user', content: 'Why?' }],
    previous_response_id: second.id,
  })
  expect(messages()).toEqual([
    ['system', 'Speak like a fish.'],
    ['user', question],
    ['assistant', answer],
    ['user', 'And then?'],
    ['assistant', answer],
    ['user', 'Why?'],
  ])
})

test('a tool is called in one response and answers in the next', async () => {
  const first = await stored({
    model: 'tools',
    tools: [{ type: 'function', name: 'look', parameters: {}, strict: false }],
  })
  await client().responses.create({
    model: 'text',
    previous_response_id: first.id,
    input: [{ type: 'function_call_output', call_id: 'call_1', output: 'a heron' }],
  })
  expect(asked.body['messages']).toMatchObject([
    { role: 'user', content: question },
    { role: 'assistant', content: answer, tool_calls: [{ id: 'call_1' }] },
    { role: 'tool', tool_call_id: 'call_1', content: 'a heron' },
  ])
})

test('the items of a conversation come in pages, in both orders, with all that it goes on from', async () => {
  const first = await stored()
  const second = await stored({ input: 'And then?', previous_response_id: first.id })
  const said = async (order: 'asc' | 'desc', limit: number): Promise<unknown[]> => {
    const texts: unknown[] = []
    for await (const item of client().responses.inputItems.list(second.id, { order, limit }))
      texts.push(
        'content' in item && item.content?.[0] && 'text' in item.content[0]
          ? item.content[0].text
          : item,
      )
    return texts
  }
  expect(await said('asc', 1)).toEqual([question, answer, 'And then?'])
  expect(await said('desc', 2)).toEqual(['And then?', answer, question])
  const wrong = client().responses.inputItems.list(second.id, { after: 'msg_none' })
  await expect(wrong).rejects.toMatchObject({ status: 400, param: 'after' })
})

test('nothing is kept unless the request says so, in streams neither', async () => {
  const made = await client().responses.create({ model: 'text', input: question })
  expect(made).toMatchObject({ store: false })
  await expect(client().responses.retrieve(made.id)).rejects.toMatchObject({ status: 404 })
  const next = client().responses.create({
    model: 'text',
    input: 'Hi',
    previous_response_id: made.id,
  })
  await expect(next).rejects.toMatchObject({
    status: 400,
    code: 'previous_response_not_found',
    param: 'previous_response_id',
  })
})

async function collect(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = []
  for await (const event of stream) events.push(event)
  return events
}

test('a streamed response is kept before its client hears of the end', async () => {
  const stream = await client().responses.create({
    model: 'text',
    input: question,
    store: true,
    stream: true,
  })
  let isKept = false
  for await (const event of stream) {
    if (event.type !== 'response.completed') continue
    expect(await client().responses.retrieve(event.response.id)).toMatchObject({
      ...event.response,
      output_text: answer,
    })
    isKept = true
  }
  expect(isKept).toBe(true)
})

test('a socket keeps its responses, and goes on from them', async () => {
  const ws = new ResponsesWS(client())
  const completed = (): Promise<string> =>
    new Promise((resolve, reject) => {
      ws.on('response.completed', (event) => resolve(event.response.id))
      ws.on('error', reject)
    })
  const first = completed()
  ws.socket.on('open', () =>
    ws.send({ type: 'response.create', model: 'text', input: question, store: true }),
  )
  const firstId = await first
  const second = completed()
  ws.send({
    type: 'response.create',
    model: 'text',
    input: 'And then?',
    store: true,
    previous_response_id: firstId,
  })
  // The listener of the first one has seen it too.
  const secondId = await second
  expect(messages()).toEqual([
    ['user', question],
    ['assistant', answer],
    ['user', 'And then?'],
  ])
  expect((await client().responses.retrieve(secondId)).previous_response_id).toBe(firstId)
  ws.close()
})

test('an answer that reached its limit is kept with its status, and one that failed is not', async () => {
  const short = await stored({ model: 'short' })
  expect(await client().responses.retrieve(short.id)).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  })
  const stream = await client().responses.create({
    model: 'cut',
    input: question,
    store: true,
    stream: true,
  })
  const events: ResponseStreamEvent[] = []
  await (async () => {
    for await (const event of stream) events.push(event)
  })().catch(() => {})
  const [begun] = events
  if (begun?.type !== 'response.created') throw new Error('the stream did not begin')
  await expect(client().responses.retrieve(begun.response.id)).rejects.toMatchObject({
    status: 404,
  })
})

test('another tenant, and another project, find nothing: as if there were no such id', async () => {
  const made = await stored()
  const absent = await gateway.get('/v1/responses/resp_none')
  const text = await absent.text()
  for (const key of [strangerKey, neighbourKey]) {
    for (const path of [made.id, `${made.id}/input_items`]) {
      const response = await gateway.get(`/v1/responses/${path}`, key)
      expect([response.status, await response.text()]).toEqual([404, text])
    }
    await expect(client(key).responses.delete(made.id)).rejects.toMatchObject({ status: 404 })
    const theirs = await failureOf(stored({ previous_response_id: made.id }, key))
    const nobodys = await failureOf(stored({ previous_response_id: 'resp_none' }, key))
    expect(theirs).toMatchObject({ status: 400, code: 'previous_response_not_found' })
    expect(String(theirs)).toBe(String(nobodys))
  }
  expect((await client().responses.retrieve(made.id)).id).toBe(made.id)
})

const failureOf = (failing: Promise<unknown>): Promise<unknown> =>
  failing.then(
    () => undefined,
    (reason: unknown) => reason,
  )

test('a conversation of which a response was deleted is not whole, and says so', async () => {
  const first = await stored()
  const second = await stored({ input: 'And then?', previous_response_id: first.id })
  await client().responses.delete(first.id)
  await expect(stored({ previous_response_id: second.id })).rejects.toMatchObject({
    status: 400,
    code: 'previous_response_not_found',
    message: expect.stringContaining('not whole'),
  })
  const { data } = await client().responses.inputItems.list(second.id)
  expect(data).toHaveLength(1)
})

test('in the database nothing of it can be read, nor in what a gateway writes', async () => {
  const made = await stored({ instructions: 'Speak like a heron.', metadata: { bird: 'heron' } })
  const text = await inTables()
  expect(text).toContain(made.id)
  const hex = (word: string): string => Buffer.from(word).toString('hex')
  for (const word of [question, answer, 'heron', 'one leg'])
    for (const form of [word, hex(word)]) expect(text).not.toContain(form)
  // Nor in what its gateway writes: the journal, the copy of its snapshot.
  for (const entry of readdirSync(gateway.directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const written = readFileSync(join(entry.parentPath, entry.name))
    for (const word of [question, answer]) expect(written.includes(word), entry.name).toBe(false)
  }
})

test('a restart keeps what was kept', async () => {
  const made = await stored()
  await gateway.replaceGateways([{ byRoad: true }])
  expect(await client().responses.retrieve(made.id)).toEqual(made)
  const next = await stored({ input: 'And then?', previous_response_id: made.id })
  expect(next.status).toBe('completed')
})

test('a repetition of a request keeps its answer in the place of the first', async () => {
  const options = { headers: { 'idempotency-key': 'heron-1' } }
  const body = { model: 'text', input: question, store: true }
  const first = await client().responses.create(body, options)
  const again = await until(
    async () =>
      await client()
        .responses.create(body, options)
        .catch(() => undefined),
  )
  expect(again.id).toBe(first.id)
  expect(await client().responses.retrieve(first.id)).toEqual(again)
})

test('a response that cannot be kept says so instead of its completion, and is billed', async () => {
  gate.shut()
  const body = { model: 'held', input: question, store: true, stream: true }
  const response = await gateway.post('/v1/responses', body)
  gateway.road.shut()
  gate.open()
  const text = await response.text()
  gateway.road.open()
  expect(text).toContain(answer)
  expect(text).not.toContain('response.completed')
  const last = text.trim().split('\n\n').at(-1)?.split('\ndata: ')
  expect(last?.[0]).toBe('event: response.failed')
  const failed = (JSON.parse(last?.[1] ?? '') as { response: { id: string; error: object } })
    .response
  expect(failed.error).toMatchObject({
    code: 'server_error',
    message: expect.stringContaining('could not be kept'),
  })
  const requestId = failed.id.replace(/^resp_/, 'req_')
  expect(await gateway.billed(requestId)).toMatchObject({ outcome: 'completed', output_tokens: 6n })
  await until(async () => {
    const { status } = await gateway.get(`/v1/responses/${failed.id}`)
    return status === 404 || undefined
  })
}, 30_000)

test('a whole response that cannot be kept is an error that SDKs do not repeat', async () => {
  gate.shut()
  gateway.heard()
  const answered = gateway.post('/v1/responses', { model: 'held', input: question, store: true })
  await until(() => gateway.heard().length === 1 || undefined)
  gateway.road.shut()
  gate.open()
  const response = await answered
  gateway.road.open()
  expect([response.status, response.headers.get('x-should-retry')]).toEqual([503, 'false'])
  expect(await response.json()).toMatchObject({ error: { code: 'database_unavailable' } })
}, 30_000)

test('while the database is away, what has to be kept or recalled is refused before it costs anything', async () => {
  gateway.road.shut()
  gateway.heard()
  for (const more of [{ store: true }, { previous_response_id: 'resp_1' }]) {
    const response = await gateway.post('/v1/responses', { model: 'text', input: 'Hi', ...more })
    expect(response.status).toBe(503)
    await response.arrayBuffer()
  }
  expect((await gateway.post('/v1/responses', { model: 'text', input: 'Hi' })).status).toBe(200)
  expect(gateway.heard()).toHaveLength(1)
  gateway.road.open()
})

test('a tenant that turns it off reads nothing at once, stores nothing, and what was kept is swept away', async () => {
  const made = await stored()
  await keepFor(null)
  await expect(client().responses.retrieve(made.id)).rejects.toMatchObject({ status: 404 })
  await expect(client().responses.delete(made.id)).rejects.toMatchObject({ status: 404 })
  for (const more of [{ store: true }, { previous_response_id: made.id }])
    await expect(
      client().responses.create({ model: 'text', input: 'Hi', ...more }),
    ).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('colonnade tenant update TENANT --keep-responses DAYS'),
    })
  // A gateway sweeps when it starts, and once a minute.
  await gateway.replaceGateways([{ byRoad: true }])
  await until(async () => !(await inTables()).includes(made.id) || undefined)
})

test('a line of a batch is kept as any other request is', async () => {
  const line = {
    custom_id: 'a',
    method: 'POST',
    url: '/v1/responses',
    body: { model: 'text', input: question, store: true },
  }
  const file = await client().files.create({
    file: new File([JSON.stringify(line)], 'lines.jsonl'),
    purpose: 'batch',
  })
  const { id } = await client().batches.create({
    input_file_id: file.id,
    endpoint: '/v1/responses',
    completion_window: '24h',
  })
  const outputFileId = await until(
    async () => (await client().batches.retrieve(id)).output_file_id ?? undefined,
    20_000,
  )
  const output = await (await client().files.content(outputFileId)).text()
  const madeId = /"id":"(resp_\w+)"/.exec(output)?.[1] ?? ''
  expect(await client().responses.retrieve(madeId)).toMatchObject({ id: madeId, store: true })
}, 30_000)

test('the events of a kept response are not replayed', async () => {
  const made = await stored()
  const replay = client().responses.retrieve(made.id, { stream: true })
  await expect(replay).rejects.toMatchObject({ status: 400, param: 'stream' })
})

test('a stream that goes on from a kept response has the same events as any other', async () => {
  const first = await stored()
  const stream = (more: object) =>
    client()
      .responses.create({ model: 'text', input: 'Hi', stream: true, ...more })
      .then(collect)
  const [plain, continued] = [
    await stream({}),
    await stream({ previous_response_id: first.id, store: true }),
  ]
  expect(continued.map(({ type }) => type)).toEqual(plain.map(({ type }) => type))
  expect(continued.map(({ sequence_number: place }) => place)).toEqual(
    continued.map((_, index) => index),
  )
})
