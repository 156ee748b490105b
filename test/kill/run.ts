/** `npm run kill -- --rounds 50 [--seed N]`: the test of kill-gateway.test.ts for as long as one likes. Exit code 1 on any fault. */
import { parseArgs } from 'node:util'
import { killRounds } from './kill-gateway.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '50' }, seed: { type: 'string' } },
})
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

say(`seed ${seed}; replay with: npm run kill -- --rounds ${values.rounds} --seed ${seed}`)
const verdict = await killRounds({ rounds: Number(values.rounds), seed, say })
for (const fault of verdict.faults) say(`FAULT ${fault}`)
say(
  `${verdict.requests} requests, ${verdict.completed} completed, ${verdict.crashed} crashed; ${verdict.faults.length} faults`,
)
process.exitCode = verdict.faults.length === 0 ? 0 : 1
