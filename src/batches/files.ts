/**
 * Front door of files. Content streams in and out in pieces, each sealed with the file's own random key, so no more than a few pieces are ever in
 * memory; the key is sealed with the installation's secret. A file that is deleted, or has expired, takes its key and its pieces along.
 */
import { assert } from '../platform/assert.ts'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { randomBase62 } from '../platform/ids.ts'
import {
  platformScope,
  type Database,
  type Scope,
  type Sql,
} from '../platform/postgres/database.ts'
import type { Seal } from '../platform/seal.ts'
import {
  chunkBytes,
  newContentKey,
  openContentKey,
  sweepInSteps,
} from '../platform/sealed-content.ts'
import type { CreationKey } from './creation-key.ts'
import {
  chunkContext,
  keyContext,
  nameContext,
  storingMsMax,
  type FilePurpose,
  type Owner,
  type StoredFile,
} from './file.ts'
import * as store from './file-store.ts'

export interface FilePage {
  readonly after: string | undefined
  readonly limit: number
  readonly order: 'asc' | 'desc'
  readonly purpose: FilePurpose | undefined
}

/** A file whose content is still coming. */
export interface FileWriter {
  readonly fileId: string
  readonly bytes: number
  write(bytes: Buffer): Promise<void>
  /** Stores what is left. The file is still nobody's to see. */
  flush(): Promise<void>
  /** After `flush`: makes it visible, in the caller's transaction. */
  publish(tx: Sql<unknown>, file: FileFacts): Promise<StoredFile>
  /** Leaves nothing behind. May be called at any time. */
  abandon(): Promise<void>
}

export interface FileFacts {
  readonly purpose: FilePurpose
  readonly name: string
  readonly lifeMs: number
}

export interface Files {
  /** A place among the uploads of this process, until it is disposed of. Throws when there is none, or none for this project. */
  takePlace(owner: Owner): Disposable
  begin(owner: Owner): Promise<FileWriter>
  /** Flushes and publishes an upload, unless the project would then store too much. A repetition leaves nothing behind but the file that is there. */
  finish(owner: Owner, writer: FileWriter, facts: FileFacts, key?: CreationKey): Promise<StoredFile>
  /** Throws when this much more would be too much for the project. */
  checkRoom(owner: Owner, bytes: number): Promise<void>
  find(owner: Owner, fileId: string): Promise<StoredFile | undefined>
  list(owner: Owner, page: FilePage): Promise<{ files: readonly StoredFile[]; hasMore: boolean }>
  /** Opens a file that the owner has; `undefined` when there is none. */
  open(owner: Owner, fileId: string): Promise<FileContent | undefined>
  delete(owner: Owner, fileId: string): Promise<'deleted' | 'in_use' | 'absent'>
  /** Deletes some of what has expired; tells how many. */
  sweep(): Promise<number>
}

export interface FileContent {
  readonly file: StoredFile
  /** Throws when the file is deleted meanwhile, or was changed in the database. */
  chunks(): AsyncGenerator<Buffer>
  /** A part of it, which must lie within. */
  read(start: number, length: number): Promise<Buffer>
}

const sweptAtOnceMax = 20
/** Under way in one process; each takes the time of its client, and some pieces of memory. */
const uploadsMax = 16
const uploadsOfProjectMax = 4

export function openFiles(options: {
  readonly database: Database
  /** Of what the database keeps. */
  readonly seal: Seal
  readonly clock: Clock
  readonly projectBytesMax: number
}): Files {
  const { database, seal, clock, projectBytesMax } = options
  const now = (): Date => new Date(clock.nowMs())

  const toFile = (row: store.FileRow): StoredFile => {
    const name = openKey(seal, row).open(row.sealed_name, nameContext(row.id))
    assert(name, 'a file’s name opens with its key')
    return {
      id: row.id,
      purpose: row.purpose,
      name: name.toString('utf8'),
      bytes: Number(row.bytes),
      createdAtMs: row.created_at.getTime(),
      expiresAtMs: row.expires_at.getTime(),
    }
  }

  const checkRoom = async (tx: Sql<unknown>, owner: Owner, bytes: number): Promise<void> => {
    const stored = await store.sumBytes(tx, owner)
    if (stored + bytes > projectBytesMax) throw projectFull(stored, projectBytesMax)
  }

  /** The projects of those under way. */
  let uploads: readonly string[] = []

  return {
    takePlace({ projectId }) {
      const ofProject = uploads.filter((each) => each === projectId).length
      if (uploads.length >= uploadsMax || ofProject >= uploadsOfProjectMax) throw busy()
      uploads = [...uploads, projectId]
      return {
        [Symbol.dispose]() {
          uploads = uploads.toSpliced(uploads.indexOf(projectId), 1)
        },
      }
    },
    begin: (owner) => beginFile({ owner, database, seal, clock }),
    async finish(owner, writer, facts, key) {
      await writer.flush()
      const file = await database.transaction(scopeOf(owner), async (tx) => {
        await store.lockProject(tx, owner)
        const earlier = await key?.find(tx, (id) => store.findFile(tx, owner, id, now()))
        if (earlier) return toFile(earlier)
        await checkRoom(tx, owner, writer.bytes)
        const made = await writer.publish(tx, facts)
        await key?.keep(tx, made.id)
        return made
      })
      if (file.id !== writer.fileId) await writer.abandon()
      return file
    },
    checkRoom: (owner, bytes) =>
      database.transaction(scopeOf(owner), (tx) => checkRoom(tx, owner, bytes)),
    async find(owner, fileId) {
      const row = await database.transaction(scopeOf(owner), (tx) =>
        store.findFile(tx, owner, fileId, now()),
      )
      return row && toFile(row)
    },
    async list(owner, page) {
      const rows = await database.transaction(scopeOf(owner), (tx) =>
        store.selectFiles(tx, owner, { ...page, now: now() }),
      )
      return {
        files: rows.slice(0, page.limit).map(toFile),
        hasMore: rows.length > page.limit,
      }
    },
    async open(owner, fileId) {
      const row = await database.transaction(scopeOf(owner), (tx) =>
        store.findFile(tx, owner, fileId, now()),
      )
      if (!row) return undefined
      return openContent({ owner, database, key: openKey(seal, row), file: toFile(row) })
    },
    delete: (owner, fileId) =>
      database.transaction(scopeOf(owner), (tx) => store.deleteFile(tx, owner, fileId)),
    sweep: () =>
      sweepInSteps(sweptAtOnceMax, (rowsMax) =>
        database.transaction(platformScope, (tx) => store.deleteExpiredFiles(tx, now(), rowsMax)),
      ),
  }
}

