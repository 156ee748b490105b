/**
 * Judges limits from the outside: what was charged to counters against what was served, sums against limits, and single requests to a world at rest
 * against what is left. Shares no code with the product.
 */

export interface LimitWorld {
  readonly timeZone: string
  /** The authority's clock was set forward or back. */
  readonly clockJumped: boolean
  readonly rules: readonly RuleAccount[]
  readonly usage: readonly ChargedAccount[]
  readonly leases: readonly LeaseAccount[]
  readonly probes: readonly ProbeAccount[]
  readonly rush: RushAccount | undefined
}

/** Requests that came all at once to a world at rest, under one limit of requests. */
export interface RushAccount {
  readonly ruleId: string
  readonly limit: bigint
  readonly asked: number
  readonly refused: number
  readonly chargedBefore: bigint
  readonly chargedAfter: bigint
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
  /** Whether gateways go on without the authority, with an even share each. */
  readonly onOutage: 'closed' | 'open'
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
  /** Between these two moments of the world, what was charged was taken. */
  readonly askedAtMs: number
  readonly bookedAtMs: number
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
  /** In the world's time, and by the authority's clock; the latter before and after. */
  readonly atMs: number
  readonly askedAtMs: number
  readonly answeredAtMs: number
  readonly isRefused: boolean
  readonly refusal: string
  readonly chargedBefore: readonly (ChargeAccount & { readonly bookedAtMs: number })[]
  /** No measure of the request can be larger. */
  readonly most: Readonly<Record<string, bigint>>
}

/** Limits for these are buckets that fill again evenly; for the others, they begin anew with the day, the month, or never. */
const periodsMs: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000 }

