import { sizeInput } from '../../billing/estimate.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint, type Answer } from '../endpoint.ts'
import { chatCompletionsDoc } from '../openapi/operations/chat-completions.ts'
import { streamAnswer } from '../stages/respond.ts'
import type { CallStyle } from '../wire/openai/chat-finish.ts'
import {
  chatFieldNames,
  needsOf,
  parseChatRequest,
  toEngineBody,
} from '../wire/openai/chat-request.ts'
import { createChatStreamEncoder, keepAliveComment } from '../wire/openai/chat-stream.ts'
import { planTools } from '../wire/openai/chat-tools.ts'
import { gatherChat } from '../wire/openai/chat-whole.ts'
import { takeUnknownFields, tolerant, type FieldPolicy } from '../wire/openai/field-policy.ts'
import { toServedTier } from '../wire/openai/service-tier.ts'
import type { Work } from '../work.ts'

/** What a chat's answer needs to know of its request. */
export interface ChatWork extends Work, CallStyle {
  readonly includeUsage: boolean
  readonly serviceTier: string | undefined
  readonly wantsLogprobs: boolean
}

export const chatCompletions = defineEndpoint<ChatWork>({
  path: '/v1/chat/completions',
  doc: chatCompletionsDoc,
  parse: (bytes, { fieldPolicy }) => toChatWork(parseBoundedJson(bytes), fieldPolicy),
  respond: respondToChat,
})

export function toChatWork(value: unknown, policy: FieldPolicy = tolerant): ChatWork {
  const request = parseChatRequest(value)
  const extras = takeUnknownFields(value, chatFieldNames, policy)
  const body = { ...extras, ...toEngineBody(request) }
  const size = sizeInput(body)
  const { isNamed, usesFunctions } = planTools(request)
  return {
    endpoint: '/v1/chat/completions',
    modelName: request.model,
    streamed: request.stream === true,
    tasks: [{ kind: 'chat', body }],
    needs: needsOf(request),
    choices: request.n ?? 1,
    maxOutputTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
    estimatedInputTokens: size.estimatedTokens,
    inputTokensMax: size.tokensMax,
    longestTextBytes: size.textBytes,
    includeUsage: request.stream_options?.include_usage === true,
    serviceTier: toServedTier(request.service_tier),
    wantsLogprobs: request.logprobs === true,
    isCallNamed: isNamed,
    usesFunctions,
  }
}

export async function respondToChat(answer: Answer<ChatWork>): Promise<void> {
  const { exchange, work, model, parts, receipt, deps } = answer
  const options = {
    id: `chatcmpl-${exchange.requestId.replace(/^req_/, '')}`,
    createdSeconds: Math.floor(deps.clock.nowMs() / 1_000),
    model: model.model.id,
    systemFingerprint: 'fp_colonnade',
    includeUsage: work.includeUsage,
    serviceTier: work.serviceTier,
    wantsLogprobs: work.wantsLogprobs,
    isCallNamed: work.isCallNamed,
    usesFunctions: work.usesFunctions,
    receipt,
  }
  if (work.streamed) {
    const encode = createChatStreamEncoder(options)
    await streamAnswer({
      exchange,
      parts,
      encode,
      keepAlive: keepAliveComment,
      clock: deps.clock,
    })
    return
  }
  const body = await gatherChat(parts, options)
  await exchange.send(200, { 'content-type': 'application/json' }, body)
}
