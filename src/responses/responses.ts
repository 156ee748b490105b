/**
 * Front door of responses that are kept: only for tenants that want it, for as long as they want it, and only for the project that made them. What is asked and
 * answered is sealed like files are. A response that is deleted, or outdated, takes its key along.
 */
import { assert } from '../platform/assert.ts'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import {
  platformScope,
  type Database,
  type Scope,
  type Sql,
} from '../platform/postgres/database.ts'
import {
  chunkBytes,
  newContentKey,
  openContentKey,
  sweepInSteps,
} from '../platform/sealed-content.ts'
import type { Seal } from '../platform/seal.ts'
import {
  chunkContext,
  conversationBytesMax,
  conversationResponsesMax,
  dayMs,
  keyContext,
  responseBytesMax,
  type Conversation,
  type NewResponse,
  type ResponseOwner,
  type StoredResponse,
} from './response.ts'
import * as store from './store.ts'

export interface StoredResponses {
  /** Throws when this much more would be too much for one response, or for the project. */
  checkRoom(owner: ResponseOwner, bytes: number): Promise<void>
  /** Keeps it, in the place of an earlier answer to the same request. */
  keep(owner: ResponseOwner, response: NewResponse): Promise<void>
  find(owner: ResponseOwner, responseId: string): Promise<StoredResponse | undefined>
  /** The response and all that it goes on from, oldest first. */
  conversation(owner: ResponseOwner, responseId: string): Promise<Conversation>
  /** Tells whether it was there. */
  delete(owner: ResponseOwner, responseId: string): Promise<boolean>
  /** Deletes what no tenant wants kept any longer; tells how much. */
  sweep(): Promise<number>
}

const sweptAtOnceMax = 100
/** Read in one statement. */
const readBytesMax = 1024 * 1024

export function openStoredResponses(options: {
  readonly database: Database
  /** Of what the database keeps. */
  readonly seal: Seal
  readonly clock: Clock
  readonly projectBytesMax: number
}): StoredResponses {
  const { database, seal, clock, projectBytesMax } = options
  const inScope = <Result>(owner: ResponseOwner, work: (tx: Sql<unknown>) => Promise<Result>) =>
    database.transaction<unknown, Result>(scopeOf(owner), work)
  /** What was made before is not there any more; `undefined` when nothing is. */
  const sinceOf = ({ responsesKeptDays: days }: ResponseOwner): Date | undefined =>
    days === undefined ? undefined : new Date(clock.nowMs() - days * dayMs)

  const readContents = async (
    tx: Sql<unknown>,
    owner: ResponseOwner,
    rows: readonly store.ResponseRow[],
  ): Promise<StoredResponse[]> => {
    const responses: StoredResponse[] = []
    for (const group of groupBySize(rows, readBytesMax)) {
      const ids = group.map(({ id }) => id)
      const chunks = await store.selectChunks(tx, owner.tenantId, ids)
      for (const row of group) {
        const own = chunks.filter((chunk) => chunk.response_id === row.id)
        responses.push(openResponse(row, own, seal))
      }
    }
    return responses
  }

  return {
    async checkRoom(owner, bytes) {
      if (bytes > responseBytesMax) throw tooLarge()
      const taken = await inScope(owner, (tx) => store.readTotal(tx, owner))
      if (taken + bytes > projectBytesMax) throw projectFull(projectBytesMax)
    },
    async keep(owner, { id, previousId, content }) {
      assert(owner.responsesKeptDays !== undefined, 'responses are kept for those who want it')
      const bytes = content.length
      if (bytes > responseBytesMax) throw tooLarge()
      const key = newContentKey(seal, keyContext(id))
      const chunks = sealInChunks(content, (piece, position) =>
        key.content.seal(piece, chunkContext(id, position)),
      )
      const createdAt = new Date(clock.nowMs())
      await inScope(owner, async (tx) => {
        await store.deleteResponse(tx, owner, id, new Date(0))
        const taken = await store.addToTotal(tx, owner, bytes)
        if (taken > projectBytesMax) throw projectFull(projectBytesMax)
        const { sealedKey } = key
        await store.insertResponse(tx, owner, { id, previousId, bytes, sealedKey, createdAt })
        const { tenantId } = owner
        for (const [position, sealedBytes] of chunks.entries())
          await store.insertChunk(tx, { tenantId, responseId: id, position, sealedBytes })
      })
    },
    async find(owner, responseId) {
      const since = sinceOf(owner)
      if (!since) return undefined
      return inScope(owner, async (tx) => {
        const row = await store.findResponse(tx, owner, responseId, since)
        return row && (await readContents(tx, owner, [row]))[0]
      })
    },
    async conversation(owner, responseId) {
      const since = sinceOf(owner)
      if (!since) return { outcome: 'absent' }
      return inScope(owner, async (tx) => {
        const bounds = { since, rowsMax: conversationResponsesMax + 1 }
        const rows = await store.selectConversation(tx, owner, responseId, bounds)
        const bytes = rows.reduce((sum, row) => sum + Number(row.bytes), 0)
        if (rows.length > conversationResponsesMax || bytes > conversationBytesMax)
          return { outcome: 'too_long' }
        const first = rows.at(-1)
        if (!first) return { outcome: 'absent' }
        const responses = await readContents(tx, owner, rows.toReversed())
        return { outcome: 'found', responses, isWhole: first.previous_id === null }
      })
    },
    async delete(owner, responseId) {
      const since = sinceOf(owner)
      if (!since) return false
      return inScope(owner, (tx) => store.deleteResponse(tx, owner, responseId, since))
    },
    sweep: () =>
      sweepInSteps(sweptAtOnceMax, (rowsMax) =>
        database.transaction(platformScope, (tx) =>
          store.deleteOutdated(tx, new Date(clock.nowMs()), rowsMax),
        ),
      ),
  }
}

