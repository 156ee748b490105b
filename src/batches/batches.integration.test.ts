/** Files and the queue of batches on real PostgreSQL, with a clock of the test's own: no gateway, so that each step is taken when the test says. */
import pg from 'pg'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { importShippedCatalogue } from '../catalog/catalog.ts'
import { createProject, createTenant } from '../identity/identity.ts'
import { manualClock } from '../platform/clock.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { createSeal } from '../platform/seal.ts'
import { chunkBytes } from '../platform/sealed-content.ts'
import { completionWindowMs, openBatchesMax, type Batch } from './batch.ts'
import { openBatches, type Batches } from './batches.ts'
import { outputLifeMs, storingMsMax, type Owner, type StoredFile } from './file.ts'
import { openFiles, type Files } from './files.ts'
import { openBatchQueue, type BatchQueue, type ClaimedLine } from './queue.ts'

let place: TestDatabase
let database: Database
let direct: pg.Client
let owner: Owner
let stranger: Owner
let clock: ReturnType<typeof manualClock>
let files: Files
let batches: Batches
const seal = createSeal(Buffer.alloc(32, 7))
const endpoint = '/v1/chat/completions'
const projectBytesMax = 8 * 1024 * 1024
const usage = { inputTokens: 5, cachedInputTokens: 1, outputTokens: 10, reasoningTokens: 2 }

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  direct = new pg.Client({ connectionString: place.ownerUrl })
  await direct.connect()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
  await database.transaction(platformScope, (tx) => importShippedCatalogue(tx, []))
})
afterAll(async () => {
  await direct.end()
  await database.close()
  await place.close()
})

let tenants = 0
beforeEach(async () => {
  tenants += 1
  await direct.query('DELETE FROM batches')
  await direct.query('DELETE FROM files')
  ;[owner, stranger] = await database.transaction(platformScope, async (tx) => {
    const made = []
    for (const name of [`A${tenants}`, `B${tenants}`]) {
      const tenant = await createTenant(tx, { name, priceListId: 'standard' })
      const project = await createProject(tx, tenant.id, 'p')
      made.push({ tenantId: tenant.id, projectId: project.id })
    }
    return made as [Owner, Owner]
  })
  clock = manualClock(Date.UTC(2026, 0, 1))
  files = openFiles({ database, seal, clock, projectBytesMax })
  batches = openBatches({ database, seal, clock, endpoints: [endpoint] })
})

const worker = (workerId: string, of = files): BatchQueue =>
  openBatchQueue({ database, files: of, seal, clock, workerId })

async function store(content: Buffer, lifeMs = 86_400_000 * 30): Promise<StoredFile> {
  const writer = await files.begin(owner)
  await writer.write(content)
  return files.finish(owner, writer, { purpose: 'batch', name: 'in.jsonl', lifeMs })
}

const lineText = (customId: string, content = 'hello'): string =>
  JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: endpoint,
    body: { model: 'm', messages: [{ role: 'user', content }] },
  })

async function submit(customIds: readonly string[]): Promise<Batch> {
  const input = await store(Buffer.from(customIds.map((id) => lineText(id)).join('\n')))
  return create(input.id)
}

const create = (inputFileId: string): Promise<Batch> =>
  batches.create(owner, {
    apiKeyId: 'key_0000000000000000',
    endpoint,
    inputFileId,
    metadata: undefined,
    outputLifeMs,
  })

const look = async (batch: Batch): Promise<Batch> => {
  const found = await batches.find(owner, batch.id)
  if (!found) throw new Error('the batch is there')
  return found
}

const finish = (queue: BatchQueue, line: ClaimedLine): Promise<boolean> =>
  queue.finish(line, {
    failed: false,
    response: { statusCode: 200, requestId: 'req_1', body: { answer: line.customId } },
    usage,
  })

async function read(fileId: string | undefined): Promise<readonly { custom_id: string }[]> {
  const content = fileId === undefined ? undefined : await files.open(owner, fileId)
  if (!content) return []
  const chunks = await Array.fromAsync(content.chunks())
  return Buffer.concat(chunks)
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { custom_id: string })
}

const idsOf = async (fileId: string | undefined): Promise<readonly string[]> =>
  (await read(fileId)).map((line) => line.custom_id)

