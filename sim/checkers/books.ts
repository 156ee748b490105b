/**
 * Judges the books of one world after its end, from four accounts that know nothing of each other: what the clients saw, what the engines did, what
 * stands in the journals, and what stands in the ledger. Shares no code with the product. Returns one sentence for each wrong.
 */
import type { JournalEvent } from './journal-reader.ts'

export interface World {
  readonly clients: readonly ClientAccount[]
  readonly engines: ReadonlyMap<string, EngineAccount>
  readonly journals: readonly GatewayJournal[]
  readonly usage: readonly UsageAccount[]
  readonly entries: readonly EntryAccount[]
  readonly balances: ReadonlyMap<string, bigint>
  readonly prices: readonly PriceAccount[]
}

export interface ClientAccount {
  readonly requestId: string
  readonly streamed: boolean
  readonly maxTokens: number | undefined
  readonly tenantId: string
  readonly modelId: string
  readonly status: number | undefined
  readonly tokens: number
  readonly sawEnd: boolean
  readonly toldTokens: { readonly input: number; readonly output: number } | undefined
}

export interface EngineAccount {
  readonly streamed: boolean
  readonly report: 'honest' | 'missing' | 'impossible'
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly emittedTokens: number
  readonly takenTokens: number
  readonly takenReasoningTokens: number
  readonly isWhole: boolean
}

export interface GatewayJournal {
  readonly gatewayId: string
  readonly events: readonly JournalEvent[]
  readonly deaths: number
}

export interface UsageAccount {
  readonly tenantId: string
  readonly requestId: string
  readonly leg: number
  readonly modelId: string
  readonly gatewayId: string
  readonly outcome: string
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly amountNanos: bigint
  readonly waivedNanos: bigint
  readonly startedAt: string
}

export interface EntryAccount {
  readonly transaction: string
  readonly accountId: string
  readonly amountNanos: bigint
}

export interface PriceAccount {
  readonly modelId: string
  readonly fromMs: number
  readonly inputNanos: bigint
  readonly cachedInputNanos: bigint
  readonly outputNanos: bigint
  readonly reasoningNanos: bigint
}

/** Output that a crash may leave unbilled, in tokens. */
const crashWindowTokens = 64
/** From the look at the price list to the time that the record names. */
const admissionMs = 10_000

export function judgeBooks(world: World): string[] {
  const rows = Map.groupBy(world.usage, (row) => row.requestId)
  return [
    ...judgeClients(world, rows),
    ...judgeEngines(world, rows),
    ...judgeRows(world, rows),
    ...judgeJournals(world, rows),
    ...judgeAccounts(world),
  ]
}

type Rows = ReadonlyMap<string, readonly UsageAccount[]>

/** What a client saw the end of is billed as completed, once, and as the client was told. */
function* judgeClients({ clients }: World, rows: Rows): Generator<string> {
  for (const client of clients) {
    const [row, ...more] = rows.get(client.requestId) ?? []
    if (more.length > 0) yield `${client.requestId} is billed ${more.length + 1} times`
    if (!client.sawEnd) continue
    if (!row) yield `${client.requestId}: its client saw the end, and it is not billed`
    else if (row.outcome !== 'completed')
      yield `${client.requestId}: its client saw the end, and it is billed as ${row.outcome}`
    else if (client.toldTokens && !isAsTold(row, client.toldTokens))
      yield `${client.requestId}: its client was told of ${JSON.stringify(client.toldTokens)}, and billed ${row.inputTokens} and ${row.outputTokens}`
  }
}

function isAsTold(row: UsageAccount, told: { input: number; output: number }): boolean {
  return row.inputTokens === told.input && row.outputTokens === told.output
}

