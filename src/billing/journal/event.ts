/**
 * What the journal says, one JSON line an event: ids, counts, prices and times; never a byte of a prompt or an answer. Names are the
 * columns of the ledger's tables, so PostgreSQL reads a line as it is. Each line begins with its kind and then its request, so a reader
 * that wants no more than these need not parse it.
 */
import type { LimitTake } from '../../limits/authority.ts'
import type { Measure } from '../../limits/rule.ts'
import type { TalliedSettlement } from '../tally.ts'
import type {
  BillableUsage,
  OpenedRequest,
  PinnedPrice,
  SettledRequest,
  UsageUnits,
} from '../usage.ts'

const openPrefix = '{"kind":"open"'
const takesPrefix = '{"kind":"takes"'
const progressPrefix = '{"kind":"progress"'
const settlePrefix = '{"kind":"settle"'

/** A request as JSON, made once for its open line and its settle line: the ledger needs no other line than the latter. */
export interface RequestText {
  /** `"request_id":…,"leg":…` */
  readonly identity: string
  readonly facts: string
  /** Only the open line names them: the settle line says what was spent of each. */
  readonly takes: string
}

export function describeRequest(request: OpenedRequest, gatewayId: string): RequestText {
  const { price } = request
  const hasLegs = request.alreadyChargedNanos > 0n
  const facts = JSON.stringify({
    gateway_id: gatewayId,
    life_id: request.lifeId,
    tenant_id: request.tenantId,
    project_id: request.projectId,
    api_key_id: request.apiKeyId,
    model_id: request.modelId,
    endpoint: request.endpoint,
    streamed: request.streamed,
    currency: price.currency,
    price: {
      version: price.version,
      nanos: toNanos(price),
      discount_basis_points: price.discountBasisPoints,
    },
    held_nanos: String(request.heldNanos),
    already_charged_nanos: hasLegs ? String(request.alreadyChargedNanos) : undefined,
    estimated_input_tokens: request.estimatedInputTokens,
    max_output_tokens: request.maxOutputTokens,
    started_at: new Date(request.startedAtMs).toISOString(),
  })
  return {
    identity: `"request_id":${JSON.stringify(request.requestId)},"leg":${request.leg}`,
    facts: withoutBraces(facts),
    takes: describeTakes(request.takes),
  }
}

function toNanos(price: PinnedPrice): Record<string, string | undefined> {
  const { units } = price
  return {
    input_token: String(price.inputNanos),
    cached_input_token: String(price.cachedInputNanos),
    output_token: String(price.outputNanos),
    reasoning_token: String(price.reasoningNanos),
    system_token: units?.systemTokenNanos?.toString(),
    audio_minute: units?.audioMinuteNanos?.toString(),
    character: units?.characterNanos?.toString(),
    image: units?.imageNanos?.toString(),
    rerank_token: units?.rerankTokenNanos?.toString(),
  }
}

/** `"takes":[[rule,subject,window start in ms,measure],…]` */
function describeTakes(takes: readonly LimitTake[]): string {
  const rows = takes.map((take) => [take.ruleId, take.subject, take.windowStartMs, take.measure])
  return `"takes":${JSON.stringify(rows)}`
}

export function encodeOpen(request: RequestText, sequence: bigint): string {
  return `${openPrefix},${request.identity},"journal_sequence":"${sequence}",${request.facts},${request.takes}}`
}

/** Counters that a request took from after its start. For recovery alone. */
export function encodeTakes(request: RequestText, takes: readonly LimitTake[]): string {
  return `${takesPrefix},${request.identity},${describeTakes(takes)}}`
}

/** What the ledger books: settlements, and the opens of requests that are still under way. Progress is for recovery alone. */
export function selectBookable(lines: readonly string[]): string[] {
  const settled = new Set(lines.filter((line) => line.startsWith(settlePrefix)).map(identityOf))
  return lines.filter(
    (line) =>
      line.startsWith(settlePrefix) ||
      (line.startsWith(openPrefix) && !settled.has(identityOf(line))),
  )
}

export function encodeProgress(
  request: RequestText,
  { usage, replicaId }: { readonly usage: BillableUsage; readonly replicaId?: string | undefined },
): string {
  const progress = JSON.stringify({ ...toColumns(usage), replica_id: replicaId })
  return `${progressPrefix},${request.identity},${withoutBraces(progress)}}`
}