const count = async (table: string): Promise<number> =>
  (await direct.query(`SELECT count(*)::int AS count FROM ${table}`)).rows[0].count

/** As if the gateways that hold claims had been silent for longer than a minute. */
const loseClaims = async (): Promise<void> => {
  await direct.query(
    `UPDATE batch_lines SET claimed_until = now() - interval '1 second' WHERE claimed_by IS NOT NULL`,
  )
  await direct.query(
    `UPDATE batches SET claimed_until = now() - interval '1 second' WHERE claimed_by IS NOT NULL`,
  )
}

test('a file comes out as it went in, whatever its length and however it was cut', async () => {
  for (const length of [0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes + 7]) {
    const content = Buffer.alloc(length, 'abcdefg')
    const writer = await files.begin(owner)
    for (let at = 0; at < length; at += 100_000)
      await writer.write(content.subarray(at, at + 100_000))
    const file = await files.finish(owner, writer, { purpose: 'batch', name: 'x', lifeMs: 1e9 })
    expect(file.bytes).toBe(length)
    const opened = await files.open(owner, file.id)
    if (!opened) throw new Error('the file is there')
    const chunks = await Array.fromAsync(opened.chunks())
    expect(Buffer.concat(chunks).equals(content)).toBe(true)
    if (length > 2 * chunkBytes)
      expect(await opened.read(chunkBytes - 3, 6)).toEqual(
        content.subarray(chunkBytes - 3, chunkBytes + 3),
      )
  }
})

test('a chunk that was changed, or put elsewhere, does not open', async () => {
  const file = await store(Buffer.alloc(2 * chunkBytes, 'x'))
  const open = async () => {
    const content = await files.open(owner, file.id)
    return content && (await Array.fromAsync(content.chunks()))
  }
  await direct.query(
    `UPDATE file_chunks a SET sealed_bytes = b.sealed_bytes FROM file_chunks b WHERE a.file_id = $1 AND b.file_id = $1 AND a.position <> b.position`,
    [file.id],
  )
  await expect(open()).rejects.toThrow('opens with its key')
})

test('each file has a key of its own, which another installation’s secret does not open', async () => {
  await store(Buffer.from('a'))
  const file = await store(Buffer.from('a'))
  const keys = await direct.query('SELECT DISTINCT sealed_key FROM files')
  expect(keys.rows).toHaveLength(2)
  const elsewhere = openFiles({
    database,
    seal: createSeal(Buffer.alloc(32, 8)),
    clock,
    projectBytesMax,
  })
  await expect(elsewhere.find(owner, file.id)).rejects.toThrow('opens with the installation')
})

test('row-level security alone keeps one tenant from another’s rows', async () => {
  const batch = await submit(['a'])
  const queue = worker('one')
  await queue.advanceBatch()
  for (const [tenantId, expected] of [
    [owner.tenantId, 1],
    [stranger.tenantId, 0],
  ] as const)
    for (const table of ['files', 'file_chunks', 'batches', 'batch_lines']) {
      const found = await database.transaction({ kind: 'tenant', tenantId }, (tx) =>
        sql`SELECT 1 FROM ${sql.table(table)}`.execute(tx),
      )
      expect([table, found.rows.length]).toEqual([table, expected])
    }
  expect(await batches.find(stranger, batch.id)).toBeUndefined()
  expect(await files.find(stranger, batch.inputFileId)).toBeUndefined()
  // Another project of the same tenant passes row-level security, and not the predicate.
  const sibling = { tenantId: owner.tenantId, projectId: stranger.projectId }
  expect(await batches.find(sibling, batch.id)).toBeUndefined()
  expect(await files.find(sibling, batch.inputFileId)).toBeUndefined()
  expect(await files.delete(sibling, batch.inputFileId)).toBe('absent')
})

test('an expired file is not found any more, and the sweep takes its last row', async () => {
  const file = await store(Buffer.from('x'), 3_600_000)
  clock.advance(3_599_999)
  expect(await files.sweep()).toBe(0)
  expect(await files.find(owner, file.id)).toBeDefined()
  clock.advance(1)
  expect(await files.find(owner, file.id)).toBeUndefined()
  expect(await files.open(owner, file.id)).toBeUndefined()
  await expect(create(file.id)).rejects.toMatchObject({ param: 'input_file_id' })
  expect(await files.sweep()).toBe(1)
  expect([await count('files'), await count('file_chunks')]).toEqual([0, 0])
})

