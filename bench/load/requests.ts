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
  /** Of a peer with many keys: at random, or one after the other from this line of their file. */
  readonly keys?: 'random' | { readonly fromLine: number }
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
  peer: Pick<RunningPeer, 'url' | 'headers' | 'keysFile' | 'model'>,
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

function luaScript(
  peer: Pick<RunningPeer, 'headers' | 'keysFile' | 'model'>,
  load: RequestLoad,
): string {
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
${peer.keysFile === undefined ? '' : keysScript(peer.keysFile, load.keys ?? 'random')}
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

/** The request is made once; only the key in it changes. */
function keysScript(file: string, keys: NonNullable<RequestLoad['keys']>): string {
  const choice = keys === 'random' ? 'math.random(#keys)' : 'turn % #keys + 1'
  return `local keys, turn, head, tail = {}, ${keys === 'random' ? 0 : keys.fromLine}, '', ''
init = function()
  for key in io.lines(${quote(file)}) do keys[#keys + 1] = key end
  math.randomseed(os.time())
  wrk.headers['authorization'] = 'Bearer KEY-PLACE'
  local request = wrk.format()
  local from, to = request:find('KEY-PLACE', 1, true)
  head, tail = request:sub(1, from - 1), request:sub(to + 1)
end
request = function()
  local key = keys[${choice}]
  turn = turn + 1
  return head .. key .. tail
end
`
}

/** A Lua string; neither bodies nor headers hold control characters. */
function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