export function encodeSettle(
  request: RequestText,
  settled: SettledRequest,
  sequence: bigint,
): string {
  const result = JSON.stringify({
    ...toColumns(settled.usage),
    outcome: settled.outcome,
    usage_suspect: settled.usageSuspect,
    amount_nanos: String(settled.amountNanos),
    waived_nanos: String(settled.waivedNanos),
    charges: settled.charges.map((charge) => [
      charge.ruleId,
      charge.subject,
      charge.windowStartMs,
      String(charge.amount),
    ]),
    engine_counted: settled.engineCounted,
    replica_id: settled.replicaId ?? null,
    // The columns are integers: a fraction would stop the ledger.
    time_to_first_token_ms:
      settled.timeToFirstTokenMs === undefined ? null : toWholeMs(settled.timeToFirstTokenMs),
    duration_ms: toWholeMs(settled.durationMs),
    settled_at: new Date(settled.settledAtMs).toISOString(),
  })
  return `${settlePrefix},${request.identity},"journal_sequence":"${sequence}",${request.facts},${withoutBraces(result)}}`
}

function toColumns(usage: BillableUsage): UsageLine {
  const { units } = usage
  return {
    input_tokens: usage.inputTokens,
    cached_input_tokens: usage.cachedInputTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
    units: units && {
      system_tokens: units.systemTokens,
      audio_ms: units.audioMs,
      characters: units.characters,
      images: units.images,
      rerank_tokens: units.rerankTokens,
    },
  }
}

function toWholeMs(ms: number): number {
  return Math.max(0, Math.round(ms))
}

function withoutBraces(object: string): string {
  return object.slice(1, -1)
}

export interface UnsettledRequest {
  readonly request: OpenedRequest
  /** The last that is durable; `undefined` when there is none. */
  readonly progress: BillableUsage | undefined
  readonly replicaId: string | undefined
  /** All that it took from, at its start and later. */
  readonly takes: readonly LimitTake[]
}

interface UnsettledLines {
  readonly opened: string
  readonly takes: string[]
  progress: string | undefined
}

/** Gathers, over all lines in order, the requests that were opened and never settled. Parses only those. */
export function createUnsettledIndex(): { add(line: string): void; list(): UnsettledRequest[] } {
  const open = new Map<string, UnsettledLines>()
  return {
    add(line) {
      const identity = identityOf(line)
      if (line.startsWith(openPrefix))
        open.set(identity, { opened: line, takes: [], progress: undefined })
      else if (line.startsWith(settlePrefix)) open.delete(identity)
      else {
        const known = open.get(identity)
        if (!known) return
        if (line.startsWith(takesPrefix)) known.takes.push(line)
        else known.progress = line
      }
    },
    list: () => [...open.values()].map(toUnsettled),
  }
}

function toUnsettled(lines: UnsettledLines): UnsettledRequest {
  const request = toRequest(JSON.parse(lines.opened) as OpenLine)
  const progress =
    lines.progress === undefined ? undefined : (JSON.parse(lines.progress) as ProgressLine)
  const later = lines.takes.flatMap((line) => toTakes(JSON.parse(line) as TakesLine))
  return {
    request,
    progress: progress && toUsage(progress),
    replicaId: progress?.replica_id,
    takes: [...request.takes, ...later],
  }
}

/** The text of `RequestText.identity` in any line. A quote inside an id would be escaped, so `"leg":` is found where it is meant. */
function identityOf(line: string): string {
  const start = line.indexOf(',') + 1
  return line.slice(start, line.indexOf(',', line.indexOf('"leg":', start)))
}

/**
 * Lines as read back at recovery. Our own writing, protected by checksum and chain, so their shape is known. What is optional is absent in
 * journals of an older version.
 */
interface TakesLine {
  readonly takes?: readonly (readonly [string, string, number, Measure])[]
}

