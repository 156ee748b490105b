/** The ledger's tables and `apply_journal`, as a model: what PostgreSQL does with a batch of a journal. Compared with the real one by a test. */

export interface UsageRow {
  readonly tenantId: string
  readonly requestId: string
  readonly leg: number
  readonly projectId: string
  readonly apiKeyId: string
  readonly modelId: string
  readonly gatewayId: string
  readonly lifeId: string
  readonly outcome: string
  readonly usageSuspect: boolean
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly amountNanos: bigint
  readonly waivedNanos: bigint
  readonly currency: string
  readonly priceVersion: string
  readonly startedAt: string
  readonly charges: readonly Charge[]
  readonly bookedAtMs: number
}

export interface Charge {
  readonly ruleId: string
  readonly subject: string
  readonly windowStartMs: number
  readonly amount: bigint
}

export interface Entry {
  /** `charge`, `hold` or `release`, with the request and its leg. */
  readonly transaction: string
  readonly accountId: string
  readonly amountNanos: bigint
}

export interface LedgerModel {
  findCheckpoint(gatewayId: string): bigint
  /** All of it, or nothing. */
  apply(gatewayId: string, lines: readonly string[], through: bigint): void
  readonly usageRows: readonly UsageRow[]
  readonly entries: readonly Entry[]
  readonly balances: ReadonlyMap<string, bigint>
}

/** A line of the journal, as far as the ledger reads it. */
interface Line {
  readonly kind: string
  readonly request_id: string
  readonly leg: number
  readonly tenant_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly model_id: string
  readonly gateway_id: string
  readonly life_id?: string
  readonly currency: string
  readonly price: { readonly version: string }
  readonly held_nanos: string
  readonly started_at: string
  readonly outcome: string
  readonly usage_suspect: boolean
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly amount_nanos: string
  readonly waived_nanos?: string
  readonly charges?: readonly (readonly [string, string, number, string])[]
}

export function createLedger(options: {
  /** Without them, nothing stops a repetition. */
  readonly hasUniqueKeys: boolean
  readonly nowMs: () => number
  /** Adds to what a life has spent of a counter. */
  readonly onCharge: (lifeId: string, charge: Charge) => void
}): LedgerModel {
  const { hasUniqueKeys } = options
  const checkpoints = new Map<string, bigint>()
  const usageRows: UsageRow[] = []
  const usageKeys = new Set<string>()
  /** The amount of each transaction. */
  const transactions = new Map<string, bigint>()
  const entries: Entry[] = []
  const balances = new Map<string, bigint>()

  const post = (transaction: string, debit: string, credit: string, nanos: bigint): void => {
    if (hasUniqueKeys && transactions.has(transaction)) return
    transactions.set(transaction, nanos)
    const sides = [
      { transaction, accountId: debit, amountNanos: nanos },
      { transaction, accountId: credit, amountNanos: -nanos },
    ]
    for (const entry of sides) {
      entries.push(entry)
      balances.set(entry.accountId, (balances.get(entry.accountId) ?? 0n) + entry.amountNanos)
    }
  }

  const settle = (line: Line): void => {
    const key = keyOf(line)
    if (hasUniqueKeys && usageKeys.has(key)) return
    usageKeys.add(key)
    const row = { ...toRow(line), bookedAtMs: options.nowMs() }
    usageRows.push(row)
    for (const charge of row.charges) options.onCharge(row.lifeId, charge)
    const accounts = accountsOf(line)
    if (row.amountNanos > 0n)
      post(`charge ${key}`, accounts.receivable, accounts.revenue, row.amountNanos)
    const held = transactions.get(`hold ${key}`)
    if (held !== undefined) post(`release ${key}`, accounts.suspense, accounts.held, held)
  }

  const hold = (line: Line, settledInBatch: ReadonlySet<string>): void => {
    const key = keyOf(line)
    const isSettled = settledInBatch.has(key) || usageKeys.has(key)
    const nanos = BigInt(line.held_nanos)
    if (isSettled || nanos === 0n) return
    const accounts = accountsOf(line)
    post(`hold ${key}`, accounts.held, accounts.suspense, nanos)
  }

  return {
    findCheckpoint: (gatewayId) => checkpoints.get(gatewayId) ?? 0n,
    apply(gatewayId, texts, through) {
      checkpoints.set(gatewayId, through)
      // Our own lines: their shape is known.
      const lines = texts.map((text) => JSON.parse(text) as Line)
      const settles = lines.filter((line) => line.kind === 'settle')
      const settledInBatch = new Set(settles.map(keyOf))
      const opens = lines.filter((line) => line.kind === 'open')
      for (const line of opens) hold(line, settledInBatch)
      for (const line of settles) settle(line)
    },
    usageRows,
    entries,
    balances,
  }
}

function keyOf(line: Line): string {
  return `${line.request_id} ${line.leg}`
}

function accountsOf({
  tenant_id: tenant,
  currency,
}: Line): Record<'receivable' | 'revenue' | 'held' | 'suspense', string> {
  return {
    receivable: `receivable:${tenant}:${currency}`,
    revenue: `revenue:${currency}`,
    held: `held:${tenant}:${currency}`,
    suspense: `suspense:${currency}`,
  }
}

function toRow(line: Line): Omit<UsageRow, 'bookedAtMs'> {
  return {
    tenantId: line.tenant_id,
    requestId: line.request_id,
    leg: line.leg,
    projectId: line.project_id,
    apiKeyId: line.api_key_id,
    modelId: line.model_id,
    gatewayId: line.gateway_id,
    lifeId: line.life_id ?? '',
    outcome: line.outcome,
    usageSuspect: line.usage_suspect,
    inputTokens: line.input_tokens,
    cachedInputTokens: line.cached_input_tokens,
    outputTokens: line.output_tokens,
    reasoningTokens: line.reasoning_tokens,
    amountNanos: BigInt(line.amount_nanos),
    waivedNanos: BigInt(line.waived_nanos ?? 0),
    currency: line.currency,
    priceVersion: line.price.version,
    startedAt: line.started_at,
    charges: (line.charges ?? []).map(([ruleId, subject, windowStartMs, amount]) => ({
      ruleId,
      subject,
      windowStartMs,
      amount: BigInt(amount),
    })),
  }
}
