/** `npm run budget`: exactly as many requests are served as their budget is for. */
import { budgetRounds } from './budget.ts'
import { readCommandLine, say } from './command-line.ts'
import { circumstances, record } from './record.ts'

const line = readCommandLine(
  'npm run budget',
  'Many requests at once against a budget for some of them, on two gateways, one of which is killed in some rounds. Ends with 1 when a\n' +
    'budget was overshot, or a request was refused though there was room.',
  [
    {
      name: 'rounds',
      means: 'each with a key of its own',
      value: { placeholder: 'N', usually: '1000' },
    },
    { name: 'concurrency', means: 'requests at once', value: { placeholder: 'N', usually: '200' } },
    { name: 'kills', means: 'rounds with a kill', value: { placeholder: 'N', usually: '10' } },
  ],
)
const startedMs = performance.now()
const report = await budgetRounds({
  rounds: line.number('rounds'),
  concurrency: line.number('concurrency'),
  kills: line.number('kills'),
  seed: line.seed,
  say,
})
const facts: readonly (readonly [string, string | number | bigint])[] = [
  ['rounds', report.rounds],
  ['requests at once', line.number('concurrency')],
  ['rounds in which a gateway was killed', report.kills],
  ['requests', report.requests],
  ['served', report.served],
  ['refused', report.refused],
  ['overshoot in nano-units', report.overshootNanos],
  ['false refusals', report.falseRefusals],
  ['faults', report.faults.length],
  ['minutes', ((performance.now() - startedMs) / 60_000).toFixed(1)],
]
for (const fault of report.faults) say(`FAULT ${fault}`)
for (const [name, value] of facts) say(`${name.padEnd(40)} ${String(value).padStart(10)}`)
if (line.record) {
  const rows = facts.map(([name, value]) => `| ${name} | ${value} |`)
  record('budget', [circumstances(line.seed), '', '| | |', '| --- | ---: |', ...rows].join('\n'))
}
process.exitCode = report.faults.length === 0 ? 0 : 1
