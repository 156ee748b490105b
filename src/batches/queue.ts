/**
 * Front door of batches for the gateways that do the work. Each gateway claims what it works on, and keeps its claims by signs of life; what a gateway
 * that died had claimed is free again after a minute. A result is noted together with its line, or not at all, and only by who has the claim.
 */
import { assert } from '../platform/assert.ts'
import type { Clock } from '../platform/clock.ts'
import { parseBoundedJson } from '../platform/http/json-limits.ts'
import { platformScope, type Database, type Sql } from '../platform/postgres/database.ts'
import type { Seal } from '../platform/seal.ts'
import { openContentKey } from '../platform/sealed-content.ts'
import {
  batchKeyContext,
  errorsMax,
  linesMax,
  resultContext,
  type BatchEnd,
  type BatchError,
  type BatchUsage,
} from './batch.ts'
import { scopeOf, type FileContent, type Files, type FileWriter } from './files.ts'
import {
  lineBytesMax,
  parseInputLine,
  renderOutputLine,
  unrunErrors,
  type InputLine,
} from './line.ts'
import { splitLines } from './split-lines.ts'
import * as store from './store.ts'

/** A line that this gateway may run. */
export interface ClaimedLine {
  readonly batchId: string
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly endpoint: string
  readonly batchCreatedAtMs: number
  readonly batchExpiresAtMs: number
  readonly line: number
  readonly customId: string
  /** What its body names, if it names one. */
  readonly modelName: string | undefined
  readonly body: Buffer
  /** A line that runs again runs under the same key, unless what ran before is known to have cost nothing. */
  readonly idempotencyKey: string
  /** Runs before this one whose engine failed. */
  readonly tries: number
}

export interface LineResult {
  readonly failed: boolean
  readonly response: {
    readonly statusCode: number
    readonly requestId: string
    readonly body: unknown
  }
  readonly usage: BatchUsage
}

export interface Deferral {
  readonly costNothing: boolean
  readonly hasFailed: boolean
  /** Of the whole batch; twice as long with each pause that follows another. `undefined` for none. */
  readonly pause: { readonly msMin: number; readonly msMax: number } | undefined
}

export interface BatchQueue {
  /** Ends what is over time, frees what dead gateways had claimed. */
  tidy(): Promise<void>
  /** Checks the input of one batch, or writes the output of one. Tells whether there was one. */
  advanceBatch(): Promise<boolean>
  /** Lines of one batch. */
  claimLines(linesMax: number): Promise<readonly ClaimedLine[]>
  /** Of the lines that are under way here; a claim on any other runs out. */
  keepClaims(lines: readonly ClaimedLine[]): Promise<void>
  /** Tells whether the claim still held; if not, somebody else runs the line again, as a further leg of the same request. */
  finish(line: ClaimedLine, result: LineResult): Promise<boolean>
  defer(line: ClaimedLine, deferral: Deferral): Promise<void>
  /** Puts back what never began. */
  returnLine(line: ClaimedLine): Promise<void>
  /** Ends a batch before its time. */
  stop(batchId: string, error: BatchError): Promise<void>
  countWaiting(): Promise<number>
}

/** How much of the results is in memory at once while the output is written. */
const finalizedAtOnce = { rows: 256, bytes: 4 * 1024 * 1024 }
const openInputsMax = 16

