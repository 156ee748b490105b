/** The only writer to standard output: results for people, or JSON for programs; never both. */
import type { Cli } from './command.ts'

/** A progress line that is no terminal's is written this often. */
const progressEveryMs = 5_000
const barWidth = 24

export type Output = Pick<Cli, 'say' | 'result' | 'table' | 'progress'> & {
  /** One JSON line under `--json`; nothing for people. */
  event(value: Readonly<Record<string, unknown>>): void
  readonly isJson: boolean
}

export function createOutput(isJson: boolean): Output {
  let lastProgressMs = -Infinity
  return {
    isJson,
    say(line) {
      if (!isJson) process.stdout.write(`${line}\n`)
    },
    event(value) {
      if (isJson) process.stdout.write(`${JSON.stringify(value)}\n`)
    },
    result(value, human) {
      process.stdout.write(isJson ? `${JSON.stringify(value, null, 2)}\n` : `${human()}\n`)
    },
    table: renderTable,
    progress(label, fraction) {
      if (isJson) return
      if (process.stderr.isTTY) {
        process.stderr.write(`\r\x1b[K${label} ${renderBar(fraction)}${fraction === 1 ? '\n' : ''}`)
        return
      }
      const nowMs = performance.now()
      if (nowMs - lastProgressMs < progressEveryMs && fraction !== 1) return
      lastProgressMs = nowMs
      process.stderr.write(
        `${label} ${fraction === undefined ? '…' : `${Math.floor(fraction * 100)} %`}\n`,
      )
    },
  }
}

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

function clean(text: string): string {
  // A name must not steer the terminal.
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
