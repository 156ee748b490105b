/** The agent's calls to control. Throws `Fault`s; the agent goes on with what it knows. */
import { Fault } from '../platform/fault.ts'
import { createHttpClient, type HttpResponse } from '../platform/http/client.ts'
import { desiredState, type AgentReport, type DesiredState } from './protocol.ts'

const timeoutMs = 5_000
const responseBytesMax = 4 * 1024 * 1024

export interface ControlClient {
  desired(nodeName: string, signal: AbortSignal): Promise<DesiredState>
  report(report: AgentReport, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export function createControlClient(options: {
  /** `http://host:port`, without `/api/v1`. */
  readonly controlUrl: string
  readonly joinToken: string
}): ControlClient {
  const url = new URL(options.controlUrl)
  const client = createHttpClient(url.origin)
  const call = async (
    method: 'GET' | 'POST',
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<unknown> => {
    const response = await client.open({
      method,
      path: `/api/v1/agent/${path}`,
      headers: {
        authorization: `Bearer ${options.joinToken}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      firstByteTimeoutMs: timeoutMs,
      idleTimeoutMs: timeoutMs,
    })
    const text = await readText(response)
    if (response.status === 200) return JSON.parse(text)
    throw new Fault({
      code:
        response.status === 401 || response.status === 403
          ? 'auth.permission_denied'
          : 'upstream.failed',
      public: `Control answered ${response.status}.`,
      internal: `${method} agent/${path.split('?')[0]} answered ${response.status}`,
    })
  }
  return {
    async desired(nodeName, signal) {
      const path = `desired?node=${encodeURIComponent(nodeName)}`
      return desiredState.parse(await call('GET', path, undefined, signal))
    },
    async report(report, signal) {
      await call('POST', 'report', report, signal)
    },
    close: () => client.close(),
  }
}

async function readText(response: HttpResponse): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response.body) {
    bytes += chunk.length
    if (bytes > responseBytesMax) {
      throw new Fault({ code: 'upstream.invalid_response', public: 'Control answered too much.' })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
