/** Requests without streaming, by wrk: it costs a fraction of any proxy. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { output } from '../process.ts'
import type { RunningPeer } from '../peers/peer.ts'

export interface RequestLoad {
  readonly connections: number
  readonly seconds: number
  /** Of the one user message. */
  readonly promptBytes: number
}

export interface RequestResult {
  readonly requests: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
  /** Answers that were no 2xx, and connections that failed. */
  readonly failures: number
}

const answerTokens = 16
const timeoutS = 30

export async function loadRequests(
  peer: Pick<RunningPeer, 'url' | 'headers' | 'model'>,
  load: RequestLoad,
  options: { readonly core: number; readonly workDirectory: string },
): Promise<RequestResult> {
  const script = join(options.workDirectory, 'request.lua')
  writeFileSync(script, luaScript(peer, load))
  const { connections, seconds } = load
  const pinned = ['-c', String(options.core), 'wrk', '--threads', '1', '--script', script]
  const how = ['--connections', String(connections), '--duration', `${seconds}s`]
  const where = ['--timeout', `${timeoutS}s`, `${peer.url}/v1/chat/completions`]
  const printed = await output('taskset', [...pinned, ...how, ...where])
  const line = printed.split('\n').findLast((candidate) => candidate.startsWith('{'))
  if (line === undefined) throw new Error(`wrk printed no result:\n${printed}`)
  // Printed by the script below.
  return JSON.parse(line) as RequestResult
}

function luaScript(peer: Pick<RunningPeer, 'headers' | 'model'>, load: RequestLoad): string {
  const body = JSON.stringify({
    model: peer.model,
    max_tokens: answerTokens,
    messages: [{ role: 'user', content: 'word '.repeat(Math.ceil(load.promptBytes / 5)) }],
  })
  const headers = { 'content-type': 'application/json', ...peer.headers }
  const lines = Object.entries(headers).map(
    ([name, value]) => `wrk.headers[${quote(name)}] = ${quote(value)}`,
  )
  return `wrk.method = 'POST'
wrk.body = ${quote(body)}
${lines.join('\n')}
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"p50Ms":%f,"p95Ms":%f,"p99Ms":%f,"failures":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`
}

/** A Lua string; neither bodies nor headers hold control characters. */
function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