function scopeOf({ tenantId }: ResponseOwner): Scope {
  return { kind: 'tenant', tenantId }
}

function sealInChunks(
  content: Buffer,
  seal: (piece: Buffer, position: number) => Buffer,
): readonly Buffer[] {
  const chunks: Buffer[] = []
  for (let start = 0; start < content.length; start += chunkBytes)
    chunks.push(seal(content.subarray(start, start + chunkBytes), chunks.length))
  return chunks
}

function openResponse(
  row: store.ResponseRow,
  chunks: readonly store.ChunkRow[],
  seal: Seal,
): StoredResponse {
  const key = openContentKey(seal, row.sealed_key, keyContext(row.id))
  const pieces = chunks.map(({ sealed_bytes: sealed, position }) => {
    const piece = key.open(sealed, chunkContext(row.id, position))
    assert(piece, 'a response’s chunk opens with its key')
    return piece
  })
  const content = Buffer.concat(pieces)
  assert(content.length === Number(row.bytes), 'a response is kept whole')
  return {
    id: row.id,
    previousId: row.previous_id ?? undefined,
    content,
    createdAtMs: row.created_at.getTime(),
  }
}

/** In their order; a row that is larger than that is a group of its own. */
function groupBySize(
  rows: readonly store.ResponseRow[],
  bytesMax: number,
): readonly (readonly store.ResponseRow[])[] {
  const groups: store.ResponseRow[][] = []
  let bytes = Infinity
  for (const row of rows) {
    bytes += Number(row.bytes)
    if (bytes > bytesMax) {
      groups.push([])
      bytes = Number(row.bytes)
    }
    groups.at(-1)?.push(row)
  }
  return groups
}

function tooLarge(): Fault {
  return new Fault({
    code: 'client.body_too_large',
    public: `A response is kept with its input when both take up to ${responseBytesMax / 1024 ** 2} MiB together. Leave 'store' out.`,
    param: 'store',
  })
}

function projectFull(most: number): Fault {
  return new Fault({
    code: 'client.body_too_large',
    public: `The responses that are kept for this project take ${(most / 1024 ** 3).toFixed(2)} GiB, which is the most. Delete some of them, or leave 'store' out.`,
    param: 'store',
  })
}
