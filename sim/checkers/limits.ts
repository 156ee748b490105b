/**
 * Judges limits from the outside: what was charged to counters against what was served, sums against limits, and single requests to a world at rest
 * against what is left. Shares no code with the product.
 */

export interface LimitWorld {
  readonly rules: readonly RuleAccount[]
  readonly usage: readonly ChargedAccount[]
  readonly leases: readonly LeaseAccount[]
  readonly probes: readonly ProbeAccount[]
}

export interface RuleAccount {
  readonly ruleId: string
  /** `undefined`: any. */
  readonly tenantId: string | undefined
  readonly projectId: string | undefined
  readonly apiKeyId: string | undefined
  readonly modelId: string | undefined
  readonly per: 'tenant' | 'project' | 'key'
  readonly measure: string
  readonly window: string
  readonly limitOf: (tenantId: string) => bigint
  readonly enforcement: 'hard' | 'soft' | 'shadow'
}

export interface Subject {
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly modelId: string
}

export interface ChargedAccount extends Subject {
  readonly requestId: string
  readonly outcome: string
  readonly inputTokens: number
  readonly outputTokens: number
  readonly amountNanos: bigint
  readonly charges: readonly ChargeAccount[]
}

export interface ChargeAccount {
  readonly ruleId: string
  readonly subject: string
  readonly windowStartMs: number
  readonly amount: bigint
}

/** What the authority has given to a life whose process is gone, and whose journal is in the ledger. */
export interface LeaseAccount extends Omit<ChargeAccount, 'amount'> {
  readonly lifeId: string
  readonly granted: bigint
  readonly spent: bigint
}

/** One request to a world at rest, and what had been charged before it. */
export interface ProbeAccount extends Subject {
  readonly requestId: string
  /** Before and after, by the authority's clock. */
  readonly askedAtMs: number
  readonly answeredAtMs: number
  readonly isRefused: boolean
  readonly refusal: string
  readonly chargedBefore: readonly ChargeAccount[]
  /** No measure of the request can be larger. */
  readonly most: Readonly<Record<string, bigint>>
}

const windowsMs: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000 }

export function judgeLimits(world: LimitWorld): string[] {
  return [...judgeCharges(world), ...judgeSums(world), ...judgeLeases(world), ...judgeProbes(world)]
}

/** Each request is charged what it is worth to the counters of every rule that concerns it, and to no other. */
function* judgeCharges({ rules, usage }: LimitWorld): Generator<string> {
  for (const row of usage) {
    const own = rules.filter((rule) => concerns(rule, row))
    for (const { ruleId, measure, per } of own) {
      const charges = row.charges.filter((charge) => charge.ruleId === ruleId)
      const worth = worthOf(row, measure)
      const sum = charges.reduce((total, charge) => total + charge.amount, 0n)
      // After a crash nobody knows in which window what was spent: each has it in full.
      const isRight =
        row.outcome === 'crashed'
          ? charges.every((charge) => charge.amount === worth) && sum >= worth
          : sum === worth
      if (!isRight) yield `${row.requestId} is worth ${worth} ${measure} to ${ruleId}, and charged ${sum}`
      if (charges.some((charge) => charge.subject !== subjectOf(row, per)))
        yield `${row.requestId} is charged to another's counter of ${ruleId}`
    }
    for (const { ruleId } of row.charges)
      if (!own.some((rule) => rule.ruleId === ruleId))
        yield `${row.requestId} is charged to ${ruleId}, which does not concern it`
  }
}

function worthOf(row: ChargedAccount, measure: string): bigint {
  const isVoid = row.outcome === 'voided'
  switch (measure) {
    case 'requests':
      return 1n
    case 'amount':
      return row.amountNanos
    case 'input_tokens':
      return isVoid ? 0n : BigInt(row.inputTokens)
    case 'output_tokens':
      return isVoid ? 0n : BigInt(row.outputTokens)
    case 'tokens':
      return isVoid ? 0n : BigInt(row.inputTokens + row.outputTokens)
    default:
      return 0n
  }
}

