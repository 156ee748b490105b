/** `POST /tokenize`: how many tokens a chat's prompt has, exactly as an answer to it would count them. Nothing is computed. */
import type { ServerResponse } from 'node:http'
import { parseChatRequest } from './chat-request.ts'
import { planConversation, type ConversationModel } from './conversation.ts'
import { sendJson } from './http.ts'

/** vLLM's shape, without the tokens themselves. Throws a fault for what would not be answered either. */
export function answerTokenCount(
  model: ConversationModel,
  call: { readonly body: unknown; readonly response: ServerResponse },
): void {
  const { prompt } = planConversation(parseChatRequest(call.body), model)
  sendJson(call.response, 200, { count: prompt.length, max_model_len: model.windowTokens })
}
