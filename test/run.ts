/**
 * Everything that `npm test` runs, lane by lane: `npm test -- unit e2e` runs some, `npm run check` the quick ones. The last line is
 * `N passed, N failed`; the exit code is 0 only when something passed and nothing failed.
 */
import { programLane, say, vitestLane, type Count, type Lane } from './harness/lane.ts'

const sources = ['src', 'test', 'bench', 'sim', 'bin']

const lanes: readonly Lane[] = [
  programLane('format', 'oxfmt', ['--check', ...sources]),
  programLane('lint', 'oxlint', ['--type-aware', '--quiet', ...sources]),
  programLane('types', 'tsc', ['-p', '.']),
  programLane('unused', 'knip', ['--no-progress']),
  vitestLane('unit', []),
  vitestLane('integration', []),
  vitestLane('e2e', []),
]
const checkLanes = ['format', 'lint', 'types', 'unit']

interface Result extends Count {
  readonly lane: string
  readonly seconds: number
}

async function main(names: readonly string[]): Promise<void> {
  const wanted = names.flatMap((name) => (name === 'check' ? checkLanes : [name]))
  const unknown = wanted.filter((name) => !lanes.some((lane) => lane.name === name))
  if (unknown.length > 0) {
    say(
      `Unknown lane: ${unknown.join(', ')}. There are: ${lanes.map((lane) => lane.name).join(', ')}.`,
    )
    process.exitCode = 2
    return
  }
  let interrupted = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The lane under way hears it too, ends, and is counted as it ended.
    process.on(signal, () => {
      interrupted = true
    })
  }

  const results: Result[] = []
  for (const lane of lanes) {
    if (wanted.length > 0 && !wanted.includes(lane.name)) continue
    say(`\n=== ${lane.name}`)
    results.push(await runLane(lane))
    if (interrupted) break
  }
  await stopDatabase()
  summarise(results, interrupted)
}

/** Imported late, so that code which does not load fails its lanes, and not this report. */
async function stopDatabase(): Promise<void> {
  try {
    const { stopPostgresForTests } = await import('./postgres-for-tests.ts')
    await stopPostgresForTests()
  } catch (error) {
    say(`The test database was not stopped: ${error instanceof Error ? error.message : 'unknown'}`)
  }
}

async function runLane(lane: Lane): Promise<Result> {
  const startedMs = performance.now()
  const count = await lane.run().catch((error: unknown): Count => {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return { passed: 0, failed: 1, skipped: 0 }
  })
  const seconds = (performance.now() - startedMs) / 1000
  say(`=== ${lane.name}: ${count.failed === 0 ? 'ok' : 'FAILED'} in ${seconds.toFixed(1)} s`)
  return { lane: lane.name, seconds, ...count }
}

function summarise(results: readonly Result[], interrupted: boolean): void {
  say(`\n${row('lane', 'passed', 'failed', 'skipped', 'seconds')}`)
  for (const result of results) {
    say(
      row(
        result.lane,
        String(result.passed),
        String(result.failed),
        String(result.skipped),
        result.seconds.toFixed(1),
      ),
    )
  }
  const passed = results.reduce((sum, result) => sum + result.passed, 0)
  const failed = results.reduce((sum, result) => sum + result.failed, 0)
  process.exitCode = passed > 0 && failed === 0 && !interrupted ? 0 : 1
  say(`${passed} passed, ${failed} failed`)
}

function row(lane: string, ...numbers: readonly string[]): string {
  return `  ${lane.padEnd(14)}${numbers.map((number) => number.padStart(9)).join('')}`
}

await main(process.argv.slice(2))