/** What an engine made for somebody is billed, and no more than it made. */
function* judgeEngines({ engines, clients }: World, rows: Rows): Generator<string> {
  const asked = new Map(clients.map((client) => [client.requestId, client]))
  for (const [requestId, engine] of engines) {
    const row = rows.get(requestId)?.[0]
    if (!row) {
      yield `${requestId}: an engine worked on it, and the books know nothing of it`
      continue
    }
    const wrong = judgeOutput(engine, row, asked.get(requestId)?.maxTokens)
    if (wrong !== undefined) yield `${requestId} (${row.outcome}): ${wrong}`
  }
}

function judgeOutput(
  engine: EngineAccount,
  row: UsageAccount,
  maxTokens: number | undefined,
): string | undefined {
  const { outputTokens } = row
  const bound = maxTokens ?? Infinity
  const due = Math.min(engine.takenTokens, bound)
  const facts = `${outputTokens} tokens are billed, ${engine.takenTokens} were taken of ${engine.emittedTokens} made, at most ${bound} asked for`
  if (outputTokens > bound) return `more is billed than was asked for: ${facts}`
  if (outputTokens > engine.emittedTokens) return `more is billed than was made: ${facts}`
  switch (row.outcome) {
    case 'voided':
      return due === 0 ? undefined : `nothing is billed: ${facts}`
    case 'crashed':
      return due - outputTokens <= crashWindowTokens ? undefined : `a crash cost too much: ${facts}`
    case 'completed':
      if (isToldInFull(engine) && row.inputTokens !== engine.inputTokens)
        return `the engine read ${engine.inputTokens} tokens, ${row.inputTokens} are billed`
      if (isToldInFull(engine) && row.cachedInputTokens !== engine.cachedInputTokens)
        return `of a prompt, ${engine.cachedInputTokens} tokens were cached, ${row.cachedInputTokens} are billed so`
      return judgeServed(engine, outputTokens, due, facts)
    default:
      return judgeServed(engine, outputTokens, due, facts)
  }
}

/** The gateway has the engine's last and honest figures. */
function isToldInFull({ report, isWhole }: EngineAccount): boolean {
  return report === 'honest' && isWhole
}

/** A whole answer without figures is counted by its text, and a short text counts as one token. */
function judgeServed(
  engine: EngineAccount,
  outputTokens: number,
  due: number,
  facts: string,
): string | undefined {
  const isExact = engine.streamed || engine.report === 'honest'
  if (isExact ? outputTokens === due : outputTokens <= due) return undefined
  return `what was served is not what is billed: ${facts}`
}

/** Amounts are tokens times the price at admission, in whole nanos, within the hold. */
function* judgeRows({ usage, prices, journals, engines }: World, rows: Rows): Generator<string> {
  const held = new Map(
    journals.flatMap(({ events }) =>
      events
        .filter(({ fields }) => fields['kind'] === 'open')
        .map(({ fields }) => [String(fields['request_id']), BigInt(String(fields['held_nanos']))]),
    ),
  )
  const deaths = new Map(journals.map((journal) => [journal.gatewayId, journal.deaths]))
  for (const row of usage) {
    const { requestId, amountNanos } = row
    const limit = held.get(requestId)
    if (limit === undefined) yield `${requestId} is billed, and no journal opened it`
    else if (amountNanos > limit) yield `${requestId} costs ${amountNanos}, and ${limit} was held`
    if (row.outcome === 'crashed' && deaths.get(row.gatewayId) === 0)
      yield `${requestId} is billed as crashed, and its gateway never died`
    if (row.outcome === 'completed' && !engines.get(requestId)?.isWhole && !isCut(row, engines))
      yield `${requestId} is billed as completed, and no engine ended it`
    const costs = row.outcome === 'voided' ? [0n] : costsOf(row, prices)
    if (!costs.includes(amountNanos + row.waivedNanos))
      yield `${requestId} costs ${amountNanos} and ${row.waivedNanos} waived, and by the price list ${costs.join(' or ')}`
  }
  for (const [requestId, all] of rows) {
    if (new Set(all.map((row) => `${row.requestId} ${row.leg}`)).size < all.length)
      yield `${requestId} has two rows of one leg`
  }
}

