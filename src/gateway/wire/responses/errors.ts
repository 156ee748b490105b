/** Failures as clients of the Responses API know them: OpenAI's usual body, with the fields named as they are named here. */
import { Fault } from '../../../platform/fault.ts'
import { openAiErrors, toWireError, type ErrorDialect } from '../openai/errors.ts'
import { renameParam, toResponseParam } from './chat-body.ts'

export const responsesErrors: ErrorDialect = {
  ...openAiErrors,
  body: (fault) => toWireError(rename(fault)),
}

/** As a message on a socket, before anything of the answer was said (developers.openai.com/api/docs/guides/websocket-mode). */
export function toSocketError(fault: Fault): string {
  return JSON.stringify({ type: 'error', status: fault.status, ...toWireError(rename(fault)) })
}

function rename(fault: Fault): Fault {
  return renameParam(fault, (param) => toResponseParam(param))
}

export function notCreate(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: "A message is a request with the type 'response.create'.",
    param: 'type',
  })
}

export function alreadyInFlight(): Fault {
  return new Fault({
    code: 'client.conflict',
    public:
      'This socket is still answering. Wait for the end of the response, or open another socket.',
    details: { code: 'response_already_in_flight' },
  })
}

/** OpenAI's code, by which clients know that a new socket helps. */
export function sessionTooLong(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'The socket has been open for 60 minutes, which is the limit. Open a new one.',
    details: { code: 'websocket_connection_limit_reached' },
  })
}