export function judgeLimits(world: LimitWorld): string[] {
  return [
    ...judgeCharges(world),
    ...judgeSums(world),
    ...judgeLeases(world),
    ...judgeProbes(world),
    ...judgeRush(world),
  ]
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
      if (!isRight)
        yield `${row.requestId} is worth ${worth} ${measure} to ${ruleId}, and charged ${sum}`
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
function* judgeSums(world: LimitWorld): Generator<string> {
  for (const rule of world.rules.filter((each) => each.enforcement === 'hard')) {
    const charged = world.usage.flatMap(({ charges, ...row }) =>
      charges
        .filter((charge) => charge.ruleId === rule.ruleId)
        .map((charge) => ({ ...row, ...charge })),
    )
    for (const [counter, takes] of Map.groupBy(charged, counterOf)) {
      const limit = rule.limitOf(takes[0]?.tenantId ?? '')
      const periodMs = periodsMs[rule.window]
      const bound = limit + unforeseen(rule.measure, takes)
      const over = periodMs === undefined ? excess(takes, bound) : burst(takes, bound, periodMs)
      if (over !== undefined && !(world.clockJumped && periodMs !== undefined))
        yield `${over}: ${limit} ${rule.measure} a ${rule.window}, ${counter}`
    }
  }
}

/**
 * Input is counted by the engine after it was let in by an estimate, and a count beyond it stands. The last few requests can so exceed a limit: those
 * that run at once on three gateways, by a half of the largest.
 */
function unforeseen(measure: string, takes: readonly { readonly inputTokens: number }[]): bigint {
  if (measure !== 'tokens' && measure !== 'input_tokens') return 0n
  const largest = takes.reduce((most, { inputTokens }) => Math.max(most, inputTokens), 0)
  return BigInt(Math.ceil((largest * 3) / 2))
}

interface Take {
  readonly amount: bigint
  readonly askedAtMs: number
  readonly bookedAtMs: number
}

function counterOf({ ruleId, subject, windowStartMs }: ChargeAccount): string {
  return `${ruleId} of ${subject} from ${windowStartMs}`
}

function excess(takes: readonly Take[], limit: bigint): string | undefined {
  const sum = total(takes)
  return sum > limit ? `${sum} are spent` : undefined
}

/** In no time does more go by than a full bucket and what fills it meanwhile. */
function burst(takes: readonly Take[], limit: bigint, periodMs: number): string | undefined {
  for (const { askedAtMs: fromMs } of takes) {
    for (const { bookedAtMs: toMs } of takes) {
      const within = takes.filter((take) => take.askedAtMs >= fromMs && take.bookedAtMs <= toMs)
      const most =
        limit + (limit * BigInt(Math.ceil(Math.max(0, toMs - fromMs)))) / BigInt(periodMs) + 1n
      const sum = total(within)
      if (sum > most)
        return `${sum} are spent between ${fromMs} and ${toMs}, at most ${most} could be`
    }
  }
  return undefined
}

function total(takes: readonly { readonly amount: bigint }[]): bigint {
  return takes.reduce((sum, take) => sum + take.amount, 0n)
}

/** Of a soft rule, a life may have spent what nobody granted: while the authority was away. */
function* judgeLeases({ leases, rules }: LimitWorld): Generator<string> {
  const hard = new Set(
    rules.filter((rule) => rule.enforcement === 'hard').map((rule) => rule.ruleId),
  )
  for (const { lifeId, ruleId, subject, granted, spent } of leases)
    if (granted > spent || (granted < spent && hard.has(ruleId)))
      yield `${lifeId} is dead and holds ${granted} of ${ruleId} of ${subject}, of which ${spent} are spent`
}

/** With nothing under way, a request that fits into what is left is admitted, and one for which nothing is left is refused. */
function* judgeProbes(world: LimitWorld): Generator<string> {
  for (const probe of world.probes) {
    const rooms = world.rules
      .filter((rule) => concerns(rule, probe) && rule.enforcement !== 'shadow')
      .map((rule) => ({
        rule,
        room: roomOf(rule, probe, world),
        most: probe.most[rule.measure] ?? 0n,
      }))
    // A window that ends meanwhile has two answers.
    if (rooms.some(({ room }) => room === undefined)) continue
    const isAmple = rooms.every(({ room, most }) => (room ?? 0n) >= most)
    // One gateway may hold a slice of a soft rule that another has overdrawn, and a bucket fills meanwhile.
    const spent = rooms.find(
      ({ room, rule }) =>
        (room ?? 0n) <= 0n && rule.enforcement === 'hard' && periodsMs[rule.window] === undefined,
    )
    const left = rooms
      .map(({ rule, room }) => `${room} ${rule.measure} of ${rule.ruleId}`)
      .join(', ')
    if (probe.isRefused && isAmple)
      yield `${probe.requestId} is refused though enough is left (${left}): ${probe.refusal}`
    if (!probe.isRefused && spent)
      yield `${probe.requestId} is admitted though nothing is left (${left})`
  }
}

/**
 * What is left; of a bucket, at least so much: what was taken longer ago than it takes to fill has come back. That of a soft rule may be overdrawn, and
 * takes longer.
 */
function roomOf(
  rule: RuleAccount,
  probe: ProbeAccount,
  { timeZone }: LimitWorld,
): bigint | undefined {
  const now = nameWindow(rule, probe.askedAtMs, timeZone)
  if (now !== nameWindow(rule, probe.answeredAtMs, timeZone)) return undefined
  const subject = subjectOf(probe, rule.per)
  const fillsInMs = rule.enforcement === 'hard' ? periodsMs[rule.window] : undefined
  const sinceMs = probe.atMs - (fillsInMs ?? Infinity)
  const taken = probe.chargedBefore.filter(
    (charge) =>
      charge.ruleId === rule.ruleId &&
      charge.subject === subject &&
      charge.bookedAtMs >= sinceMs &&
      nameWindow(rule, charge.windowStartMs, timeZone) === now,
  )
  return rule.limitOf(probe.tenantId) - total(taken)
}

/** The local day or month; '' where there is but one window. */
function nameWindow({ window }: RuleAccount, atMs: number, timeZone: string): string {
  if (window !== 'day' && window !== 'month') return ''
  const date = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' }).format(atMs)
  return window === 'day' ? date : date.slice(0, 7)
}

/** As many are admitted as there is room for: not one more, and not one less. */
function* judgeRush({ rush }: LimitWorld): Generator<string> {
  if (!rush) return
  const room = Math.max(0, Number(rush.limit - rush.chargedBefore))
  const admitted = Number(rush.chargedAfter - rush.chargedBefore)
  // Some meet another trouble, such as a full journal.
  const due = Math.min(admitted + rush.refused, room)
  if (admitted !== due)
    yield `${admitted} of ${rush.asked} requests at once are admitted, ${rush.refused} refused, and there was room for ${room}`
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
