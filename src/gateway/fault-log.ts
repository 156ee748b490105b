/** What an operator reads of a call that failed. Never a byte of what was asked or answered. */
import type { Fault } from '../platform/fault.ts'
import type { GatewayDeps } from './deps.ts'

export function logFault(
  fault: Fault,
  call: {
    readonly requestId: string
    readonly route: string
    readonly clientRequestId?: string | undefined
  },
  deps: Pick<GatewayDeps, 'log' | 'metrics'>,
): void {
  deps.metrics.failed(fault.code)
  const line = { ...call, code: fault.code, internal: fault.internal, param: fault.param }
  if (fault.code === 'platform.bug')
    deps.log.error({ ...line, error: fault.cause }, 'a call failed by a bug')
  else if (fault.status >= 500) deps.log.warn(line, 'a call failed')
  else deps.log.info(line, 'a call was refused')
}
