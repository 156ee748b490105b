/** What clients expect at the end of a choice, whatever an engine says. Pure. */
import type { FinishReason } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'

/** How the request asked for calls. */
export interface CallStyle {
  /** The caller named the function, so that a call is no news: it ends with `stop`. */
  readonly isCallNamed?: boolean | undefined
  /** The caller asked in the form before tools, and is answered in it: `function_call` in place of `tool_calls`. */
  readonly usesFunctions?: boolean | undefined
}

/** Calls that were chosen freely end with `tool_calls`; and there is no such end without a call. */
export function toFinishReason(reason: FinishReason, hasCalls: boolean, style: CallStyle): string {
  if (reason !== 'stop' && reason !== 'tool_calls') return reason
  if (!hasCalls || style.isCallNamed) return 'stop'
  return style.usesFunctions ? 'function_call' : 'tool_calls'
}

/** Probabilities that were asked for and do not come would be missed much later; this says so before the first text goes out. */
export function logprobsMissing(): Fault {
  return new Fault({
    code: 'client.unsupported_value',
    public: "The model server of this model does not report 'logprobs'. Leave it out.",
    param: 'logprobs',
  })
}
