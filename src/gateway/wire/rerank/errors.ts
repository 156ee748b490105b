/** Failures for clients of Cohere, which read `message`, and for all others, which read OpenAI's `error`. */
import { openAiErrors, toWireError, type ErrorDialect } from '../openai/errors.ts'

export const rerankErrors: ErrorDialect = {
  ...openAiErrors,
  body: (fault, requestId) => ({ id: requestId, message: fault.public, ...toWireError(fault) }),
}
