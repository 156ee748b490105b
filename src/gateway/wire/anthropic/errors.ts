/** Faults as Anthropic's clients know errors (platform.claude.com/docs/en/api/errors). */
import type { Fault } from '../../../platform/fault.ts'
import type { ErrorDialect } from '../openai/errors.ts'

/** Beyond HTTP's own codes: Anthropic's for "everybody is asking, try again". */
const overloadedStatus = 529

const typesOfStatus: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  409: 'conflict_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

export const anthropicErrors: ErrorDialect = {
  status,
  body,
  event: (fault, requestId) => `event: error\ndata: ${JSON.stringify(body(fault, requestId))}\n\n`,
}

function status(fault: Fault): number {
  return fault.code.startsWith('capacity.') ? overloadedStatus : fault.status
}

function body(fault: Fault, requestId: string): unknown {
  const facts = fault.details ?? {}
  const isLimit = fault.code.startsWith('limits.')
  return {
    type: 'error',
    error: {
      type: typeOf(status(fault)),
      message: messageOf(fault),
      details: {
        error_code: fault.code.slice(fault.code.indexOf('.') + 1),
        ...(fault.param === undefined ? {} : { param: fault.param }),
        ...(isLimit ? {} : facts),
      },
      // The limit that refused, where one did.
      ...(isLimit && fault.details ? { limit: facts } : {}),
    },
    request_id: requestId,
  }
}

function typeOf(wireStatus: number): string {
  return typesOfStatus[wireStatus] ?? (wireStatus < 500 ? 'invalid_request_error' : 'api_error')
}

/** Agents shorten a conversation by themselves when they read these words. */
function messageOf(fault: Fault): string {
  const isPrompt = fault.code === 'client.context_length_exceeded' && fault.param !== 'max_tokens'
  return isPrompt ? `prompt is too long: ${fault.public}` : fault.public
}