test('an expired file that a batch reads stays until the batch has ended', async () => {
  const input = await store(Buffer.from(lineText('a')), 3_600_000)
  const batch = await create(input.id)
  clock.advance(3_600_001)
  expect(await files.sweep()).toBe(0)
  const queue = worker('one')
  await queue.advanceBatch()
  const [line] = await queue.claimLines(5)
  if (line) await finish(queue, line)
  await queue.advanceBatch()
  expect((await look(batch)).state).toBe('completed')
  expect(await files.sweep()).toBe(1)
  expect(await files.find(owner, input.id)).toBeUndefined()
})

test('an upload that never became whole is invisible, and swept', async () => {
  const writer = await files.begin(owner)
  await writer.write(Buffer.alloc(chunkBytes))
  expect(await files.find(owner, writer.fileId)).toBeUndefined()
  const page = { after: undefined, limit: 10, order: 'asc', purpose: undefined } as const
  expect((await files.list(owner, page)).files).toEqual([])
  clock.advance(storingMsMax)
  await files.sweep()
  expect([await count('files'), await count('file_chunks')]).toEqual([0, 0])
  await expect(
    files.finish(owner, writer, { purpose: 'batch', name: 'x', lifeMs: 1e9 }),
  ).rejects.toMatchObject({ code: 'client.not_found' })
})

test('a project stores no more than its bound, however many upload at once', async () => {
  const content = Buffer.alloc(3 * 1024 * 1024)
  const outcomes = await Promise.allSettled([store(content), store(content), store(content)])
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
  const refused = outcomes.find(({ status }) => status === 'rejected')
  expect(refused).toMatchObject({ reason: { code: 'client.body_too_large' } })
  await expect(files.checkRoom(owner, content.length)).rejects.toMatchObject({
    code: 'client.body_too_large',
  })
  await files.checkRoom(stranger, content.length)
})

test('a project takes some of the places for uploads, never all; they are free again when uploads end', () => {
  const mine = Array.from({ length: 4 }, () => files.takePlace(owner))
  expect(() => files.takePlace(owner)).toThrow('as many uploads as it can')
  for (let index = 0; index < 12; index += 1)
    files.takePlace({ ...stranger, projectId: `prj_${index}` })
  expect(() => files.takePlace(stranger)).toThrow('as many uploads as it can')
  mine[0]?.[Symbol.dispose]()
  files.takePlace(stranger)
  expect(() => files.takePlace(owner)).toThrow('as many uploads as it can')
})

test('a project has so many batches under way', async () => {
  const input = await store(Buffer.from(lineText('a')))
  for (let index = 0; index < openBatchesMax; index += 1) await create(input.id)
  await expect(create(input.id)).rejects.toMatchObject({ code: 'limits.rate_exceeded' })
}, 20_000)

test('a batch that is over time delivers what was done, and names the lines that were not', async () => {
  const batch = await submit(['a', 'b', 'c', 'd'])
  const queue = worker('one')
  await queue.advanceBatch()
  const [first, second, third] = await queue.claimLines(3)
  if (!first || !second || !third) throw new Error('three lines are claimed')
  await finish(queue, first)
  clock.advance(completionWindowMs - 1)
  await queue.tidy()
  expect((await look(batch)).state).toBe('in_progress')
  clock.advance(1)
  await queue.tidy()
  expect((await look(batch)).state).toBe('finalizing')
  expect(await queue.claimLines(5)).toEqual([])
  // What is under way comes to its end first.
  expect(await queue.advanceBatch()).toBe(false)
  await finish(queue, second)
  await queue.returnLine(third)
  expect(await queue.advanceBatch()).toBe(true)
  const ended = await look(batch)
  expect(ended).toMatchObject({
    state: 'expired',
    expiredAtMs: clock.nowMs(),
    counts: { total: 4, completed: 2, failed: 2 },
    usage: { inputTokens: 10, cachedInputTokens: 2, outputTokens: 20, reasoningTokens: 4 },
  })
  expect(await idsOf(ended.outputFileId)).toEqual(['a', 'b'])
  expect(await read(ended.errorFileId)).toMatchObject(
    ['c', 'd'].map((id) => ({ custom_id: id, response: null, error: { code: 'batch_expired' } })),
  )
  // Seven days later nothing of it is left but its numbers.
  clock.advance(outputLifeMs)
  await files.sweep()
  expect(await files.open(owner, ended.outputFileId ?? '')).toBeUndefined()
  expect((await look(batch)).counts.total).toBe(4)
})

