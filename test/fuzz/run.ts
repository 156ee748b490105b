/** `npm run fuzz [-- --cases N --target NAME --from N --record]`: see README.md. The exit code is 0 only when every case held. */
import { parseArgs } from 'node:util'
import { circumstances, record } from '../chaos/record.ts'
import { say } from '../harness/lane.ts'
import { fuzz, targetNames, type TargetName } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    from: { type: 'string', default: '0' },
    target: { type: 'string', multiple: true },
    record: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const names = values.target ?? [...targetNames]
const unknown = names.filter((name) => !isTargetName(name))
const cases = Number(values.cases)
const from = Number(values.from)
if (values.help || unknown.length > 0 || !isCount(cases) || !isCount(from)) {
  say(`npm run fuzz -- [--cases N] [--target ${targetNames.join('|')}]… [--from N] [--record]`)
  process.exitCode = values.help ? 0 : 2
} else {
  const results = await fuzz({ names: names.filter(isTargetName), cases, from, say })
  const rows = results.map(({ name, cases: done, failures, slowestMs }) => [
    name,
    done.toLocaleString('en-US'),
    String(failures.length),
    `${slowestMs.toFixed(1)} ms`,
  ])
  const table = [['target', 'cases', 'failed', 'slowest case'], ...rows]
  say(`\n${table.map((row) => row.map((cell) => cell.padEnd(14)).join('')).join('\n')}`)
  if (values.record) {
    const [head = [], ...body] = table.map((row) => `| ${row.join(' | ')} |`)
    const lines = [head, '| --- | --: | --: | --: |', ...body]
    record('fuzz', `${circumstances(from)}\n\n${lines.join('\n')}`)
  }
  const failed = results.reduce((sum, result) => sum + result.failures.length, 0)
  process.exitCode = failed === 0 ? 0 : 1
}

function isTargetName(name: string): name is TargetName {
  return targetNames.some((known) => known === name)
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