export function openBatchQueue(options: {
  readonly database: Database
  readonly files: Files
  readonly seal: Seal
  readonly clock: Clock
  /** Unique to this run of this gateway. */
  readonly workerId: string
}): BatchQueue {
  const { database, files, seal, clock, workerId } = options
  const now = (): Date => new Date(clock.nowMs())
  const asPlatform = <Result>(work: (tx: Sql<unknown>) => Promise<Result>): Promise<Result> =>
    database.transaction<unknown, Result>(platformScope, work)

  /** The inputs of the batches that were worked on last, with the chunk that was read last. */
  const inputs = new Map<string, FileContent>()
  const inputOf = async (batch: store.BatchRow): Promise<FileContent | undefined> => {
    const known = inputs.get(batch.input_file_id)
    if (known) return known
    const opened = await files.open(ownerOf(batch), batch.input_file_id)
    if (!opened) return undefined
    if (inputs.size >= openInputsMax) inputs.delete(inputs.keys().next().value ?? '')
    inputs.set(batch.input_file_id, opened)
    return opened
  }
  /** Of the batches whose lines are under way. */
  const keys = new Map<string, Seal>()
  const keyOf = (batch: store.BatchRow): Seal => {
    const known = keys.get(batch.id)
    if (known) return known
    assert(batch.sealed_key, 'a batch that has not ended has its key')
    const opened = openContentKey(seal, batch.sealed_key, batchKeyContext(batch.id))
    if (keys.size >= openInputsMax) keys.delete(keys.keys().next().value ?? '')
    keys.set(batch.id, opened)
    return opened
  }
  /** A batch's key is needed after its claim, when newer ones may have pushed it out. */
  const sealOf = new WeakMap<ClaimedLine, Seal>()

  return {
    async tidy() {
      await asPlatform((tx) => store.releaseLostLines(tx))
      await asPlatform((tx) => store.expireBatches(tx, now()))
    },
    async advanceBatch() {
      const batch = await asPlatform((tx) => store.claimBatch(tx, workerId))
      if (!batch) return false
      try {
        if (batch.state === 'validating') await validate(batch)
        else await finalize(batch)
      } catch (error) {
        await asPlatform((tx) => store.releaseBatchClaim(tx, workerId, batch.id)).catch(() => {
          // The database is away: the claim runs out.
        })
        throw error
      }
      return true
    },
    async claimLines(most) {
      const claimed = await asPlatform((tx) => store.claimLines(tx, workerId, most, now()))
      if (!claimed || claimed.lines.length === 0) return []
      const { batch } = claimed
      const input = await inputOf(batch)
      assert(input, 'an input file stays as long as its batch is open')
      const lines: ClaimedLine[] = []
      for (const row of claimed.lines) {
        const line = toClaimedLine(batch, row, await readLine(batch, input, row))
        sealOf.set(line, keyOf(batch))
        lines.push(line)
      }
      return lines
    },
    keepClaims: (lines) => asPlatform((tx) => store.keepLineClaims(tx, workerId, lines)),
    finish(line, { failed, response, usage }) {
      const key = sealOf.get(line)
      assert(key, 'a line that is finished was claimed here')
      const text = renderOutputLine({ ...line, response, error: undefined })
      const sealedResult = key.seal(Buffer.from(text), resultContext(line.batchId, line.line))
      return asPlatform((tx) =>
        store.finishLine(tx, workerId, { ...line, sealedResult, failed, usage }, now()),
      )
    },
    defer: (line, { pause, ...outcome }) =>
      asPlatform(async (tx) => {
        await store.deferLine(tx, workerId, { ...line, ...outcome })
        if (pause) await store.pauseBatch(tx, line.batchId, pause, now())
      }),
    returnLine: (line) => asPlatform((tx) => store.returnLine(tx, workerId, line)),
    stop: (batchId, error) => asPlatform((tx) => store.stopBatch(tx, batchId, error, now())),
    countWaiting: () => asPlatform(store.countWaiting),
  }

  async function keepClaim(batch: store.BatchRow): Promise<boolean> {
    return asPlatform((tx) => store.keepBatchClaim(tx, workerId, batch.id))
  }

  /** Reads the whole input once, a chunk at a time, and keeps of each line only where it stands. */
  async function validate(batch: store.BatchRow): Promise<void> {
    const input = await files.open(ownerOf(batch), batch.input_file_id)
    const checked = input ? await checkInput(batch, input) : inputGone
    if (!checked) return
    if (checked.errors.length > 0) {
      await asPlatform((tx) => store.failBatch(tx, workerId, batch.id, checked.errors, now()))
      return
    }
    const { id, tenant_id: tenantId } = batch
    await asPlatform((tx) => store.beginLines(tx, workerId, { id, tenantId }, checked, now()))
  }

  /** `undefined` when the claim was lost on the way. */
  async function checkInput(
    batch: store.BatchRow,
    input: FileContent,
  ): Promise<CheckedInput | undefined> {
    const found: CheckedInput = { numbers: [], starts: [], lengths: [], errors: [] }
    const customIds = new Set<string>()
    let checkedAtMs = clock.monotonicMs()
    for await (const line of splitLines(input.chunks(), lineBytesMax)) {
      if (found.numbers.length === linesMax) {
        found.errors.push(tooManyLines)
        break
      }
      const flaw = checkLine(line.bytes, batch.endpoint, customIds)
      if (flaw) found.errors.push({ ...flaw, line: line.number })
      if (found.errors.length >= errorsMax) break
      found.numbers.push(line.number)
      found.starts.push(line.start)
      found.lengths.push(line.length)
      if (clock.monotonicMs() - checkedAtMs > keepClaimMs) {
        if (!(await keepClaim(batch))) return undefined
        checkedAtMs = clock.monotonicMs()
      }
    }
    if (found.numbers.length === 0 && found.errors.length === 0) found.errors.push(emptyInput)
    return found
  }

  async function readLine(
    batch: store.BatchRow,
    input: FileContent,
    row: { readonly byte_start: bigint; readonly byte_length: number },
  ): Promise<InputLine> {
    const bytes = await input.read(Number(row.byte_start), row.byte_length)
    const parsed = parseInputLine(bytes, batch.endpoint, parseBoundedJson)
    assert('line' in parsed, 'a line that was valid stays valid')
    return parsed.line
  }

  /** Writes the output files, and makes them visible with the end of the batch, in one transaction. */
  async function finalize(batch: store.BatchRow): Promise<void> {
    const owner = ownerOf(batch)
    const outputs: Outputs = { completed: undefined, failed: undefined }
    const writerOf = async (side: keyof Outputs): Promise<FileWriter> =>
      (outputs[side] ??= await files.begin(owner))
    const endsAs = batch.ends_as ?? 'failed'
    try {
      let after = 0
      for (;;) {
        const rows = await asPlatform((tx) =>
          store.selectLines(tx, batch.id, after, finalizedAtOnce),
        )
        for (const row of rows) {
          const text = await resultOf(batch, row, endsAs)
          const side = row.state === 'done' && !row.failed ? 'completed' : 'failed'
          await (await writerOf(side)).write(text)
          after = row.line
        }
        if (rows.length === 0) break
        if (!(await keepClaim(batch))) throw new ClaimLost()
      }
      await outputs.completed?.flush()
      await outputs.failed?.flush()
      await database.transaction(scopeOf(owner), async (tx) => {
        const facts = {
          purpose: 'batch_output',
          lifeMs: batch.output_expires_after_s * 1_000,
        } as const
        await outputs.completed?.publish(tx, { ...facts, name: `${batch.id}_output.jsonl` })
        await outputs.failed?.publish(tx, { ...facts, name: `${batch.id}_error.jsonl` })
        const end = {
          id: batch.id,
          endsAs,
          outputFileId: outputs.completed?.fileId,
          errorFileId: outputs.failed?.fileId,
        }
        if (!(await store.endBatch(tx, workerId, end, now()))) throw new ClaimLost()
      })
      keys.delete(batch.id)
      inputs.delete(batch.input_file_id)
    } catch (error) {
      await outputs.completed?.abandon()
      await outputs.failed?.abandon()
      if (!(error instanceof ClaimLost)) throw error
    }
  }

  async function resultOf(
    batch: store.BatchRow,
    row: store.LineRow,
    endsAs: BatchEnd,
  ): Promise<Buffer> {
    if (row.state === 'done') {
      assert(row.sealed_result, 'a line that is done has its result')
      const plain = keyOf(batch).open(row.sealed_result, resultContext(batch.id, row.line))
      assert(plain, 'a result opens with its batch’s key')
      return plain
    }
    const input = await inputOf(batch)
    assert(input, 'an input file stays as long as its batch is open')
    const { customId } = await readLine(batch, input, row)
    const error = unrunErrors[endsAs]
    return Buffer.from(
      renderOutputLine({ batchId: batch.id, line: row.line, customId, response: undefined, error }),
    )
  }
}

