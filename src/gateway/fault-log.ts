/** What an operator reads of a call that failed, and of one that its client has named. Never a byte of what was asked or answered. */
import type { IncomingHttpHeaders } from 'node:http'
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

/** Calls that went well leave no line, unless the client wants to find them by a name of its own. */
export function logNamed(
  { requestId, headers }: { readonly requestId: string; readonly headers: IncomingHttpHeaders },
  route: string,
  deps: Pick<GatewayDeps, 'log'>,
): void {
  const named = clientRequestId(headers)
  if (named !== undefined)
    deps.log.info({ requestId, clientRequestId: named, route }, 'a call was answered')
}

export function clientRequestId(headers: IncomingHttpHeaders): string | undefined {
  const value = headers['x-client-request-id']
  // Printable ASCII only, so that a log line stays one line.
  return typeof value === 'string' && /^[\x21-\x7e]{1,512}$/.test(value) ? value : undefined
}