/** The gateway ends an answer that goes on beyond what was asked for. */
function isCut(row: UsageAccount, engines: World['engines']): boolean {
  return (engines.get(row.requestId)?.takenTokens ?? 0) > row.outputTokens
}

function costsOf(row: UsageAccount, prices: readonly PriceAccount[]): bigint[] {
  const startedMs = Date.parse(row.startedAt)
  const own = prices.filter((price) => price.modelId === row.modelId)
  return own
    .filter((price) => price.fromMs <= startedMs)
    .filter(
      (price) =>
        !own.some((next) => next.fromMs > price.fromMs && next.fromMs <= startedMs - admissionMs),
    )
    .map(
      (price) =>
        BigInt(row.inputTokens - row.cachedInputTokens) * price.inputNanos +
        BigInt(row.cachedInputTokens) * price.cachedInputNanos +
        BigInt(row.outputTokens - row.reasoningTokens) * price.outputNanos +
        BigInt(row.reasoningTokens) * price.reasoningNanos,
    )
}

/** Journal and ledger say the same; each request that was opened is settled once. */
function* judgeJournals({ journals }: World, rows: Rows): Generator<string> {
  const settled = new Set<string>()
  for (const { gatewayId, events } of journals) {
    const opened = new Set<string>()
    let last = 0n
    for (const { sequence, fields } of events) {
      if (sequence !== last + 1n) yield `${gatewayId}: event ${sequence} follows ${last}`
      last = sequence
      const requestId = String(fields['request_id'])
      if (fields['kind'] === 'open') opened.add(requestId)
      if (fields['kind'] !== 'settle') continue
      if (settled.has(requestId)) yield `${requestId} is settled twice`
      settled.add(requestId)
      const row = rows.get(requestId)?.[0]
      if (!opened.delete(requestId)) yield `${requestId} is settled, and was not opened`
      if (!row) yield `${requestId} is settled, and not in the ledger`
      else if (String(row.amountNanos) !== fields['amount_nanos'])
        yield `${requestId}: the journal says ${String(fields['amount_nanos'])}, the ledger ${row.amountNanos}`
    }
    for (const requestId of opened) yield `${requestId} was opened, and is not settled`
  }
  for (const requestId of rows.keys())
    if (!settled.has(requestId)) yield `${requestId} is in the ledger, and settled in no journal`
}

/** Double entry: each transaction sums to zero, balances are the sums of entries, and what is owed is what was charged. */
function* judgeAccounts({ entries, balances, usage }: World): Generator<string> {
  for (const [transaction, sides] of Map.groupBy(entries, (entry) => entry.transaction)) {
    const sum = total(sides.map((entry) => entry.amountNanos))
    if (sum !== 0n) yield `the transaction ${transaction} sums to ${sum}`
    if (sides.length !== 2) yield `the transaction ${transaction} has ${sides.length} entries`
  }
  const byAccount = Map.groupBy(entries, (entry) => entry.accountId)
  for (const [accountId, balance] of balances) {
    const sum = total((byAccount.get(accountId) ?? []).map((entry) => entry.amountNanos))
    if (sum !== balance) yield `${accountId} says ${balance}, its entries ${sum}`
    if (/^(held|suspense):/.test(accountId) && balance !== 0n)
      yield `${accountId} holds ${balance} though nothing is under way`
  }
  for (const [tenantId, rows] of Map.groupBy(usage, (row) => row.tenantId)) {
    const charged = total(rows.map((row) => row.amountNanos))
    const owed = balances.get(`receivable:${tenantId}:EUR`) ?? 0n
    if (charged !== owed) yield `${tenantId} owes ${owed}, and was charged ${charged}`
  }
}

function total(amounts: readonly bigint[]): bigint {
  return amounts.reduce((sum, amount) => sum + amount, 0n)
}