test('a batch that nobody checked in time expires without lines', async () => {
  const batch = await submit(['a'])
  clock.advance(completionWindowMs)
  const queue = worker('one')
  await queue.tidy()
  await queue.advanceBatch()
  expect(await look(batch)).toMatchObject({
    state: 'expired',
    counts: { total: 0 },
    outputFileId: undefined,
    errorFileId: undefined,
  })
})

test('a batch that is cancelled before it was checked ends at once', async () => {
  const batch = await submit(['a'])
  expect(await batches.cancel(owner, batch.id)).toMatchObject({ state: 'cancelling' })
  await worker('one').advanceBatch()
  expect(await look(batch)).toMatchObject({ state: 'cancelled', cancelledAtMs: clock.nowMs() })
})

test('lines of a worker that fell silent go to another, under the same key; its late result is refused', async () => {
  const batch = await submit(['a', 'b'])
  const dead = worker('dead')
  await dead.advanceBatch()
  const lost = await dead.claimLines(2)
  const heir = worker('heir')
  await heir.tidy()
  expect(await heir.claimLines(2)).toEqual([])
  await loseClaims()
  await heir.tidy()
  const inherited = await heir.claimLines(2)
  expect(inherited.map((line) => line.idempotencyKey)).toEqual(
    lost.map((line) => line.idempotencyKey),
  )
  for (const line of inherited) expect(await finish(heir, line)).toBe(true)
  for (const line of lost) expect(await finish(dead, line)).toBe(false)
  await heir.advanceBatch()
  expect(await look(batch)).toMatchObject({ counts: { completed: 2 }, usage: { inputTokens: 10 } })
})

test('signs of life keep the claims that they name, and no other', async () => {
  await submit(['a', 'b'])
  const queue = worker('one')
  await queue.advanceBatch()
  const [a] = await queue.claimLines(2)
  await loseClaims()
  await queue.keepClaims(a ? [a] : [])
  await worker('two').tidy()
  const free = await worker('two').claimLines(2)
  expect(free.map(({ customId }) => customId)).toEqual(['b'])
})

test('a worker that dies while it checks the input, or writes the output, leaves all to the next', async () => {
  const batch = await submit(['a', 'b'])
  const failing = (step: keyof Files): Files => ({
    ...files,
    [step]: () => Promise.reject(new Error('killed')),
  })
  await expect(worker('dead', failing('open')).advanceBatch()).rejects.toThrow('killed')
  const queue = worker('one')
  await queue.advanceBatch()
  for (const line of await queue.claimLines(2)) await finish(queue, line)
  const half = {
    ...files,
    begin: async (of: Owner) => ({
      ...(await files.begin(of)),
      flush: () => Promise.reject(new Error('killed')),
    }),
  }
  await expect(worker('dead', half).advanceBatch()).rejects.toThrow('killed')
  expect((await look(batch)).state).toBe('finalizing')
  expect(await count('batch_lines')).toBe(2)
  await worker('two').advanceBatch()
  const ended = await look(batch)
  expect(await idsOf(ended.outputFileId)).toEqual(['a', 'b'])
  // The half-written file of the first try is gone.
  expect(await count('files')).toBe(2)
})

test('a line that is put back waits behind those that never ran, and is a new request only if it cost nothing', async () => {
  await submit(['a', 'b', 'c'])
  const queue = worker('one')
  await queue.advanceBatch()
  const [a] = await queue.claimLines(1)
  if (!a) throw new Error('a line is claimed')
  await queue.defer(a, { costNothing: false, hasFailed: true, pause: undefined })
  const [b] = await queue.claimLines(1)
  if (!b) throw new Error('a line is claimed')
  expect(b.customId).toBe('b')
  await queue.defer(b, { costNothing: true, hasFailed: false, pause: undefined })
  const again = await queue.claimLines(3)
  expect(again.map(({ customId }) => customId)).toEqual(['a', 'b', 'c'])
  expect(again[0]).toMatchObject({ idempotencyKey: a.idempotencyKey, tries: 1 })
  expect(again[1]?.idempotencyKey).not.toBe(b.idempotencyKey)
  expect(again[1]?.tries).toBe(0)
})

