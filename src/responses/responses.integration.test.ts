/** Kept responses on real PostgreSQL, with a clock of our own. */
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { importShippedCatalogue } from '../catalog/catalog.ts'
import { createProject, createTenant, updateTenant } from '../identity/identity.ts'
import { manualClock } from '../platform/clock.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { createSeal } from '../platform/seal.ts'
import { chunkBytes } from '../platform/sealed-content.ts'
import {
  conversationBytesMax,
  conversationResponsesMax,
  dayMs,
  responseBytesMax,
  type ResponseOwner,
} from './response.ts'
import { openStoredResponses, type StoredResponses } from './responses.ts'

const seal = createSeal(Buffer.alloc(32, 7))
const projectBytesMax = 2 * conversationBytesMax
const keptDays = 7
const secret = 'the blue heron stands on one leg'

let place: TestDatabase
let database: Database
let direct: pg.Client
let owner: ResponseOwner
let neighbour: ResponseOwner
let stranger: ResponseOwner
let clock: ReturnType<typeof manualClock>
let responses: StoredResponses

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
  await direct.query('DELETE FROM stored_responses')
  await direct.query('DELETE FROM stored_response_totals')
  ;[owner, neighbour, stranger] = await database.transaction(platformScope, async (tx) => {
    const ownerOf = async (name: string): Promise<ResponseOwner> => {
      const tenant = await createTenant(tx, { name: `${name}${tenants}`, priceListId: 'standard' })
      await updateTenant(tx, tenant.id, { responsesKeptDays: keptDays })
      const project = await createProject(tx, tenant.id, 'p')
      return { tenantId: tenant.id, projectId: project.id, responsesKeptDays: keptDays }
    }
    const first = await ownerOf('A')
    const { id } = await createProject(tx, first.tenantId, 'q')
    return [first, { ...first, projectId: id }, await ownerOf('B')] as const
  })
  clock = manualClock(Date.UTC(2026, 0, 1))
  responses = openStoredResponses({ database, seal, clock, projectBytesMax })
})

const keep = (id: string, content: Buffer | string = secret, previousId?: string): Promise<void> =>
  responses.keep(owner, { id, previousId, content: Buffer.from(content) })

const setDays = (days: number | null): Promise<unknown> =>
  database.transaction(platformScope, (tx) =>
    updateTenant(tx, owner.tenantId, { responsesKeptDays: days }),
  )

const countRows = async (table: string): Promise<number> =>
  Number((await direct.query(`SELECT count(*) FROM ${table}`)).rows[0].count)

const totalOf = async ({ projectId }: ResponseOwner): Promise<number> => {
  const { rows } = await direct.query(
    'SELECT bytes FROM stored_response_totals WHERE project_id = $1',
    [projectId],
  )
  return Number(rows[0]?.bytes ?? 0)
}

test('what is kept comes back byte for byte, however many pieces it takes', async () => {
  for (const length of [1, chunkBytes - 1, chunkBytes, 3 * chunkBytes + 7]) {
    const content = Buffer.alloc(length, 'heron')
    await keep(`resp_${length}`, content)
    const found = await responses.find(owner, `resp_${length}`)
    expect(found?.content.equals(content)).toBe(true)
    expect(found?.createdAtMs).toBe(clock.nowMs())
  }
})

test('neither another project nor another tenant reads, continues or deletes it', async () => {
  await keep('resp_1')
  for (const other of [neighbour, stranger]) {
    expect(await responses.find(other, 'resp_1')).toBeUndefined()
    expect(await responses.conversation(other, 'resp_1')).toEqual({ outcome: 'absent' })
    expect(await responses.delete(other, 'resp_1')).toBe(false)
  }
  // Not even with the right project's name.
  const pretender = { ...owner, tenantId: stranger.tenantId }
  expect(await responses.find(pretender, 'resp_1')).toBeUndefined()
  expect(await responses.find(owner, 'resp_1')).toBeDefined()
})

