/** A trace of requests: when each came, what it asked, how long its answer was. */
import { readFileSync } from 'node:fs'

export interface TracedRequest {
  readonly atMs: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/** Reads `TIMESTAMP,ContextTokens,GeneratedTokens`, in the order of time. Times are UTC, with seven digits after the second. */
export function readTrace(path: string): readonly TracedRequest[] {
  const [, ...lines] = readFileSync(path, 'utf8').trim().split('\n')
  return lines.map((line) => {
    const [time = '', input, output] = line.trim().split(',')
    const request = {
      atMs: Date.parse(`${time.slice(0, 23).replace(' ', 'T')}Z`),
      inputTokens: Number(input),
      outputTokens: Number(output),
    }
    if (Object.values(request).some(Number.isNaN)) throw new Error(`no request: ${line}`)
    return request
  })
}
