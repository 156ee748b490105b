/**
 * Colonnade beside nginx, Portkey and LiteLLM on one machine and one mock engine: `npm run bench`.
 *
 *   --rounds N      interleaved rounds (3)
 *   --quick         one short round
 *   --only a,b      these proxies; nginx is always measured too
 *   --only limits   Colonnade alone, with 10,000 tenants and 100,000 keys: limits on beside limits off
 *   --scenario a,b  these scenarios
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, homedir, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createInterface } from 'node:readline'
import type { MockEngineStats } from './mock-engine.ts'
import { limitPeers, limitsOff, limitsOn } from './peers/limits.ts'
import { peers as allPeers } from './peers/list.ts'
import { freePortPair } from './peers/ports.ts'
import type { Peer, RunningPeer } from './peers/peer.ts'
import {
  exists,
  installPackage,
  residentBytes,
  startPinned,
  stopAll,
  type Pinned,
} from './process.ts'
import { renderChart } from './report/chart.ts'
import { renderLimits, renderReport, renderSummary } from './report/markdown.ts'
import { spreadOf, type Report, type ScenarioResult } from './report/report.ts'
import type { Cores } from './process.ts'
import {
  limitScenarios,
  scenarios,
  tokensPerSecond,
  useEachKey,
  warmUp,
  type Durations,
  type Metrics,
  type Scenario,
} from './scenarios.ts'

const cores: Cores = { proxy: 0, load: 1 }
const resultsDirectory = join(import.meta.dirname, 'results')
const full: Durations = { warmUpS: 1, requestsS: 6, streamsS: 6 }
const quick: Durations = { warmUpS: 1, requestsS: 2, streamsS: 3 }
/** Before the first round, for each proxy: compilers need thousands of requests to settle. */
const firstWarmUpS = { full: 20, quick: 5 }
/** Longer than any stream of a scenario. */
const streamTokensMax = 100_000

const interruptedExitCode = 130

interface Started {
  readonly peer: Peer
  readonly running: RunningPeer
  readonly idleBytes: number
}

interface Bench {
  readonly started: readonly Started[]
  readonly missing: Report['missing'][number][]
  readonly scenarios: readonly Scenario[]
  readonly rounds: number
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      scenario: { type: 'string' },
    },
  })
  await checkMachine()
  const durations = values.quick ? quick : full
  const ofLimits = values.only === 'limits'
  const wantedPeers = ofLimits
    ? limitPeers
    : choose(allPeers, values.only, (peer) => peer.name, ['no proxy', 'nginx'])
  const all = ofLimits ? limitScenarios(durations) : scenarios(durations)
  const wantedScenarios = choose(all, values.scenario, (scenario) => scenario.id, [])
  const workDirectory = mkdtempSync(join(tmpdir(), 'colonnade-bench-'))
  const mock = startMock()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void stopAll().then(() => {
        rmSync(workDirectory, { recursive: true, force: true })
        process.exit(interruptedExitCode)
      })
    })
  }
  const started: Started[] = []
  const missing: Report['missing'][number][] = []
  try {
    const mockUrl = await readUrl(mock)
    for (const peer of wantedPeers) {
      await startPeer(peer, { mockUrl, workDirectory }).then(
        (running) => started.push(running),
        (error: unknown) => missing.push(complain(peer, error)),
      )
    }
    const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
    const warmUpS = values.quick ? firstWarmUpS.quick : firstWarmUpS.full
    for (const { peer, running } of started) {
      say(`${peer.name}: warming up`)
      await warmUp(running, warmUpS, { cores, workDirectory })
      if (running.keysFile !== undefined)
        await useEachKey(running, running.keysFile, { cores, workDirectory })
    }
    const bench: Bench = { started, missing, scenarios: wantedScenarios, rounds }
    const results = await measure(bench, workDirectory)
    const result = report(bench, results, await statsOf(mockUrl))
    if (ofLimits) saveLimits(result)
    else save(result)
  } finally {
    await stopAll()
    rmSync(workDirectory, { recursive: true, force: true })
  }
}

