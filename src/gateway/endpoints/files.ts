/** `/v1/files`: a project's files, which are the input and the output of its batches. Their content streams, both ways. */
import { createHash } from 'node:crypto'
import type { Owner, StoredFile } from '../../batches/file.ts'
import { parseIdempotencyKey } from '../../idempotency/key.ts'
import { Fault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'
import {
  createFileDoc,
  deleteFileDoc,
  listFilesDoc,
  retrieveFileContentDoc,
  retrieveFileDoc,
} from '../openapi/operations/files.ts'
import { creationKey } from '../idempotency.ts'
import { defineRoute } from '../route.ts'
import { authenticate } from '../stages/authenticate.ts'
import { readUpload } from '../wire/file-upload.ts'
import {
  fileNotFound,
  parseFileQuery,
  parseUpload,
  toWireFile,
  toWireList,
} from '../wire/openai/files.ts'

const fileBytesMax = 100 * 1024 * 1024
/** For the form around the file. */
const formBytesMax = 64 * 1024
const json = { 'content-type': 'application/json' }

export const createFile = defineRoute({
  method: 'POST',
  path: '/v1/files',
  doc: createFileDoc,
  async handle(exchange, deps) {
    const owner = authenticate(exchange, deps)
    using _place = deps.files.takePlace(owner)
    const file = await upload(exchange, owner, deps)
    await exchange.send(200, json, JSON.stringify(toWireFile(file)))
  },
})

export const listFiles = defineRoute({
  method: 'GET',
  path: '/v1/files',
  doc: listFilesDoc,
  async handle(exchange, deps) {
    const owner = authenticate(exchange, deps)
    const { files, hasMore } = await deps.files.list(owner, parseFileQuery(exchange.query))
    await exchange.send(200, json, JSON.stringify(toWireList(files.map(toWireFile), hasMore)))
  },
})

export const retrieveFile = defineRoute({
  method: 'GET',
  path: '/v1/files/{file_id}',
  doc: retrieveFileDoc,
  async handle(exchange, deps, { file_id: id = '' }) {
    const file = await deps.files.find(authenticate(exchange, deps), id)
    if (!file) throw fileNotFound()
    await exchange.send(200, json, JSON.stringify(toWireFile(file)))
  },
})

export const retrieveFileContent = defineRoute({
  method: 'GET',
  path: '/v1/files/{file_id}/content',
  doc: retrieveFileContentDoc,
  async handle(exchange, deps, { file_id: id = '' }) {
    const content = await deps.files.open(authenticate(exchange, deps), id)
    if (!content) throw fileNotFound()
    exchange.startStream({
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
    })
    try {
      for await (const chunk of content.chunks()) {
        const room = exchange.write(chunk)
        if (room) await room
        if (exchange.signal.aborted) throw gone()
      }
      exchange.endStream()
    } catch (error) {
      exchange.endStream('cut')
      throw error
    }
  },
})

export const deleteFile = defineRoute({
  method: 'DELETE',
  path: '/v1/files/{file_id}',
  doc: deleteFileDoc,
  async handle(exchange, deps, { file_id: id = '' }) {
    const outcome = await deps.files.delete(authenticate(exchange, deps), id)
    if (outcome === 'absent') throw fileNotFound()
    if (outcome === 'in_use') throw inUse()
    await exchange.send(200, json, JSON.stringify({ id, object: 'file', deleted: true }))
  },
})

async function upload(
  exchange: Exchange,
  owner: Owner,
  { files, answers }: Pick<GatewayDeps, 'files' | 'answers'>,
): Promise<StoredFile> {
  const pieces = exchange.bodyPieces('multipart', fileBytesMax + formBytesMax)
  // What tells whether it is a repetition is known when all of it has come, as it is not kept in memory.
  const content =
    parseIdempotencyKey(exchange.headers) === undefined ? undefined : createHash('sha256')
  // Refused before it is sent, where the client says how much will come. A repetition needs no room.
  if (!content) await files.checkRoom(owner, Number(exchange.headers['content-length'] ?? 0))
  const writer = await files.begin(owner)
  try {
    const limits = { field: 'file', fileBytesMax }
    const form = await readUpload(pieces, exchange.headers, limits, (bytes) => {
      content?.update(bytes)
      return writer.write(bytes)
    })
    const facts = parseUpload(form)
    const request = [createFileDoc.id, facts, content?.digest('hex')]
    const key = creationKey({ caller: owner, exchange, request }, { answers })
    return await files.finish(owner, writer, facts, key)
  } catch (error) {
    await writer.abandon()
    throw error
  }
}

function gone(): Fault {
  return new Fault({ code: 'client.gone', public: 'The client closed the request.' })
}

function inUse(): Fault {
  return new Fault({
    code: 'client.conflict',
    public: 'A batch that has not ended reads this file. Cancel the batch first.',
    param: 'file_id',
  })
}