test('a pause holds the whole batch, doubles with each that follows, and ends with a result', async () => {
  await submit(['a', 'b', 'c', 'd'])
  const queue = worker('one')
  await queue.advanceBatch()
  const pause = { msMin: 2_000, msMax: 5_000 }
  const [a, b] = await queue.claimLines(2)
  // Two that meet the same wall are one pause.
  for (const line of [a, b])
    if (line) await queue.defer(line, { costNothing: true, hasFailed: false, pause })
  for (const waitMs of [2_000, 4_000, 5_000, 5_000]) {
    clock.advance(waitMs - 1)
    expect(await queue.claimLines(4)).toEqual([])
    clock.advance(1)
    const trial = await queue.claimLines(4)
    expect(trial).toHaveLength(1)
    if (trial[0]) await queue.defer(trial[0], { costNothing: true, hasFailed: false, pause })
  }
  clock.advance(5_000)
  const [last] = await queue.claimLines(4)
  if (last) await finish(queue, last)
  expect(await queue.claimLines(4)).toHaveLength(3)
})

test('batches take turns', async () => {
  const first = await submit(['a', 'b', 'c', 'd'])
  clock.advance(1)
  const second = await submit(['e', 'f'])
  const queue = worker('one')
  await queue.advanceBatch()
  await queue.advanceBatch()
  const served: string[] = []
  for (let turn = 0; turn < 4; turn += 1)
    served.push(...(await queue.claimLines(1)).map((line) => line.batchId))
  expect(served).toEqual([first.id, second.id, first.id, second.id])
})

test('a batch that is stopped ends as failed with its reason, and what was done', async () => {
  const batch = await submit(['a', 'b'])
  const queue = worker('one')
  await queue.advanceBatch()
  const [a, b] = await queue.claimLines(2)
  if (!a || !b) throw new Error('two lines are claimed')
  await finish(queue, a)
  const error = { code: 'invalid_api_key', message: 'x', line: null, param: null }
  await queue.stop(batch.id, error)
  await queue.returnLine(b)
  await queue.advanceBatch()
  const ended = await look(batch)
  expect(ended).toMatchObject({ state: 'failed', errors: [error] })
  expect(await idsOf(ended.outputFileId)).toEqual(['a'])
  expect(await idsOf(ended.errorFileId)).toEqual(['b'])
})

test.each([
  ['without a line', '\n\n', 'empty_file'],
  ['whose lines have no custom_id', '{}\n{}', 'missing_required_parameter'],
])('an input %s fails the batch', async (_, text, code) => {
  const batch = await create((await store(Buffer.from(text))).id)
  await worker('one').advanceBatch()
  expect((await look(batch)).errors[0]?.code).toBe(code)
})

test('50,000 lines are checked a chunk at a time, and one more is refused', async () => {
  const text = Array.from({ length: 50_000 }, (_, index) => lineText(`id-${index}`)).join('\n')
  const input = await store(Buffer.from(text))
  const batch = await create(input.id)
  let chunkOpen = 0
  let chunksAtOnce = 0
  // Whoever asks for the next chunk has let go of the one before.
  const watched: Files = {
    ...files,
    async open(of, id) {
      const content = await files.open(of, id)
      if (!content) return undefined
      return {
        ...content,
        async *chunks() {
          for await (const chunk of content.chunks()) {
            chunkOpen += 1
            chunksAtOnce = Math.max(chunksAtOnce, chunkOpen)
            yield chunk
            chunkOpen -= 1
          }
        },
      }
    },
  }
  await worker('one', watched).advanceBatch()
  expect(chunksAtOnce).toBe(1)
  expect(await look(batch)).toMatchObject({ state: 'in_progress', counts: { total: 50_000 } })
  const last = await direct.query('SELECT max(line) AS line FROM batch_lines')
  expect(last.rows[0].line).toBe(50_000)

  await direct.query('DELETE FROM batches')
  await direct.query('DELETE FROM files')
  const larger = await create((await store(Buffer.from(`${text}\n${lineText('one-more')}`))).id)
  await worker('one').advanceBatch()
  expect((await look(larger)).errors).toMatchObject([{ code: 'too_many_requests', line: null }])
}, 30_000)
