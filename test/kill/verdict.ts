/**
 * The judge: compares what clients saw, what the engine emitted and what the ledger holds. Three records by three programs; this file
 * shares no code with any of them.
 */
import type { Sums, UsageRow } from '../e2e/books.ts'
import type { Emitted } from '../e2e/stub-engine.ts'
import type { Seen } from './load.ts'

export interface Evidence {
  readonly seen: readonly Seen[]
  readonly truth: ReadonlyMap<string, readonly Emitted[]>
  readonly usage: readonly UsageRow[]
  readonly sums: Sums
  readonly inputNanos: bigint
  readonly outputNanos: bigint
  /** Where buffers between engine and gateway hold more than usual. */
  readonly leavingTokensMax?: number | undefined
}

export interface Verdict {
  readonly requests: number
  readonly completed: number
  readonly crashed: number
  /** Their client went away. */
  readonly left: number
  /** One sentence for each broken promise; empty when all were kept. */
  readonly faults: readonly string[]
}

/** The rule of docs/ledger.md: progress is durable every 64 tokens or every second. */
const progressWindowTokens = 64
/** What the engine may still write to a connection whose other end has just died. */
const lateTokensMax = 16
/** A client that leaves is noticed, and the engine told to stop, within a second: so many tokens of a quick engine. */
const leavingTokensUsually = 250

export function judge(evidence: Evidence): Verdict {
  const { seen, truth, usage } = evidence
  const byRequest = Map.groupBy(usage, (row) => row.requestId)
  const completed = seen.filter((request) => request.completed)
  const faults = [
    ...completed.flatMap((request) => judgeCompleted(request, byRequest, truth)),
    ...[...byRequest].flatMap(([id, rows]) => judgeRows(id, rows, truth.get(id) ?? [], evidence)),
    ...[...truth.keys()]
      .filter((id) => !byRequest.has(id))
      .map((id) => `${id} reached the engine and is not in the ledger`),
    ...judgeSums(evidence.sums),
  ]
  return {
    requests: seen.length,
    completed: completed.length,
    crashed: usage.filter((row) => row.outcome === 'crashed').length,
    left: usage.filter((row) => row.outcome === 'client_left').length,
    faults,
  }
}

function judgeCompleted(
  request: Seen,
  byRequest: ReadonlyMap<string, readonly UsageRow[]>,
  truth: ReadonlyMap<string, readonly Emitted[]>,
): readonly string[] {
  const id = request.requestId
  if (id === undefined) return ['a completed response had no x-request-id']
  const rows = byRequest.get(id) ?? []
  if (rows.length === 0) return [`${id} completed and is not billed`]
  const [row] = rows
  const emitted = truth.get(id)?.[0]
  if (row?.outcome !== 'completed') return [`${id} completed and is billed as ${row?.outcome}`]
  if (row.outputTokens !== emitted?.outputTokens) {
    return [
      `${id} completed: billed ${row.outputTokens}, the engine emitted ${emitted?.outputTokens}`,
    ]
  }
  if (request.outputTokensClaimed !== row.outputTokens) {
    return [
      `${id}: the client was told ${request.outputTokensClaimed} tokens, billed ${row.outputTokens}`,
    ]
  }
  return []
}

function judgeRows(
  id: string,
  rows: readonly UsageRow[],
  emitted: readonly Emitted[],
  evidence: Evidence,
): readonly string[] {
  const [row] = rows
  if (!row || rows.length > 1) return [`${id} is in the ledger ${rows.length} times`]
  if (emitted.length > 1) return [`${id} was sent to the engine ${emitted.length} times`]
  const amount =
    BigInt(row.inputTokens) * evidence.inputNanos + BigInt(row.outputTokens) * evidence.outputNanos
  if (row.outcome === 'voided') {
    return row.amountNanos === 0n ? [] : [`${id} is voided and costs ${row.amountNanos}`]
  }
  if (row.amountNanos !== amount) {
    return [`${id}: ${row.amountNanos} nanos for ${row.inputTokens} + ${row.outputTokens} tokens`]
  }
  const { leavingTokensMax } = evidence
  const lostMax =
    row.outcome === 'client_left' && leavingTokensMax !== undefined
      ? leavingTokensMax
      : lostTokensMax[row.outcome]
  return judgeTokens(id, row, emitted[0]?.outputTokens ?? 0, lostMax)
}

/** Of what the engine emitted, how much may be missing from the bill. More than was emitted never is on it. */
const lostTokensMax: Readonly<Record<string, number>> = {
  completed: 0,
  crashed: progressWindowTokens + lateTokensMax,
  client_left: leavingTokensUsually,
  upstream_failed: leavingTokensUsually,
}

function judgeTokens(
  id: string,
  row: UsageRow,
  really: number,
  lostMax: number | undefined,
): readonly string[] {
  const { outcome } = row
  if (lostMax === undefined) return [`${id} ended as ${outcome}, which nothing here explains`]
  if (row.inputTokens === 0) return [`${id} ${outcome}: its input is not billed`]
  if (row.outputTokens > really) {
    return [`${id} ${outcome}: billed ${row.outputTokens}, the engine emitted only ${really}`]
  }
  if (really - row.outputTokens > lostMax) {
    return [`${id} ${outcome}: billed ${row.outputTokens} of ${really} tokens, too many are lost`]
  }
  return []
}

function judgeSums(sums: Sums): readonly string[] {
  return [
    ...(sums.allEntries === 0n ? [] : [`all entries sum to ${sums.allEntries}, not 0`]),
    ...(sums.charged === sums.usage
      ? []
      : [`the ledger charges ${sums.charged}, the usage events say ${sums.usage}`]),
    ...(sums.held === 0n ? [] : [`${sums.held} nanos are still held though nothing is under way`]),
    ...(sums.wrongBalances === 0
      ? []
      : [`${sums.wrongBalances} accounts have a balance that is not the sum of their entries`]),
  ]
}
