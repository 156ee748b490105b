/** Clients, and their own account of what they saw. */
import type { CallScenario } from '../workloads/scenario.ts'
import type { Arrivals } from './connection.ts'
import type { GatewayMachine } from './gateway.ts'
import type { Loop } from './loop.ts'

export interface ClientTruth {
  readonly call: CallScenario
  readonly askedAtMs: number
  /** `undefined`: no gateway took the connection, or no answer began. */
  status: number | undefined
  tokens: number
  /** The terminal marker of a stream, or a whole body, of a status 200. */
  sawEnd: boolean
  /** As the answer told it; `undefined` when it did not. */
  toldTokens: { readonly input: number; readonly output: number } | undefined
  /** The body of a refusal. */
  refusal: string
  left: boolean
  isOver: boolean
}

/** Reasoning is sent under two names, for clients of either kind. */
const repeatedReasoning = /"reasoning":"[^"]*"/g
const doneMarker = 'data: [DONE]'

export function ask(call: CallScenario, gateway: GatewayMachine, loop: Loop): ClientTruth {
  const truth: ClientTruth = {
    call,
    askedAtMs: loop.nowMs,
    status: undefined,
    tokens: 0,
    sawEnd: false,
    toldTokens: undefined,
    refusal: '',
    left: false,
    isOver: false,
  }
  const isStream = call.body.includes('"stream":true')
  let sawMarker = false
  const over = (how: string): void => {
    if (truth.isOver) return
    truth.isOver = true
    loop.note(`client: ${call.requestId} ${how}, status ${truth.status}, ${truth.tokens} tokens`)
  }
  const arrivals: Arrivals = {
    onHead: (status) => {
      truth.status = status
    },
    onText(text) {
      if (truth.status !== 200) truth.refusal += text
      else {
        truth.tokens += text.replaceAll(repeatedReasoning, '').split('tok ').length - 1
        truth.toldTokens = readUsage(text) ?? truth.toldTokens
        sawMarker ||= isStream ? text.includes(doneMarker) : text.startsWith('{')
        if (sawMarker) truth.sawEnd = true
      }
    },
    onEnd: () => over('is answered'),
    onCut: () => over('is cut off'),
  }
  const connection = gateway.call(call, arrivals)
  if (!connection) over('finds no gateway')
  if (connection && call.leavesAfterMs !== undefined) {
    loop.after(call.leavesAfterMs, () => {
      if (truth.isOver) return
      truth.left = true
      connection.leave()
      over('leaves')
    })
  }
  return truth
}

/** OpenAI's usage, in the last event of a stream or in a whole body. */
function readUsage(text: string): ClientTruth['toldTokens'] {
  const found = /"usage":\{"prompt_tokens":(\d+),"completion_tokens":(\d+)/.exec(text)
  return found ? { input: Number(found[1]), output: Number(found[2]) } : undefined
}