/** Charges are never taken back, so a sum that holds at the end held at every moment. */
function* judgeSums({ rules, usage }: LimitWorld): Generator<string> {
  const hard = new Map(
    rules.filter((rule) => rule.enforcement === 'hard').map((rule) => [rule.ruleId, rule]),
  )
  const sums = new Map<string, { sum: bigint; limit: bigint }>()
  for (const row of usage) {
    for (const { ruleId, subject, windowStartMs, amount } of row.charges) {
      const rule = hard.get(ruleId)
      if (!rule) continue
      const key = `${ruleId} of ${subject} from ${windowStartMs}`
      const { sum } = sums.get(key) ?? { sum: 0n }
      sums.set(key, { sum: sum + amount, limit: rule.limitOf(row.tenantId) })
    }
  }
  for (const [key, { sum, limit }] of sums)
    if (sum > limit) yield `${sum} are spent of ${limit}: ${key} (${hard.get(key.split(' ')[0] ?? '')?.measure})`
}

function* judgeLeases({ leases }: LimitWorld): Generator<string> {
  for (const { lifeId, ruleId, subject, granted, spent } of leases)
    if (granted !== spent)
      yield `${lifeId} is dead and holds ${granted} of ${ruleId} of ${subject}, of which ${spent} are spent`
}

/** With nothing under way, a request that fits into what is left is admitted, and one for which nothing is left is refused. */
function* judgeProbes({ rules, probes }: LimitWorld): Generator<string> {
  for (const probe of probes) {
    const rooms = rules
      .filter((rule) => concerns(rule, probe) && rule.enforcement !== 'shadow')
      .map((rule) => ({ rule, room: roomOf(rule, probe), most: probe.most[rule.measure] ?? 0n }))
    // A window that ends meanwhile has two answers.
    if (rooms.some(({ room }) => room === undefined)) continue
    const isAmple = rooms.every(({ room, most }) => (room ?? 0n) >= most)
    const spent = rooms.find(({ room, rule }) => (room ?? 0n) <= 0n && rule.measure !== 'concurrency')
    const left = rooms.map(({ rule, room }) => `${room} ${rule.measure} of ${rule.ruleId}`).join(', ')
    if (probe.isRefused && isAmple)
      yield `${probe.requestId} is refused though enough is left (${left}): ${probe.refusal}`
    if (!probe.isRefused && spent)
      yield `${probe.requestId} is admitted though nothing is left (${left})`
  }
}

function roomOf(rule: RuleAccount, probe: ProbeAccount): bigint | undefined {
  const limit = rule.limitOf(probe.tenantId)
  const [start, end] = [probe.askedAtMs, probe.answeredAtMs].map((atMs) => windowStart(rule, atMs))
  if (start === undefined || start !== end) return undefined
  const subject = subjectOf(probe, rule.per)
  return probe.chargedBefore
    .filter((charge) => charge.ruleId === rule.ruleId && charge.subject === subject)
    .filter((charge) => charge.windowStartMs === start)
    .reduce((room, charge) => room - charge.amount, limit)
}

/** Offsets of the zones that are simulated are whole hours. */
function windowStart({ window }: RuleAccount, atMs: number): number {
  const lengthMs = windowsMs[window]
  return lengthMs === undefined ? 0 : Math.floor(atMs / lengthMs) * lengthMs
}

function concerns(rule: RuleAccount, who: Subject): boolean {
  return (
    (rule.tenantId ?? who.tenantId) === who.tenantId &&
    (rule.projectId ?? who.projectId) === who.projectId &&
    (rule.apiKeyId ?? who.apiKeyId) === who.apiKeyId &&
    (rule.modelId ?? who.modelId) === who.modelId
  )
}

function subjectOf(who: Subject, per: RuleAccount['per']): string {
  return { tenant: who.tenantId, project: who.projectId, key: who.apiKeyId }[per]
}