test('a conversation does not cross into another project', async () => {
  await keep('resp_1')
  await responses.keep(neighbour, {
    id: 'resp_2',
    previousId: 'resp_1',
    content: Buffer.from('x'),
  })
  expect(await responses.conversation(neighbour, 'resp_2')).toMatchObject({
    responses: [{ id: 'resp_2' }],
    isWhole: false,
  })
})

test('a tenant that wants none kept finds none, in the moment in which its gateway knows', async () => {
  await keep('resp_1')
  const off = { ...owner, responsesKeptDays: undefined }
  expect(await responses.find(off, 'resp_1')).toBeUndefined()
  expect(await responses.conversation(off, 'resp_1')).toEqual({ outcome: 'absent' })
  expect(await responses.delete(off, 'resp_1')).toBe(false)
})

test('what is older than the tenant keeps responses is not found, and is swept with its key and its pieces', async () => {
  await keep('resp_old')
  clock.advance(keptDays * dayMs - 1)
  await keep('resp_new')
  expect(await responses.find(owner, 'resp_old')).toBeDefined()
  expect(await responses.sweep()).toBe(0)
  clock.advance(1)
  expect(await responses.find(owner, 'resp_old')).toBeUndefined()
  expect(await responses.sweep()).toBe(1)
  expect(await countRows('stored_responses')).toBe(1)
  expect(await countRows('stored_response_chunks')).toBe(1)
  expect(await totalOf(owner)).toBe(secret.length)
  expect(await responses.find(owner, 'resp_new')).toBeDefined()
})

test('a tenant that keeps them for a shorter time, or not at all any more, has the rest swept; others keep theirs', async () => {
  await responses.keep(stranger, {
    id: 'resp_theirs',
    previousId: undefined,
    content: Buffer.from('x'),
  })
  await keep('resp_1')
  clock.advance(3 * dayMs)
  await keep('resp_2')
  await setDays(2)
  expect(await responses.sweep()).toBe(1)
  expect(await responses.find(owner, 'resp_2')).toBeDefined()
  await setDays(null)
  expect(await responses.sweep()).toBe(1)
  expect(await totalOf(owner)).toBe(0)
  expect(await responses.find(stranger, 'resp_theirs')).toBeDefined()
})

test('more than goes in one step is swept all the same', async () => {
  for (let count = 0; count < 120; count += 1) await keep(`resp_${count}`, 'x')
  await setDays(null)
  expect(await responses.sweep()).toBe(120)
  expect(await countRows('stored_response_chunks')).toBe(0)
})

test('with its project it goes too', async () => {
  await keep('resp_1')
  await direct.query('DELETE FROM projects WHERE id = $1', [owner.projectId])
  expect(await countRows('stored_responses')).toBe(0)
  expect(await countRows('stored_response_chunks')).toBe(0)
  expect(await countRows('stored_response_totals')).toBe(0)
})

test('in the database it is sealed, each with a key of its own, and no piece can take the place of another', async () => {
  await keep('resp_1', Buffer.alloc(2 * chunkBytes, secret))
  await keep('resp_2', Buffer.alloc(2 * chunkBytes, secret))
  const chunks = await direct.query<{ sealed_bytes: Buffer }>(
    'SELECT sealed_bytes FROM stored_response_chunks',
  )
  expect(chunks.rows.some((row) => row.sealed_bytes.includes(secret))).toBe(false)
  const keys = await direct.query<{ sealed_key: Buffer }>('SELECT sealed_key FROM stored_responses')
  expect(keys.rows[0]?.sealed_key.equals(keys.rows[1]?.sealed_key ?? Buffer.alloc(0))).toBe(false)

  await direct.query(
    `UPDATE stored_response_chunks SET sealed_bytes = (SELECT sealed_bytes FROM stored_response_chunks WHERE response_id = 'resp_1' AND position = 1)
     WHERE response_id = 'resp_1' AND position = 0`,
  )
  await expect(responses.find(owner, 'resp_1')).rejects.toThrow(/opens with its key/)
  await direct.query(`UPDATE stored_responses SET sealed_key = $1 WHERE id = 'resp_2'`, [
    keys.rows[0]?.sealed_key,
  ])
  await expect(responses.find(owner, 'resp_2')).rejects.toThrow()
})

