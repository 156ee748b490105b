/** What the journal says, one JSON line an event: ids, counts, prices and times; never a byte of a prompt or an answer. */
import type { TokenUsage } from '../../engines/engine.ts'
import type { OpenedRequest, SettledRequest } from '../usage.ts'

export interface OpenEvent {
  readonly kind: 'open'
  readonly request: OpenedRequest
}

export interface ProgressEvent {
  readonly kind: 'progress'
  readonly requestId: string
  readonly leg: number
  readonly usage: TokenUsage
  readonly replicaId: string | undefined
}

export interface SettleEvent {
  readonly kind: 'settle'
  /** Repeated, so that the ledger needs no other record. */
  readonly request: OpenedRequest
  readonly settled: SettledRequest
}

export type JournalEvent = OpenEvent | ProgressEvent | SettleEvent

/** Progress lines are for recovery alone; the shipper leaves them out by this beginning. */
export const progressPrefix = '{"kind":"progress"'

/** Names are the columns of the ledger's tables, so PostgreSQL reads the line as it is. */
export function encodeEvent(event: JournalEvent, sequence: bigint, gatewayId: string): string {
  if (event.kind === 'progress') {
    const { requestId, leg, usage, replicaId } = event
    return JSON.stringify({
      kind: 'progress',
      request_id: requestId,
      leg,
      ...toColumns(usage),
      replica_id: replicaId,
    })
  }
  const { request } = event
  const { price } = request
  const common = {
    kind: event.kind,
    journal_sequence: String(sequence),
    gateway_id: gatewayId,
    request_id: request.requestId,
    leg: request.leg,
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
  }
  if (event.kind === 'open') return JSON.stringify(common)
  const { settled } = event
  return JSON.stringify({
    ...common,
    ...toColumns(settled.usage),
    outcome: settled.outcome,
    usage_suspect: settled.usageSuspect,
    amount_nanos: String(settled.amountNanos),
    replica_id: settled.replicaId ?? null,
    time_to_first_token_ms: settled.timeToFirstTokenMs ?? null,
    duration_ms: settled.durationMs,
    settled_at: new Date(settled.settledAtMs).toISOString(),
  })
}

function toColumns(usage: TokenUsage): Record<string, number> {
  return {
    input_tokens: usage.inputTokens,
    cached_input_tokens: usage.cachedInputTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
  }
}

/** A line as read back at recovery. Our own writing, protected by checksum and chain, so its shape is known. */
interface Line {
  readonly kind: JournalEvent['kind']
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
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly replica_id?: string | null
}

export interface UnsettledRequest {
  readonly request: OpenedRequest
  readonly progress: TokenUsage | undefined
  readonly replicaId: string | undefined
}

/** Gathers, over all lines in order, the requests that were opened and never settled. */
export function createUnsettledIndex(): { add(line: string): void; list(): UnsettledRequest[] } {
  const open = new Map<string, UnsettledRequest>()
  return {
    add(text) {
      const line = JSON.parse(text) as Line
      const key = `${line.request_id} ${line.leg}`
      if (line.kind === 'open')
        open.set(key, { request: toRequest(line), progress: undefined, replicaId: undefined })
      else if (line.kind === 'settle') open.delete(key)
      else {
        const known = open.get(key)
        if (known)
          open.set(key, {
            ...known,
            progress: toUsage(line),
            replicaId: line.replica_id ?? undefined,
          })
      }
    },
    list: () => [...open.values()],
  }
}

function toUsage(line: Line): TokenUsage {
  return {
    inputTokens: line.input_tokens,
    cachedInputTokens: line.cached_input_tokens,
    outputTokens: line.output_tokens,
    reasoningTokens: line.reasoning_tokens,
  }
}

function toRequest(line: Line): OpenedRequest {
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
