/** `npm run outage`: PostgreSQL is away for some minutes under load. */
import { readCommandLine, say } from './command-line.ts'
import { outage } from './outage.ts'
import { seededRandom } from './random.ts'
import { report } from './report.ts'

const line = readCommandLine(
  'npm run outage',
  'Stops PostgreSQL for some minutes under steady load with limits on. Ends with 1 when fewer than 99.9 % were served, or totals were not\n' +
    'exact within 60 s of its return.',
  [
    { name: 'minutes', means: 'how long it is away', value: { placeholder: 'M', usually: '10' } },
    { name: 'warm', means: 'seconds of load before', value: { placeholder: 'S', usually: '30' } },
    { name: 'rate', means: 'requests a second', value: { placeholder: 'N', usually: '50' } },
  ],
)
const result = await outage({
  random: seededRandom(line.seed),
  ratePerSecond: line.number('rate'),
  warmMs: line.number('warm') * 1_000,
  awayMs: line.number('minutes') * 60_000,
  leave: (scene) => scene.database.stop(),
  comeBack: (scene) => scene.database.start(),
  say,
})
report('outage', line, {
  faults: [...result.broken, ...result.verdict.faults],
  facts: [
    ['minutes away', line.number('minutes')],
    ['requests a second', line.number('rate')],
    ['requests meanwhile', result.requests],
    ['served', `${result.served} (${(result.servedShare * 100).toFixed(3)} %)`],
    ['seconds until the ledger had everything', (result.catchUpMs / 1_000).toFixed(1)],
    ['completed in all, billed exactly', result.verdict.completed],
  ],
})
