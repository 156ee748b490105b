/**
 * What a caller may leave here between its requests: the responses that it asks to be kept, where its tenant wants that. Of all others nothing is kept, and there
 * is no memory to ask.
 */
import type { Principal } from '../identity/principal.ts'
import { Fault, toFault } from '../platform/fault.ts'
import type { GatewayDeps } from './deps.ts'
import type { InputItem } from './wire/responses/input-item.ts'
import { toConversationItems, toKeptBytes, toKeptInput } from './wire/responses/kept-response.ts'
import type { ResponseRequest } from './wire/responses/request.ts'
import type { WireResponse } from './wire/responses/response-object.ts'

export interface ResponseMemory {
  /** What the conversation held before this request. Throws for a request whose answer could not be kept, or that goes on from what is not there. */
  recall(request: ResponseRequest): Promise<readonly InputItem[]>
  /** Resolves when the response is kept for good. */
  keep(request: ResponseRequest, response: WireResponse): Promise<void>
}

export function openResponseMemory(
  caller: Principal,
  { responses }: Pick<GatewayDeps, 'responses'>,
): ResponseMemory | undefined {
  if (caller.responsesKeptDays === undefined) return undefined
  return {
    async recall(request) {
      if (request.store === true) {
        const bytes = Buffer.byteLength(JSON.stringify(request.input))
        await responses.checkRoom(caller, bytes)
      }
      const { previous_response_id: previousId } = request
      if (!previousId) return []
      const conversation = await responses.conversation(caller, previousId)
      if (conversation.outcome === 'too_long') throw tooLong()
      if (conversation.outcome === 'absent') throw notFound()
      if (!conversation.isWhole) throw notWhole()
      return toConversationItems(conversation.responses)
    },
    async keep(request, response) {
      const previousId = request.previous_response_id || undefined
      const content = toKeptBytes({ response, input: toKeptInput(request.input, response.id) })
      try {
        await responses.keep(caller, { id: response.id, previousId, content })
      } catch (error) {
        throw notKept(toFault(error))
      }
    },
  }
}

/** The code by which OpenAI's clients know that they have to send the conversation whole. */
const details = { code: 'previous_response_not_found' }

function notFound(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'There is no such response in this project: it was not stored, is deleted, or too old.',
    param: 'previous_response_id',
    details,
  })
}

function notWhole(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public:
      'A response that this one goes on from is deleted, or too old, so the conversation is not whole. Send it in input.',
    param: 'previous_response_id',
    details,
  })
}

function tooLong(): Fault {
  return new Fault({
    code: 'client.context_length_exceeded',
    public:
      'The conversation is longer than what can be put together here. Send in input what the model shall know of it.',
    param: 'previous_response_id',
  })
}

/** Without a time to try again: whoever asks again pays again. */
function notKept(fault: Fault): Fault {
  return new Fault({
    code: fault.code,
    public:
      fault.code === 'client.body_too_large'
        ? `The response was made, and is billed, but is not kept. ${fault.public}`
        : 'The response was made, and is billed, but could not be kept, so it counts as failed. Nothing of it is stored.',
    internal: fault.internal,
    param: fault.param,
    cause: fault.cause,
  })
}
