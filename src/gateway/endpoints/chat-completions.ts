import { sizeInput } from '../../billing/estimate.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint } from '../endpoint.ts'
import { streamAnswer } from '../stages/respond.ts'
import { parseChatRequest, toEngineBody } from '../wire/openai/chat-request.ts'
import { createChatStreamEncoder, keepAliveComment } from '../wire/openai/chat-stream.ts'
import { gatherChat } from '../wire/openai/chat-whole.ts'
import type { Work } from '../work.ts'

interface ChatCompletionsWork extends Work {
  readonly includeUsage: boolean
}

export const chatCompletions = defineEndpoint<ChatCompletionsWork>({
  path: '/v1/chat/completions',

  parse: (bytes) => toChatWork(parseBoundedJson(bytes)),

  async respond({ exchange, work, model, parts, receipt, deps }) {
    const options = {
      id: `chatcmpl-${exchange.requestId.replace(/^req_/, '')}`,
      createdSeconds: Math.floor(deps.clock.nowMs() / 1_000),
      model: model.model.id,
      systemFingerprint: 'fp_colonnade',
      includeUsage: work.includeUsage,
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
    const processingMs = Math.round(deps.clock.monotonicMs() - exchange.startedMs)
    await exchange.send(
      200,
      { 'content-type': 'application/json', 'openai-processing-ms': String(processingMs) },
      body,
    )
  },
})

export function toChatWork(value: unknown): ChatCompletionsWork {
  const request = parseChatRequest(value)
  const body = toEngineBody(request)
  const size = sizeInput(body)
  return {
    endpoint: '/v1/chat/completions',
    modelName: request.model,
    streamed: request.stream === true,
    includeUsage: request.stream_options?.include_usage === true,
    tasks: [{ kind: 'chat', body }],
    choices: request.n ?? 1,
    maxOutputTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
    estimatedInputTokens: size.estimatedTokens,
    inputTokensMax: size.tokensMax,
    longestTextBytes: size.textBytes,
  }
}