async function checkMachine(): Promise<void> {
  // Debian keeps nginx where the paths of normal users do not look.
  process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`
  if (process.platform !== 'linux' || cpus().length < 2) {
    throw new Error('The bench needs Linux and two cores: one for the proxy, one for the load.')
  }
  if (!(await exists('taskset'))) throw new Error('taskset is missing (package util-linux).')
  await installPackage('wrk', 'wrk')
}

function choose<Item>(
  items: readonly Item[],
  wish: string | undefined,
  nameOf: (item: Item) => string,
  always: readonly string[],
): readonly Item[] {
  if (wish === undefined) return items
  const names = wish.split(',').map((name) => name.trim().toLowerCase())
  const known = items.map((item) => nameOf(item).toLowerCase())
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new Error(`There is no "${unknown}". There are: ${known.join(', ')}.`)
  }
  return items.filter(
    (item) => names.includes(nameOf(item).toLowerCase()) || always.includes(nameOf(item)),
  )
}

function startMock(): Pinned {
  const pace = ['--tokens', String(streamTokensMax), '--token-rate', String(tokensPerSecond)]
  const file = join(import.meta.dirname, 'mock-engine.ts')
  return startPinned([process.execPath, file, '--expect-usage', ...pace], { core: cores.load })
}

async function readUrl(mock: Pinned): Promise<string> {
  const { stdout } = mock.child
  if (!stdout) throw new Error('started without a pipe')
  for await (const line of createInterface({ input: stdout })) {
    // Printed by our own program.
    return (JSON.parse(line) as { url: string }).url
  }
  throw new Error(`the mock engine did not start: ${mock.output()}`)
}

async function startPeer(
  peer: Peer,
  at: { readonly mockUrl: string; readonly workDirectory: string },
): Promise<Started> {
  say(`${peer.name}: installing what is missing`)
  const cacheDirectory = process.env['COLONNADE_CACHE'] ?? join(homedir(), '.cache/colonnade/bench')
  mkdirSync(cacheDirectory, { recursive: true })
  await peer.install(cacheDirectory)
  say(`${peer.name}: starting`)
  const running = await peer.start({
    mockUrl: at.mockUrl,
    port: await freePortPair(),
    cores,
    cacheDirectory,
    workDirectory: mkdtempSync(join(at.workDirectory, 'peer-')),
  })
  return { peer, running, idleBytes: residentBytes(running.pids()) }
}

function complain(peer: Peer, error: unknown): Report['missing'][number] {
  const reason = error instanceof Error ? error.message : String(error)
  say(`${peer.name} cannot be measured: ${reason}`)
  return { name: peer.name, reason: reason.split('\n')[0] ?? '' }
}

/** Round by round, and within each scenario proxy by proxy, so that a slow minute of the machine meets all of them. */
async function measure(bench: Bench, workDirectory: string): Promise<ScenarioResult[]> {
  const results = bench.scenarios.map((scenario) => ({
    scenario,
    rounds: new Map<string, Metrics[]>(),
  }))
  for (let round = 1; round <= bench.rounds; round += 1) {
    for (const { scenario, rounds } of results) {
      for (const { peer, running } of bench.started) {
        if (!scenario.suits(peer)) continue
        const { metrics, complaints } = await scenario.measure(running, { cores, workDirectory })
        rounds.set(peer.name, [...(rounds.get(peer.name) ?? []), metrics])
        say(`round ${round}, ${scenario.id}, ${peer.name}: ${shortly(metrics)}`)
        for (const complaint of complaints) say(`  ${JSON.stringify(complaint)}`)
      }
    }
  }
  return results.map(({ scenario: { id, title, unit }, rounds }) => {
    const spreads = [...rounds].map(([name, metrics]) => [name, spreadOf(metrics)])
    return { id, title, unit, peers: Object.fromEntries(spreads) }
  })
}

function shortly(metrics: Metrics): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${value.toLocaleString('en', { maximumFractionDigits: 2 })}`)
    .join(', ')
}

async function statsOf(mockUrl: string): Promise<MockEngineStats> {
  const response = await fetch(`${mockUrl}/__stats`)
  // Our own mock engine.
  return (await response.json()) as MockEngineStats
}

function report(bench: Bench, results: readonly ScenarioResult[], mock: MockEngineStats): Report {
  const { requests, violations, reasons } = mock
  return {
    date: new Date().toISOString().slice(0, 10),
    command: ['npm run bench', ...process.argv.slice(2)]
      .join(' ')
      .replace('bench --', 'bench -- --'),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGiB: totalmem() / 1024 ** 3,
      system: `Linux ${release()}`,
      node: process.versions.node,
    },
    rounds: bench.rounds,
    peers: bench.started.map(({ peer, running, idleBytes }) => ({
      name: peer.name,
      version: running.version,
      idleBytes,
    })),
    scenarios: results,
    mock: { requests, violations, reasons },
    missing: bench.missing,
  }
}

function save(result: Report): void {
  writeResults({
    'latest.md': renderReport(result),
    'latest.json': `${JSON.stringify(result, undefined, 2)}\n`,
    'latest.svg': renderChart(result),
    'summary.md': `${renderSummary(result)}\n`,
  })
  say(`\n${renderSummary(result)}\n\nWritten to bench/results/.`)
}

function saveLimits(result: Report): void {
  const text = renderLimits(result, limitsOn, limitsOff)
  writeResults({ 'limits.md': text, 'limits.json': `${JSON.stringify(result, undefined, 2)}\n` })
  say(`\n${text}\nWritten to bench/results/.`)
}

function writeResults(files: Readonly<Record<string, string>>): void {
  mkdirSync(resultsDirectory, { recursive: true })
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(resultsDirectory, name), text)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

await main()
