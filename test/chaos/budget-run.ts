/** `npm run budget`: exactly as many requests are served as their budget is for. */
import { budgetRounds } from './budget.ts'
import { readCommandLine, say } from './command-line.ts'
import { report } from './report.ts'

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
const result = await budgetRounds({
  rounds: line.number('rounds'),
  concurrency: line.number('concurrency'),
  kills: line.number('kills'),
  seed: line.seed,
  say,
})
report('budget', line, {
  faults: result.faults,
  facts: [
    ['rounds', result.rounds],
    ['requests at once', line.number('concurrency')],
    ['rounds in which a gateway was killed', result.kills],
    ['requests', result.requests],
    ['served', result.served],
    ['refused', result.refused],
    ['overshoot in nano-units', result.overshootNanos],
    ['false refusals', result.falseRefusals],
  ],
})
