/** The end of a long proof: its counts on standard output, in docs/reliability.md when that was asked for, and in the exit code. */
import { say, type CommandLine } from './command-line.ts'
import { circumstances, record } from './record.ts'

export type Fact = readonly [name: string, value: string | number | bigint]

export function report(
  section: string,
  line: CommandLine,
  { facts, faults }: { readonly facts: readonly Fact[]; readonly faults: readonly string[] },
): void {
  const minutes = (performance.now() / 60_000).toFixed(1)
  const all: readonly Fact[] = [...facts, ['faults', faults.length], ['minutes', minutes]]
  for (const fault of faults) say(`FAULT ${fault}`)
  for (const [name, value] of all) say(`${name.padEnd(42)} ${String(value).padStart(18)}`)
  if (line.record) {
    const rows = all.map(([name, value]) => `| ${name} | ${value} |`)
    record(section, [circumstances(line.seed), '', '| | |', '| --- | ---: |', ...rows].join('\n'))
  }
  process.exitCode = faults.length === 0 ? 0 : 1
}