interface OpenLine extends TakesLine {
  readonly request_id: string
  readonly leg: number
  readonly life_id?: string
  readonly tenant_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly model_id: string
  readonly endpoint: string
  readonly streamed: boolean
  readonly currency: string
  readonly price: {
    readonly version: string
    readonly nanos: Readonly<Record<string, string>>
    readonly discount_basis_points?: number
  }
  readonly held_nanos: string
  readonly already_charged_nanos?: string
  readonly estimated_input_tokens: number
  readonly max_output_tokens: number
  readonly started_at: string
}

interface UsageLine {
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly units?: Readonly<Record<string, number | undefined>> | undefined
}

interface SettleLine extends UsageLine {
  readonly request_id: string
  readonly leg: number
  readonly journal_sequence: string
  readonly tenant_id: string
  readonly model_id: string
  readonly currency: string
  readonly amount_nanos: string
  readonly settled_at: string
  readonly engine_counted?: boolean
}

interface ProgressLine extends UsageLine {
  readonly replica_id?: string
}

export interface ReadSettlement extends TalliedSettlement {
  readonly sequence: bigint
  readonly engineCounted: boolean
}

/** A settlement as it is counted; `undefined` for any other line. */
export function readSettlement(line: string): ReadSettlement | undefined {
  if (!line.startsWith(settlePrefix)) return undefined
  const settled = JSON.parse(line) as SettleLine
  return {
    sequence: BigInt(settled.journal_sequence),
    requestId: settled.request_id,
    leg: settled.leg,
    tenantId: settled.tenant_id,
    modelId: settled.model_id,
    currency: settled.currency,
    settledAtMs: Date.parse(settled.settled_at),
    usage: toUsage(settled),
    amountNanos: BigInt(settled.amount_nanos),
    engineCounted: settled.engine_counted ?? false,
  }
}

function toUsage(line: UsageLine): BillableUsage {
  return {
    inputTokens: line.input_tokens,
    cachedInputTokens: line.cached_input_tokens,
    outputTokens: line.output_tokens,
    reasoningTokens: line.reasoning_tokens,
    ...(line.units && { units: toUnits(line.units) }),
  }
}

function toUnits(units: Readonly<Record<string, number | undefined>>): UsageUnits {
  return {
    systemTokens: units.system_tokens,
    audioMs: units.audio_ms,
    characters: units.characters,
    images: units.images,
    rerankTokens: units.rerank_tokens,
  }
}

function toTakes(line: TakesLine): readonly LimitTake[] {
  return (line.takes ?? []).map(([ruleId, subject, windowStartMs, measure]) => ({
    ruleId,
    subject,
    windowStartMs,
    measure,
  }))
}

function toRequest(line: OpenLine): OpenedRequest {
  return {
    requestId: line.request_id,
    leg: line.leg,
    lifeId: line.life_id ?? '',
    takes: toTakes(line),
    alreadyChargedNanos: BigInt(line.already_charged_nanos ?? 0),
    tenantId: line.tenant_id,
    projectId: line.project_id,
    apiKeyId: line.api_key_id,
    modelId: line.model_id,
    endpoint: line.endpoint,
    streamed: line.streamed,
    price: toPrice(line),
    estimatedInputTokens: line.estimated_input_tokens,
    maxOutputTokens: line.max_output_tokens,
    heldNanos: BigInt(line.held_nanos),
    startedAtMs: Date.parse(line.started_at),
  }
}

function toPrice({ currency, price }: OpenLine): PinnedPrice {
  const nanos = (unit: string): bigint => BigInt(price.nanos[unit] ?? '0')
  const ifPriced = (unit: string): bigint | undefined =>
    price.nanos[unit] === undefined ? undefined : nanos(unit)
  const pinned = {
    version: price.version,
    currency,
    inputNanos: nanos('input_token'),
    cachedInputNanos: nanos('cached_input_token'),
    outputNanos: nanos('output_token'),
    reasoningNanos: nanos('reasoning_token'),
  }
  const units = {
    systemTokenNanos: ifPriced('system_token'),
    audioMinuteNanos: ifPriced('audio_minute'),
    characterNanos: ifPriced('character'),
    imageNanos: ifPriced('image'),
    rerankTokenNanos: ifPriced('rerank_token'),
  }
  return {
    ...pinned,
    ...(Object.values(units).some((price) => price !== undefined) && { units }),
    ...(price.discount_basis_points !== undefined && {
      discountBasisPoints: price.discount_basis_points,
    }),
  }
}
