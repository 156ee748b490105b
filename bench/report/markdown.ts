/** The report as Markdown: a summary that the README includes, and all tables. Pure. */
import type { Metric } from '../scenarios.ts'
import { medianOf, scenarioOf, type Report, type ScenarioResult, type Spread } from './report.ts'

interface Column {
  readonly title: string
  readonly metric: Metric
  readonly digits: number
  /** Scales the measured number to the unit of the title. */
  readonly factor?: number
  /** Losses are told as the worst round, everything else as the median. */
  readonly worst?: true
}

const mebibyte = 1024 * 1024
const requestColumns: readonly Column[] = [
  { title: 'CPU µs per request', metric: 'cpuMicros', digits: 1 },
  { title: 'requests/s', metric: 'perSecond', digits: 0 },
  { title: 'p50 ms', metric: 'p50Ms', digits: 2 },
  { title: 'p95 ms', metric: 'p95Ms', digits: 2 },
  { title: 'p99 ms', metric: 'p99Ms', digits: 2 },
  { title: 'core %', metric: 'cpuShare', digits: 0, factor: 100 },
  { title: 'memory MiB', metric: 'heldBytes', digits: 0, factor: 1 / mebibyte },
  { title: 'failed', metric: 'failures', digits: 0, worst: true },
]
const streamColumns: readonly Column[] = [
  { title: 'CPU µs per event', metric: 'cpuMicros', digits: 1 },
  { title: 'events/s', metric: 'perSecond', digits: 0 },
  { title: 'first event p50 ms', metric: 'p50Ms', digits: 1 },
  { title: 'first event p99 ms', metric: 'p99Ms', digits: 1 },
  { title: 'gap p50 ms', metric: 'gapP50Ms', digits: 1 },
  { title: 'gap p99 ms', metric: 'gapP99Ms', digits: 1 },
  { title: 'core %', metric: 'cpuShare', digits: 0, factor: 100 },
  { title: 'memory MiB', metric: 'heldBytes', digits: 0, factor: 1 / mebibyte },
  { title: 'held at once', metric: 'held', digits: 0 },
  { title: 'lost streams', metric: 'lost', digits: 0, worst: true },
]
const absent = '–'
/** Soft interrupts alone make a few per cent. */
const foreignShareMax = 0.1

export function renderReport(report: Report): string {
  const { machine } = report
  return [
    '# Bench',
    '',
    `Made on ${report.date} by \`${report.command}\`: ${report.rounds} interleaved ${report.rounds === 1 ? 'round' : 'rounds'}, medians; ± is half of the spread.`,
    '',
    `Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB.toFixed(0)} GiB, ${machine.system}, Node ${machine.node}.`,
    `Measured: ${report.peers.map(({ name, version }) => `${name} ${version}`.trim()).join(', ')}.`,
    ...report.missing.map(({ name, reason }) => `Not measured: ${name} (${reason}).`),
    `The mock engine received ${report.mock.requests} requests, of which ${report.mock.violations} broke a rule of the protocol${report.mock.violations === 0 ? '' : ` (${JSON.stringify(report.mock.reasons)})`}.`,
    '',
    '![CPU per request and per event, as multiples of nginx](latest.svg)',
    '',
    '## In short',
    '',
    renderSummary(report),
    ...report.scenarios.flatMap((scenario) => ['', ...renderScenario(scenario, report)]),
    '',
    '## How to read it',
    '',
    ...notes(report).map((note) => `- ${note}`),
    '',
  ].join('\n')
}

/** What limits cost: the same platform with and without them. */
export function renderLimits(report: Report, on: string, off: string): string {
  const { machine } = report
  const [scenario] = report.scenarios
  const share = (metric: Metric): string => {
    const limited = medianOf(scenario, on, metric)
    const free = medianOf(scenario, off, metric)
    return limited === undefined || !free ? absent : number(limited / free, 3)
  }
  return [
    '# What limits cost',
    '',
    `Made on ${report.date} by \`${report.command}\`: ${report.rounds} interleaved ${report.rounds === 1 ? 'round' : 'rounds'}, medians; ± is half of the spread.`,
    `Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB.toFixed(0)} GiB, ${machine.system}, Node ${machine.node}.`,
    '',
    'Two platforms with 10,000 tenants and 100,000 keys each; a request takes one of the keys at random. With limits on, each tenant is on a plan with requests per minute, output tokens per hour and an amount per month, and each of its keys has an amount per month: four counters for a request. Each key has been used once before the first round.',
    '',
    `**Throughput with limits on: ${share('perSecond')} of that with limits off. CPU per request: ${share('cpuMicros')}.**`,
    '',
    ...(scenario ? renderScenario(scenario, report) : []),
    '',
    ...disturbance(report).map((note) => `- ${note}`),
    '',
  ].join('\n')
}

