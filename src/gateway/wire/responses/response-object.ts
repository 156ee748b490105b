/** The `response` object: what the request asked for, echoed, and what has become of it. */
import type { FinishCause, TokenUsage } from '../../../engines/engine.ts'
import { toServedTier } from '../openai/service-tier.ts'
import type { WireItem } from './output-item.ts'
import type { ResponseRequest } from './request.ts'

/** What holds from the first event to the last. */
export interface ResponseFrame {
  readonly id: string
  readonly createdSeconds: number
  readonly model: string
  readonly request: ResponseRequest
}

export interface WireResponse extends Readonly<Record<string, unknown>> {
  readonly id: string
  readonly status: 'in_progress' | 'completed' | 'incomplete' | 'failed'
  readonly output: readonly WireItem[]
}

export function toWireResponse(
  { id, createdSeconds, model, request }: ResponseFrame,
  now: {
    readonly status: WireResponse['status']
    readonly reason?: string | undefined
    readonly output: readonly WireItem[]
    readonly usage: TokenUsage | undefined
    readonly limit: FinishCause | undefined
    readonly error: { readonly code: string; readonly message: string } | undefined
    readonly completedSeconds: number | undefined
    readonly receipt: string | undefined
  },
): WireResponse {
  const summary = request.reasoning?.summary ?? request.reasoning?.generate_summary
  return {
    id,
    object: 'response',
    created_at: createdSeconds,
    completed_at: now.completedSeconds ?? null,
    status: now.status,
    background: false,
    error: now.error ?? null,
    incomplete_details: now.reason === undefined ? null : { reason: now.reason },
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: request.max_tool_calls ?? null,
    model,
    output: now.output,
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: request.previous_response_id || null,
    prompt_cache_key: request.prompt_cache_key ?? null,
    // A summary is the whole reasoning here, which is the most detailed one.
    reasoning: { effort: request.reasoning?.effort ?? null, summary: summary ? 'detailed' : null },
    safety_identifier: request.safety_identifier ?? null,
    service_tier: toServedTier(request.service_tier) ?? 'default',
    store: request.store ?? false,
    temperature: request.temperature ?? 1,
    text: {
      format: request.text?.format ?? { type: 'text' },
      verbosity: request.text?.verbosity ?? 'medium',
    },
    tool_choice: request.tool_choice ?? 'auto',
    tools: request.tools.map(toEcho),
    top_logprobs: request.top_logprobs ?? 0,
    top_p: request.top_p ?? 1,
    truncation: 'disabled',
    usage: now.usage === undefined ? null : toWireUsage(now.usage),
    user: request.user ?? null,
    metadata: request.metadata ?? {},
    access_programs: null,
    // Both are left out unless there is one.
    limit: now.limit,
    receipt: now.receipt,
  }
}

function toEcho(tool: ResponseRequest['tools'][number]): unknown {
  if (tool.type === 'custom') return { ...tool, format: tool.format ?? { type: 'text' } }
  const { description, parameters, strict } = tool
  return {
    ...tool,
    description: description ?? null,
    parameters: parameters ?? null,
    strict: strict ?? null,
  }
}

function toWireUsage(usage: TokenUsage): unknown {
  return {
    input_tokens: usage.inputTokens,
    input_tokens_details: { cached_tokens: usage.cachedInputTokens, cache_write_tokens: 0 },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.inputTokens + usage.outputTokens,
  }
}
