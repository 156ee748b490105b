/**
 * What the journal says, one JSON line an event: ids, counts, prices and times; never a byte of a prompt or an answer. Names are the
 * columns of the ledger's tables, so PostgreSQL reads a line as it is. Each line begins with its kind and then its request, so a reader
 * that wants no more than these need not parse it.
 */
import type { TokenUsage } from '../../engines/engine.ts'
import type { OpenedRequest, SettledRequest } from '../usage.ts'

const openPrefix = '{"kind":"open"'
const progressPrefix = '{"kind":"progress"'
const settlePrefix = '{"kind":"settle"'

/** A request as JSON, made once for its open line and its settle line: the ledger needs no other line than the latter. */
export interface RequestText {
  /** `"request_id":…,"leg":…` */
  readonly identity: string
  readonly facts: string
}

export function describeRequest(request: OpenedRequest, gatewayId: string): RequestText {
  const { price } = request
  const facts = JSON.stringify({
    gateway_id: gatewayId,
    tenant_id: request.tenantId,
    project_id: request.projectId,
    api_key_id: request.apiKeyId,
    model_id: request.modelId,
    endpoint: request.endpoint,
    streamed: request.streamed,
    currency: price.currency,
    price: {
      version: price.version,
      nanos: {
        input_token: String(price.inputNanos),
        cached_input_token: String(price.cachedInputNanos),
        output_token: String(price.outputNanos),
        reasoning_token: String(price.reasoningNanos),
      },
    },
    held_nanos: String(request.heldNanos),
    estimated_input_tokens: request.estimatedInputTokens,
    max_output_tokens: request.maxOutputTokens,
    started_at: new Date(request.startedAtMs).toISOString(),
  })
  return {
    identity: `"request_id":${JSON.stringify(request.requestId)},"leg":${request.leg}`,
    facts: withoutBraces(facts),
  }
}

export function encodeOpen(request: RequestText, sequence: bigint): string {
  return `${openPrefix},${request.identity},"journal_sequence":"${sequence}",${request.facts}}`
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

export function encodeProgress(request: RequestText, usage: TokenUsage): string {
  return `${progressPrefix},${request.identity},${withoutBraces(JSON.stringify(toColumns(usage)))}}`
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
    replica_id: settled.replicaId ?? null,
    // The columns are integers: a fraction would stop the ledger.
    time_to_first_token_ms:
      settled.timeToFirstTokenMs === undefined ? null : toWholeMs(settled.timeToFirstTokenMs),
    duration_ms: toWholeMs(settled.durationMs),
    settled_at: new Date(settled.settledAtMs).toISOString(),
  })
  return `${settlePrefix},${request.identity},"journal_sequence":"${sequence}",${request.facts},${withoutBraces(result)}}`
}

function toColumns(usage: TokenUsage): Record<string, number> {
  return {
    input_tokens: usage.inputTokens,
    cached_input_tokens: usage.cachedInputTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
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
  readonly progress: TokenUsage | undefined
}

/** Gathers, over all lines in order, the requests that were opened and never settled. Parses only those. */
export function createUnsettledIndex(): { add(line: string): void; list(): UnsettledRequest[] } {
  const open = new Map<string, { readonly opened: string; progress: string | undefined }>()
  return {
    add(line) {
      const identity = identityOf(line)
      if (line.startsWith(openPrefix)) open.set(identity, { opened: line, progress: undefined })
      else if (line.startsWith(settlePrefix)) open.delete(identity)
      else {
        const known = open.get(identity)
        if (known) known.progress = line
      }
    },
    list: () =>
      [...open.values()].map(({ opened, progress }) => ({
        request: toRequest(JSON.parse(opened) as OpenLine),
        progress: progress === undefined ? undefined : toUsage(JSON.parse(progress) as UsageLine),
      })),
  }
}

/** The text of `RequestText.identity` in any line. A quote inside an id would be escaped, so `"leg":` is found where it is meant. */
function identityOf(line: string): string {
  const start = line.indexOf(',') + 1
  return line.slice(start, line.indexOf(',', line.indexOf('"leg":', start)))
}

/** Lines as read back at recovery. Our own writing, protected by checksum and chain, so their shape is known. */
interface OpenLine {
  readonly request_id: string
  readonly leg: number
  readonly tenant_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly model_id: string
  readonly endpoint: string
  readonly streamed: boolean
  readonly currency: string
  readonly price: { readonly version: string; readonly nanos: Readonly<Record<string, string>> }
  readonly held_nanos: string
  readonly estimated_input_tokens: number
  readonly max_output_tokens: number
  readonly started_at: string
}

interface UsageLine {
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
}

function toUsage(line: UsageLine): TokenUsage {
  return {
    inputTokens: line.input_tokens,
    cachedInputTokens: line.cached_input_tokens,
    outputTokens: line.output_tokens,
    reasoningTokens: line.reasoning_tokens,
  }
}

function toRequest(line: OpenLine): OpenedRequest {
  const nanos = (unit: string): bigint => BigInt(line.price.nanos[unit] ?? '0')
  return {
    requestId: line.request_id,
    leg: line.leg,
    tenantId: line.tenant_id,
    projectId: line.project_id,
    apiKeyId: line.api_key_id,
    modelId: line.model_id,
    endpoint: line.endpoint,
    streamed: line.streamed,
    price: {
      version: line.price.version,
      currency: line.currency,
      inputNanos: nanos('input_token'),
      cachedInputNanos: nanos('cached_input_token'),
      outputNanos: nanos('output_token'),
      reasoningNanos: nanos('reasoning_token'),
    },
    estimatedInputTokens: line.estimated_input_tokens,
    maxOutputTokens: line.max_output_tokens,
    heldNanos: BigInt(line.held_nanos),
    startedAtMs: Date.parse(line.started_at),
  }
}