/** One row a proxy. The README includes it. */
export function renderSummary(report: Report): string {
  const proxies = report.peers.filter((_, at) => at > 0)
  const many = report.scenarios.findLast(({ unit }) => unit === 'event')
  const rows = proxies.map(({ name, idleBytes }) => {
    const held = medianOf(many, name, 'heldBytes')
    const idle = (idleBytes / mebibyte).toFixed(0)
    return [
      name,
      cpu(report, 'requests', name),
      added(report, name),
      cpu(report, 'streams-20', name),
      cpu(report, 'streams-200', name),
      cpu(report, 'streams-1000', name),
      kept(scenarioOf(report, 'streams-1000'), name),
      held === undefined ? idle : `${idle} → ${(held / mebibyte).toFixed(0)}`,
    ]
  })
  const titles = [
    '',
    'CPU per request',
    'added p50, 1 connection',
    'CPU per event, 20 streams',
    '200 streams',
    '1,000 streams',
    'of 1,000 streams: held at once, lost',
    'memory MiB, idle → 1,000 streams',
  ]
  return table(titles, rows)
}

/** In µs, and as a multiple of the first proxy's. */
function cpu(report: Report, id: string, name: string): string {
  const scenario = scenarioOf(report, id)
  const value = medianOf(scenario, name, 'cpuMicros')
  if (value === undefined) return absent
  const floorName = report.peers[1]?.name ?? ''
  const floor = medianOf(scenario, floorName, 'cpuMicros')
  const ratio = floor === undefined || name === floorName ? '' : ` (${times(value / floor)})`
  return `${number(value, value < 100 ? 1 : 0)} µs${ratio}`
}

function times(ratio: number): string {
  return `${number(ratio, ratio < 10 ? 2 : 0)} ×`
}

function added(report: Report, name: string): string {
  const scenario = scenarioOf(report, 'latency')
  const own = medianOf(scenario, name, 'p50Ms')
  const floor = medianOf(scenario, report.peers[0]?.name ?? '', 'p50Ms')
  if (own === undefined || floor === undefined) return absent
  return `${number((own - floor) * 1_000, 0)} µs`
}

function kept(scenario: ScenarioResult | undefined, name: string): string {
  const { held, lost } = scenario?.peers[name] ?? {}
  return held && lost ? `${number(held.median, 0)}, ${number(lost.max, 0)}` : absent
}

function renderScenario(scenario: ScenarioResult, report: Report): string[] {
  const columns = scenario.unit === 'request' ? requestColumns : streamColumns
  const rows = report.peers.flatMap(({ name }) => {
    const measured = scenario.peers[name]
    if (!measured) return []
    return [[name, ...columns.map((column) => cell(measured[column.metric], column))]]
  })
  const others = report.peers.flatMap(({ name }) => {
    const value = medianOf(scenario, name, 'otherCpuMicros') ?? 0
    if (value < 0.05) return []
    return [
      '',
      `${name}'s processes beside the proxy (database, control plane) used ${number(value, 1)} µs per ${scenario.unit} on the other core.`,
    ]
  })
  const titles = ['', ...columns.map(({ title }) => title)]
  return [`## ${scenario.title}`, '', table(titles, rows), ...others]
}

function cell(spread: Spread | undefined, column: Column): string {
  if (!spread) return absent
  const factor = column.factor ?? 1
  if (column.worst) return number(spread.max * factor, column.digits)
  const value = number(spread.median * factor, column.digits)
  if (column.metric !== 'cpuMicros' || spread.max === spread.min) return value
  return `${value} ± ${number((spread.max - spread.min) / 2, column.digits)}`
}

function notes(report: Report): string[] {
  const floor = report.peers[1]?.name ?? ''
  const floorShare = medianOf(scenarioOf(report, 'requests'), floor, 'cpuShare') ?? 0
  const unsaturated =
    floorShare < 0.9
      ? [
          `${floor} used ${number(floorShare * 100, 0)} % of its core: the mock engine and the load share the other core and are its limit. Its requests/s and latencies are theirs; its CPU per request is its own.`,
        ]
      : []
  return [
    'Absolute figures move with the machine and its neighbours; ratios within one run hold.',
    'One core for the proxy; the mock engine and the load run on the other. CPU is user and system time of the proxy from /proc, threads and children included.',
    'Only Colonnade checks keys, holds and bills money, keeps a durable journal and parses every event. nginx forwards bytes; Portkey runs without keys, limits or budgets; LiteLLM with one master key, one worker and no database.',
    ...unsaturated,
    ...disturbance(report),
    'A stream is lost when it does not end with [DONE]. The first event is measured from the opening of the connection.',
  ]
}

/** Tells when other programs used the proxy's core so much that the figures suffer. */
function disturbance(report: Report): string[] {
  const shares = report.scenarios.flatMap(({ peers }) =>
    Object.values(peers).map((measured) => measured.foreignShare?.median ?? 0),
  )
  const worst = Math.max(0, ...shares)
  if (worst < foreignShareMax) return []
  return [
    `Other programs used up to ${number(worst * 100, 0)} % of the proxy's core in this run: measure again on a quiet machine.`,
  ]
}

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const rule = titles.map((_, at) => (at === 0 ? '---' : '--:'))
  return [line(titles), line(rule), ...rows.map(line)].join('\n')
}

function number(value: number, digits: number): string {
  return value.toLocaleString('en', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}
