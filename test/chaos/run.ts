/** `npm run chaos`: the faults of the catalogue against real processes, one after the other, and a table of verdicts. */
import { readCommandLine, say } from './command-line.ts'
import { faults } from './faults.ts'
import type { Fault, Finding } from './fault.ts'
import { seededRandom } from './random.ts'
import { circumstances, record } from './record.ts'

interface Result {
  readonly fault: Fault
  readonly finding: Finding
  readonly seconds: number
}

async function main(): Promise<void> {
  const line = readCommandLine(
    'npm run chaos',
    'Does to two gateways, an engine and a real PostgreSQL what the catalogue of faults says, and compares what clients saw, what the\n' +
      'engine emitted and what the ledger holds. Ends with 1 when a promise was broken.',
    [
      { name: 'only', means: 'some faults: f1,f7', value: { placeholder: 'IDS' } },
      {
        name: 'minutes',
        means: 'all of them again and again, for so long',
        value: { placeholder: 'M', usually: '0' },
      },
    ],
  )
  const wanted = chosen(line.text('only'))
  const deadlineMs = performance.now() + line.number('minutes') * 60_000
  const results: Result[] = []
  for (let round = 0; round === 0 || performance.now() < deadlineMs; round += 1) {
    for (const fault of wanted) {
      results.push(await runFault(fault, seededRandom(line.seed + round * 1_000)))
    }
  }
  summarise(results)
  if (line.record) {
    record(
      'chaos',
      (before) => `${circumstances(line.seed)}\n\n${table(results, before, line.seed)}`,
    )
  }
}

function chosen(only: string | undefined): readonly Fault[] {
  const ids = only?.toLowerCase().split(',')
  const unknown = ids?.filter((id) => !faults.some((fault) => fault.id === id)) ?? []
  if (unknown.length > 0) {
    say(`Unknown: ${unknown.join(', ')}. There are: ${faults.map(({ id }) => id).join(', ')}.`)
    process.exit(2)
  }
  return ids ? faults.filter((fault) => ids.includes(fault.id)) : faults
}

async function runFault(fault: Fault, random: () => number): Promise<Result> {
  say(`\n${fault.id.toUpperCase()} ${fault.title}\n  ${fault.injection}`)
  const startedMs = performance.now()
  const finding = await fault
    .run({ random, say: (text) => say(`  ${text}`) })
    .catch((error: unknown): Finding => ({ facts: '', broken: [describe(error)] }))
  const seconds = (performance.now() - startedMs) / 1_000
  say(`  ${verdictOf(finding)}: ${finding.notRun ?? finding.facts} (${seconds.toFixed(0)} s)`)
  for (const sentence of finding.broken) say(`  FAULT ${sentence}`)
  return { fault, finding, seconds }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${error.message}${cause}`
}

function verdictOf(finding: Finding): string {
  if (finding.notRun !== undefined) return 'not run'
  return finding.broken.length === 0 ? 'held' : 'BROKEN'
}

function summarise(results: readonly Result[]): void {
  say('')
  for (const { fault, finding, seconds } of results) {
    const verdict = verdictOf(finding).padEnd(8)
    say(
      `${fault.id.toUpperCase().padEnd(4)} ${verdict} ${seconds.toFixed(0).padStart(4)} s  ${fault.title}`,
    )
  }
  const broken = results.filter(({ finding }) => finding.broken.length > 0).length
  const notRun = results.filter(({ finding }) => finding.notRun !== undefined).length
  say(`\n${results.length - broken - notRun} held, ${broken} broken, ${notRun} not run`)
  process.exitCode = broken === 0 ? 0 : 1
}

/** Faults that were not asked for now keep the row that they have. */
function table(results: readonly Result[], before: string, seed: number): string {
  const day = new Date().toISOString().slice(0, 10)
  const rows = faults.flatMap((fault) => {
    const cell = fault.id.toUpperCase()
    const result = results.findLast((each) => each.fault === fault)
    if (!result) return before.split('\n').filter((row) => row.startsWith(`| ${cell} |`))
    const { finding, seconds } = result
    const verdict = verdictOf(finding)
    const cells = [
      cell,
      fault.title,
      fault.injection,
      fault.expectation,
      finding.notRun ?? finding.facts,
      finding.broken.length === 0 ? verdict : `**${verdict}**`,
      `${day}, seed ${seed}, ${seconds.toFixed(0)} s`,
    ]
    return [`| ${cells.join(' | ')} |`]
  })
  return [
    '| | Fault | Injected | Expected | Counted | Verdict | When |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n')
}

await main()
