/** `npm run kill`: the test of kill-gateway.test.ts for as long as one likes. Ends with 1 on any fault. */
import { readCommandLine, say } from '../chaos/command-line.ts'
import { report, type Fact } from '../chaos/report.ts'
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
const result = await killRounds({
  rounds: line.number('rounds'),
  seed: line.seed,
  ratePerSecond: line.number('rate'),
  requestsMin: line.number('requests'),
  replays: line.number('replays'),
  say,
})
report('kill', line, {
  faults: result.faults,
  facts: [
    ['kills', line.number('rounds')],
    ...[...result.deaths]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([place, count]): Fact => [`… at ${place}`, count]),
    ['requests', result.requests],
    ['completed, as their clients saw', result.completed],
    ['settled by rule after a crash', result.crashed],
    ['left by their clients', result.left],
    ['replays of all journals', line.number('replays')],
    ['events applied again', result.replayedEvents],
  ],
})
