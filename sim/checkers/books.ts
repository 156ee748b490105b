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
  /** It never died, and its disk never failed it. */
  readonly wasWell: boolean
  /** Its wall clock was set forward or back. */
  readonly clockJumped: boolean
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
  /** Ends with the moment from which the prices held. */
  readonly priceVersion: string
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
    const client = asked.get(requestId)
    if (!row) yield `${requestId}: an engine worked on it, and the books know nothing of it`
    if (!client) yield `${requestId}: an engine worked on it, and nobody asked for it`
    if (!row || !client) continue
    const wrong = judgeServed(engine, row, client)
    if (wrong !== undefined) yield `${requestId} (${row.outcome}): ${wrong}`
  }
}

function judgeServed(
  engine: EngineAccount,
  row: UsageAccount,
  client: ClientAccount,
): string | undefined {
  const { outputTokens } = row
  const bound = client.maxTokens ?? Infinity
  const due = Math.min(engine.takenTokens, bound)
  const isBelieved = engine.report === 'honest' && engine.emittedTokens <= bound
  const facts = `${outputTokens} tokens are billed, ${engine.takenTokens} were taken of ${engine.emittedTokens} made, at most ${bound} asked for, ${client.tokens} read`
  if (outputTokens > due) return `more is billed than was served: ${facts}`
  // Who is told of a failure instead of an answer pays nothing, whatever an engine had made of it.
  if (row.outcome === 'voided')
    return due === 0 || client.status !== 200 ? undefined : `nothing is billed: ${facts}`
  if (row.outcome === 'crashed')
    return due - outputTokens <= crashWindowTokens ? undefined : `a crash cost too much: ${facts}`
  // A whole answer without figures is counted by its text, where a short text is one token.
  if (!engine.streamed && !isBelieved) return undefined
  // An answer that limits cut short: what went by and was not passed on is not billed.
  if (row.outcome === 'completed' && !engine.isWhole)
    return outputTokens >= Math.min(client.tokens, bound)
      ? undefined
      : `less is billed than was read: ${facts}`
  if (outputTokens < due) return `less is billed than was served: ${facts}`
  if (row.outcome !== 'completed' || !isBelieved) return undefined
  const told = `the engine read ${engine.inputTokens} tokens, ${engine.cachedInputTokens} of them from a cache`
  const isSame =
    row.inputTokens === engine.inputTokens && row.cachedInputTokens === engine.cachedInputTokens
  return isSame ? undefined : `${told}; billed are ${row.inputTokens} and ${row.cachedInputTokens}`
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
  const gateways = new Map(journals.map((journal) => [journal.gatewayId, journal]))
  for (const row of usage) {
    const { requestId, amountNanos } = row
    const limit = held.get(requestId)
    if (limit === undefined) yield `${requestId} is billed, and no journal opened it`
    else if (amountNanos > limit) yield `${requestId} costs ${amountNanos}, and ${limit} was held`
    if (row.outcome === 'crashed' && gateways.get(row.gatewayId)?.wasWell)
      yield `${requestId} is billed as crashed, and its gateway was well all the time`
    if (row.outcome === 'completed' && !engines.get(requestId)?.isWhole && !isCut(row, engines))
      yield `${requestId} is billed as completed, and no engine ended it`
    const price = prices.find(
      ({ modelId, fromMs }) =>
        modelId === row.modelId && row.priceVersion.endsWith(`@${new Date(fromMs).toISOString()}`),
    )
    if (!price) {
      yield `${requestId} has a price that is on no list: ${row.priceVersion}`
      continue
    }
    if (!gateways.get(row.gatewayId)?.clockJumped && !isInForce(price, row, prices))
      yield `${requestId} has the price of another time: ${row.priceVersion}, and started at ${row.startedAt}`
    const cost = row.outcome === 'voided' ? 0n : costOf(row, price)
    if (amountNanos + row.waivedNanos !== cost)
      yield `${requestId} costs ${amountNanos} and ${row.waivedNanos} waived, and by the price list ${cost}`
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

function isInForce(
  price: PriceAccount,
  row: UsageAccount,
  prices: readonly PriceAccount[],
): boolean {
  const startedMs = Date.parse(row.startedAt)
  const isReplaced = prices.some(
    ({ modelId, fromMs }) =>
      modelId === price.modelId && fromMs > price.fromMs && fromMs <= startedMs - admissionMs,
  )
  return price.fromMs <= startedMs && !isReplaced
}

function costOf(row: UsageAccount, price: PriceAccount): bigint {
  return (
    BigInt(row.inputTokens - row.cachedInputTokens) * price.inputNanos +
    BigInt(row.cachedInputTokens) * price.cachedInputNanos +
    BigInt(row.outputTokens - row.reasoningTokens) * price.outputNanos +
    BigInt(row.reasoningTokens) * price.reasoningNanos
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