/** Somebody else does this work now. */
class ClaimLost extends Error {}

interface Outputs {
  completed: FileWriter | undefined
  failed: FileWriter | undefined
}

interface CheckedInput {
  readonly numbers: number[]
  readonly starts: number[]
  readonly lengths: number[]
  readonly errors: BatchError[]
}

/** Well before a claim runs out. */
const keepClaimMs = 15_000

const tooManyLines: BatchError = {
  code: 'too_many_requests',
  message: `A batch takes up to ${linesMax} requests. Split the file.`,
  line: null,
  param: null,
}
const emptyInput: BatchError = {
  code: 'empty_file',
  message: 'The input file has no requests.',
  line: null,
  param: 'input_file_id',
}
const inputGone: CheckedInput = {
  numbers: [],
  starts: [],
  lengths: [],
  errors: [
    {
      code: 'file_not_found',
      message: 'The input file is not there any more.',
      line: null,
      param: 'input_file_id',
    },
  ],
}

function checkLine(
  bytes: Buffer | undefined,
  endpoint: string,
  customIds: Set<string>,
): Omit<BatchError, 'line'> | undefined {
  if (!bytes)
    return {
      code: 'line_too_large',
      message: `A line may have ${lineBytesMax} bytes.`,
      param: null,
    }
  const parsed = parseInputLine(bytes, endpoint, parseBoundedJson)
  if ('flaw' in parsed) return parsed.flaw
  const { customId } = parsed.line
  if (customIds.has(customId))
    return {
      code: 'duplicate_custom_id',
      message: 'The custom_id of an earlier line is used again.',
      param: 'custom_id',
    }
  customIds.add(customId)
  return undefined
}

function ownerOf(batch: store.BatchRow): { tenantId: string; projectId: string } {
  return { tenantId: batch.tenant_id, projectId: batch.project_id }
}

function toClaimedLine(
  batch: store.BatchRow,
  row: store.ClaimedLineRow,
  { customId, body }: InputLine,
): ClaimedLine {
  const { model } = body
  return {
    batchId: batch.id,
    tenantId: batch.tenant_id,
    projectId: batch.project_id,
    apiKeyId: batch.api_key_id,
    endpoint: batch.endpoint,
    batchCreatedAtMs: batch.created_at.getTime(),
    batchExpiresAtMs: batch.expires_at.getTime(),
    line: row.line,
    customId,
    modelName: typeof model === 'string' ? model : undefined,
    body: Buffer.from(JSON.stringify(body)),
    idempotencyKey: `${batch.id}:${row.line}:${row.generation}`,
    tries: row.tries,
  }
}