export function scopeOf({ tenantId }: Owner): Scope {
  return { kind: 'tenant', tenantId }
}

function openKey(seal: Seal, row: store.FileRow): Seal {
  return openContentKey(seal, row.sealed_key, keyContext(row.id))
}

async function beginFile(options: {
  readonly owner: Owner
  readonly database: Database
  readonly seal: Seal
  readonly clock: Clock
}): Promise<FileWriter> {
  const { owner, database, seal, clock } = options
  const scope = scopeOf(owner)
  const { tenantId } = owner
  const fileId = `file-${randomBase62(24)}`
  const { content, sealedKey } = newContentKey(seal, keyContext(fileId))
  const beganMs = clock.nowMs()
  await database.transaction(scope, (tx) =>
    store.insertFile(tx, owner, {
      id: fileId,
      sealedKey,
      createdAt: new Date(beganMs),
      expiresAt: new Date(beganMs + storingMsMax),
    }),
  )
  let position = 0
  let bytes = 0
  let pending: Buffer[] = []
  let pendingBytes = 0

  const storeChunk = async (chunk: Buffer): Promise<void> => {
    const sealedBytes = content.seal(chunk, chunkContext(fileId, position))
    await database.transaction(scope, (tx) =>
      store.insertChunk(tx, { tenantId, fileId, position, sealedBytes }),
    )
    position += 1
  }

  return {
    fileId,
    get bytes() {
      return bytes
    },
    async write(piece) {
      bytes += piece.length
      pending.push(piece)
      pendingBytes += piece.length
      if (pendingBytes < chunkBytes) return
      const all = Buffer.concat(pending)
      let start = 0
      for (; all.length - start >= chunkBytes; start += chunkBytes)
        await storeChunk(all.subarray(start, start + chunkBytes))
      pending = start < all.length ? [all.subarray(start)] : []
      pendingBytes = all.length - start
    },
    async flush() {
      if (pendingBytes > 0) await storeChunk(Buffer.concat(pending))
      pending = []
      pendingBytes = 0
    },
    async publish(tx, { purpose, name, lifeMs }) {
      assert(pendingBytes === 0, 'a file is flushed before it is published')
      const createdAtMs = clock.nowMs()
      const expiresAtMs = createdAtMs + lifeMs
      const isThere = await store.markStored(tx, tenantId, {
        id: fileId,
        purpose,
        bytes,
        sealedName: content.seal(Buffer.from(name), nameContext(fileId)),
        createdAt: new Date(createdAtMs),
        expiresAt: new Date(expiresAtMs),
      })
      if (!isThere) throw fileGone()
      return { id: fileId, purpose, name, bytes, createdAtMs, expiresAtMs }
    },
    abandon: () =>
      database.transaction(scope, (tx) => store.deleteUnfinished(tx, tenantId, fileId)),
  }
}

function openContent(options: {
  readonly owner: Owner
  readonly database: Database
  readonly key: Seal
  readonly file: StoredFile
}): FileContent {
  const { owner, database, key, file } = options
  /** Whoever reads parts reads them mostly in order. */
  let last: { readonly position: number; readonly plain: Buffer } | undefined

  const chunk = async (position: number): Promise<Buffer> => {
    if (last?.position === position) return last.plain
    const sealed = await database.transaction(scopeOf(owner), (tx) =>
      store.findChunk(tx, owner.tenantId, file.id, position),
    )
    if (!sealed) throw fileGone()
    const plain = key.open(sealed, chunkContext(file.id, position))
    assert(plain, 'a file’s chunk opens with its key')
    last = { position, plain }
    return plain
  }

  return {
    file,
    async *chunks() {
      for (let start = 0; start < file.bytes; start += chunkBytes) yield chunk(start / chunkBytes)
    },
    async read(start, length) {
      const pieces: Buffer[] = []
      for (let at = start; at < start + length;) {
        const within = at % chunkBytes
        const plain = await chunk((at - within) / chunkBytes)
        const piece = plain.subarray(within, within + (start + length - at))
        assert(piece.length > 0, 'a part of a file lies within it')
        pieces.push(piece)
        at += piece.length
      }
      return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces)
    },
  }
}

function fileGone(): Fault {
  return new Fault({ code: 'client.not_found', public: 'The file was deleted meanwhile.' })
}

function busy(): Fault {
  return new Fault({
    code: 'capacity.overloaded',
    public: 'This gateway takes as many uploads as it can. Try again shortly.',
    retryAfterMs: 5_000,
  })
}

function projectFull(stored: number, most: number): Fault {
  const gibibyte = 1024 ** 3
  return new Fault({
    code: 'client.body_too_large',
    public: `The files of this project may take ${(most / gibibyte).toFixed(2)} GiB together, and take ${(stored / gibibyte).toFixed(2)} GiB already. Delete some of them.`,
    param: 'file',
  })
}
