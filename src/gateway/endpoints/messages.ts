/** `POST /v1/messages`: Anthropic's way to ask for a chat. To everything behind it, it is one. */
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint } from '../endpoint.ts'
import { messagesDoc } from '../openapi/operations/messages.ts'
import { streamAnswer } from '../stages/respond.ts'
import { toChatBody } from '../wire/anthropic/chat-body.ts'
import { anthropicErrors } from '../wire/anthropic/errors.ts'
import { createMessageStream } from '../wire/anthropic/message-stream.ts'
import { gatherMessage } from '../wire/anthropic/message-whole.ts'
import { anthropicRateLimitHeaders } from '../wire/anthropic/rate-limit-headers.ts'
import { parseMessageRequest } from '../wire/anthropic/request.ts'
import type { Work } from '../work.ts'
import { toChatWork } from './chat-completions.ts'

export const messages = defineEndpoint<Work>({
  path: '/v1/messages',
  errors: anthropicErrors,
  doc: messagesDoc,

  parse: (bytes) => ({
    ...toChatWork(toChatBody(parseMessageRequest(parseBoundedJson(bytes)))),
    endpoint: '/v1/messages',
    limitHeaders: anthropicRateLimitHeaders,
  }),

  async respond({ exchange, work, parts, receipt, deps }) {
    const options = {
      id: `msg_${exchange.requestId.replace(/^req_/, '')}`,
      model: work.modelName,
      estimatedInputTokens: work.estimatedInputTokens,
      receipt,
    }
    if (work.streamed) {
      const stream = createMessageStream(options)
      await streamAnswer({
        exchange,
        parts,
        encode: stream.encode,
        // Read anew for each silence: the first one starts the message.
        get keepAlive() {
          return stream.keepAlive()
        },
        errors: anthropicErrors,
        clock: deps.clock,
      })
      return
    }
    const body = await gatherMessage(parts, options)
    await exchange.send(200, { 'content-type': 'application/json' }, body)
  },
})
