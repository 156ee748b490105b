/** `npm run kill`: the test of kill-gateway.test.ts for as long as one likes. Ends with 1 on any fault. */
import { readCommandLine, say } from '../chaos/command-line.ts'
import { circumstances, record } from '../chaos/record.ts'
import { killRounds } from './kill-gateway.ts'

const line = readCommandLine(
  'npm run kill',
  'Kills one of two gateways at random instants and failpoints under mixed load, applies all journals again, and compares what clients\n' +
    'saw, what the engine emitted and what the ledger holds.',
  [
    { name: 'rounds', means: 'how many kills', value: { placeholder: 'N', usually: '50' } },
    { name: 'rate', means: 'requests a second', value: { placeholder: 'N', usually: '100' } },
    { name: 'requests', means: 'at least so many', value: { placeholder: 'N', usually: '0' } },
    { name: 'replays', means: 'of all journals', value: { placeholder: 'N', usually: '3' } },
  ],
)
const startedMs = performance.now()
const report = await killRounds({
  rounds: line.number('rounds'),
  seed: line.seed,
  ratePerSecond: line.number('rate'),
  requestsMin: line.number('requests'),
  replays: line.number('replays'),
  say,
})
const facts: readonly (readonly [string, string | number])[] = [
  ['kills', line.number('rounds')],
  ...[...report.deaths]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([place, count]) => [`… at ${place}`, count] as const),
  ['requests', report.requests],
  ['completed, as their clients saw', report.completed],
  ['settled by rule after a crash', report.crashed],
  ['left by their clients', report.left],
  ['replays of all journals', line.number('replays')],
  ['events applied again', report.replayedEvents],
  ['unbilled, billed twice, or otherwise wrong', report.faults.length],
  ['minutes', ((performance.now() - startedMs) / 60_000).toFixed(1)],
]
for (const fault of report.faults) say(`FAULT ${fault}`)
for (const [name, value] of facts) say(`${name.padEnd(44)} ${String(value).padStart(8)}`)
if (line.record) {
  const rows = facts.map(([name, value]) => `| ${name} | ${value} |`)
  record('kill', [circumstances(line.seed), '', '| | |', '| --- | ---: |', ...rows].join('\n'))
}
process.exitCode = report.faults.length === 0 ? 0 : 1
