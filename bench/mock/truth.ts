/**
 * What the engine really emitted, for each request: one JSON line at its start, every few tokens, and at its end. The last line of an id
 * counts. Lines are written at once, so that they outlive a killed process.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

export interface TruthLine {
  /** The `x-request-id` that came with the request, or else the id of the answer. */
  readonly id: string
  readonly responseId: string
  readonly model: string
  readonly stream: boolean
  readonly inputTokens: number
  readonly outputTokens: number
  /** `finished`: the last byte was handed to the socket. `aborted`: the client left, or the accident of the model happened. */
  readonly state: 'open' | 'finished' | 'aborted'
}

/** A line is due at each multiple of this. */
export const truthEveryTokens = 16

export interface Truth {
  write(line: TruthLine): void
  close(): void
}

export function openTruth(path: string | undefined): Truth {
  if (path === undefined) return { write: () => undefined, close: () => undefined }
  const file = openSync(path, 'a')
  return {
    write: (line) => {
      writeSync(file, `${JSON.stringify(line)}\n`)
    },
    close: () => closeSync(file),
  }
}