test('another installation’s secret opens nothing', async () => {
  await keep('resp_1')
  const others = openStoredResponses({
    database,
    seal: createSeal(Buffer.alloc(32, 8)),
    clock,
    projectBytesMax,
  })
  await expect(others.find(owner, 'resp_1')).rejects.toThrow(/secret/)
})

test('a conversation comes in its order, and tells when it is not whole', async () => {
  await keep('resp_1', 'one')
  await keep('resp_2', 'two', 'resp_1')
  await keep('resp_3', 'three', 'resp_2')
  const said = async (): Promise<unknown> => {
    const conversation = await responses.conversation(owner, 'resp_3')
    if (conversation.outcome !== 'found') return conversation.outcome
    return [conversation.isWhole, ...conversation.responses.map(({ content }) => String(content))]
  }
  expect(await said()).toEqual([true, 'one', 'two', 'three'])
  await responses.delete(owner, 'resp_1')
  expect(await said()).toEqual([false, 'two', 'three'])
  expect(await responses.conversation(owner, 'resp_1')).toEqual({ outcome: 'absent' })
})

test('a conversation has bounds: how many responses, and how many bytes', async () => {
  const half = Buffer.alloc(conversationBytesMax / 2, 'x')
  await keep('resp_a', half)
  await keep('resp_b', half, 'resp_a')
  expect(await responses.conversation(owner, 'resp_b')).toMatchObject({ isWhole: true })
  await keep('resp_c', 'x', 'resp_b')
  expect(await responses.conversation(owner, 'resp_c')).toEqual({ outcome: 'too_long' })

  await keep('resp_0', 'x')
  for (let place = 1; place <= conversationResponsesMax; place += 1)
    await keep(`resp_${place}`, 'x', `resp_${place - 1}`)
  const last = conversationResponsesMax - 1
  expect(await responses.conversation(owner, `resp_${last}`)).toMatchObject({ isWhole: true })
  expect(await responses.conversation(owner, `resp_${last + 1}`)).toEqual({ outcome: 'too_long' })
}, 60_000)

test('one response, and those of a project together, have bounds; what is deleted makes room', async () => {
  await expect(responses.checkRoom(owner, responseBytesMax + 1)).rejects.toMatchObject({
    code: 'client.body_too_large',
  })
  await expect(keep('resp_0', Buffer.alloc(responseBytesMax + 1))).rejects.toThrow()
  const half = Buffer.alloc(projectBytesMax / 2)
  await keep('resp_1', half)
  await keep('resp_2', half)
  await expect(keep('resp_3', 'x')).rejects.toMatchObject({ code: 'client.body_too_large' })
  await expect(responses.checkRoom(owner, 1)).rejects.toMatchObject({ param: 'store' })
  expect(await responses.find(owner, 'resp_3')).toBeUndefined()
  await responses.checkRoom(neighbour, 1)
  expect(await responses.delete(owner, 'resp_1')).toBe(true)
  await keep('resp_3', 'x')
  expect(await totalOf(owner)).toBe(half.length + 1)
})

test('a later answer to the same request takes the place of the first', async () => {
  await keep('resp_1', 'one')
  await keep('resp_1', 'another')
  expect(String((await responses.find(owner, 'resp_1'))?.content)).toBe('another')
  expect(await totalOf(owner)).toBe('another'.length)
})

test('many at once are counted exactly', async () => {
  await Promise.all(Array.from({ length: 20 }, (_, index) => keep(`resp_${index}`, 'four')))
  expect(await totalOf(owner)).toBe(80)
})
