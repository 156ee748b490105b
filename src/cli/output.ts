/** The only writer to standard output: results for people, or JSON for programs; never both. */
import { z } from 'zod'
import { systemClock } from '../platform/clock.ts'
import type { Cli } from './command.ts'

/** A progress line that is no terminal's is written this often. */
const progressEveryMs = 5_000
const barWidth = 24

export type Output = Pick<Cli, 'say' | 'result' | 'table' | 'progress'> & {
  /** One JSON line under `--json`; nothing for people. */
  event(value: Readonly<Record<string, unknown>>): void
  /** A line of a role's log, on standard error: short on a terminal, as it is elsewhere. */
  log(line: string): void
  /** Resolves when everything has left, so that the process may end. */
  flush(): Promise<void>
}

export function createOutput(isJson: boolean): Output {
  // A log that cannot be written ends nothing.
  process.stderr.on('error', () => {})
  let lastProgressMs = -Infinity
  let barShown = false
  const write = (text: string): void => {
    if (barShown) process.stderr.write('\r\u001b[K')
    barShown = false
    process.stdout.write(text)
  }
  return {
    say(line) {
      if (!isJson) write(`${line}\n`)
    },
    event(value) {
      if (isJson) write(`${JSON.stringify(value)}\n`)
    },
    result(value, human) {
      write(isJson ? `${JSON.stringify(value, null, 2)}\n` : `${human()}\n`)
    },
    table: renderTable,
    progress(label, fraction) {
      if (isJson) return
      if (process.stderr.isTTY) {
        const end = fraction === 1 ? '\n' : ''
        process.stderr.write(`\r\u001b[K${label} ${renderBar(fraction)}${end}`)
        barShown = fraction !== 1
        return
      }
      const nowMs = systemClock.monotonicMs()
      if (nowMs - lastProgressMs < progressEveryMs && fraction !== 1) return
      lastProgressMs = nowMs
      process.stderr.write(
        `${label} ${fraction === undefined ? '…' : `${Math.floor(fraction * 100)} %`}\n`,
      )
    },
    log(line) {
      if (barShown) process.stderr.write('\r\u001b[K')
      barShown = false
      process.stderr.write(`${process.stderr.isTTY && !isJson ? shorten(line) : line}\n`)
    },
    flush: () => new Promise((resolve) => process.stdout.write('', () => resolve())),
  }
}

/** `agent: passed over hf:… …` for a line of JSON; other lines stay. */
function shorten(line: string): string {
  const parsed = logLine.safeParse(parseJson(line))
  if (!parsed.success) return line
  const { role, msg, detail, error } = parsed.data
  return clean([role, detail ?? msg, error?.message].filter(Boolean).join(': '))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // A line of another program.
    return undefined
  }
}

const logLine = z.object({
  role: z.string(),
  msg: z.string(),
  detail: z.string().optional().catch(undefined),
  error: z.object({ message: z.string() }).optional().catch(undefined),
})

function renderBar(fraction: number | undefined): string {
  if (fraction === undefined) return '…'
  const filled = Math.round(fraction * barWidth)
  return `[${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}] ${Math.floor(fraction * 100)} %`
}

/** Aligned columns under a header; text that an engine or a user named is stripped of control characters. */
export function renderTable(
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [columns, ...rows].map((row) => row.map(clean))
  const widths = columns.map((_, index) =>
    Math.max(...lines.map((row) => (row[index] ?? '').length)),
  )
  return lines
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A name must not steer the terminal. */
export function clean(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?')
}
