/** `npm run fuzz [-- --cases N --target NAME --from N]`: see README.md. The exit code is 0 only when every case held. */
import { parseArgs } from 'node:util'
import { say } from '../harness/lane.ts'
import { fuzz, targetNames, type TargetName } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    from: { type: 'string', default: '0' },
    target: { type: 'string', multiple: true },
    help: { type: 'boolean', default: false },
  },
})

const names = values.target ?? [...targetNames]
const unknown = names.filter((name) => !isTargetName(name))
const cases = Number(values.cases)
const from = Number(values.from)
if (values.help || unknown.length > 0 || !isCount(cases) || !isCount(from)) {
  say(`npm run fuzz -- [--cases N] [--target ${targetNames.join('|')}]… [--from N]`)
  process.exitCode = values.help ? 0 : 2
} else {
  const results = await fuzz({ names: names.filter(isTargetName), cases, from, say })
  say('\ntarget      cases     failed   slowest case')
  for (const result of results)
    say(
      `${result.name.padEnd(10)}${String(result.cases).padStart(8)}${String(result.failures.length).padStart(9)}   ${result.slowestMs.toFixed(1)} ms`,
    )
  const failed = results.reduce((sum, result) => sum + result.failures.length, 0)
  process.exitCode = failed === 0 ? 0 : 1
}

function isTargetName(name: string): name is TargetName {
  return targetNames.some((known) => known === name)
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
