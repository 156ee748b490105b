/** The table of the engine bench. Pure. */

export interface Measurement {
  readonly engine: string
  readonly streams: number
  readonly tokensPerSecond: readonly number[]
  readonly firstTokenMs: readonly number[]
  readonly cpuMsPerToken: readonly number[]
  readonly firstTokenCpuMs: readonly number[]
}

export interface Row {
  readonly streams: number
  readonly ours: Summary
  readonly theirs: Summary
}

interface Summary {
  readonly tokensPerSecond: number
  readonly firstTokenMs: number
  readonly worstFirstTokenMs: number
  readonly cpuMsPerToken: number
  readonly firstTokenCpuMs: number
  readonly worstFirstTokenCpuMs: number
}

export function toRows(
  measurements: readonly Measurement[],
  ours: string,
  theirs: string,
): readonly Row[] {
  const streams = [...new Set(measurements.map((each) => each.streams))]
  return streams.map((count) => ({
    streams: count,
    ours: summarise(measurements, ours, count),
    theirs: summarise(measurements, theirs, count),
  }))
}

function summarise(measurements: readonly Measurement[], engine: string, streams: number): Summary {
  const found = measurements.find((each) => each.engine === engine && each.streams === streams)
  if (!found) throw new Error(`no measurement of ${engine} at ${streams}`)
  return {
    tokensPerSecond: median(found.tokensPerSecond),
    firstTokenMs: median(found.firstTokenMs),
    worstFirstTokenMs: medianWorst(found.firstTokenMs, streams),
    cpuMsPerToken: median(found.cpuMsPerToken),
    firstTokenCpuMs: median(found.firstTokenCpuMs),
    worstFirstTokenCpuMs: medianWorst(found.firstTokenCpuMs, streams),
  }
}

/** The slowest of each round, and of those the middle one: one disturbed round says nothing about an engine. */
function medianWorst(values: readonly number[], streams: number): number {
  const rounds = Array.from({ length: values.length / streams }, (_, round) =>
    Math.max(...values.slice(round * streams, (round + 1) * streams)),
  )
  return median(rounds)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const high = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? 0)) / 2
}

interface Column {
  readonly title: string
  readonly valueOf: (summary: Summary) => number
  readonly digits: number
}

const columns: readonly Column[] = [
  { title: 'tokens/s', valueOf: (each) => each.tokensPerSecond, digits: 1 },
  { title: 'first token p50, ms', valueOf: (each) => each.firstTokenMs, digits: 0 },
  { title: 'first token worst, ms', valueOf: (each) => each.worstFirstTokenMs, digits: 0 },
  { title: 'CPU ms a token', valueOf: (each) => each.cpuMsPerToken, digits: 2 },
  { title: 'CPU ms to first token, p50', valueOf: (each) => each.firstTokenCpuMs, digits: 0 },
  {
    title: 'CPU ms to first token, worst',
    valueOf: (each) => each.worstFirstTokenCpuMs,
    digits: 0,
  },
]

export function toMarkdown(rows: readonly Row[], conditions: string): string {
  const lines = rows.map(({ streams, ours, theirs }) =>
    [String(streams), ...columns.map((column) => cell(column, ours, theirs))].join(' | '),
  )
  return [
    '# Embedded engine and llama-server',
    '',
    conditions,
    '',
    'Each cell: ours / llama-server (ratio), medians of the rounds. Aims: tokens/s at least 0.85 times, first token at most 1.5 times llama-server. The columns of CPU time',
    'tell what the engines themselves did where other programs kept the machine busy.',
    '',
    `| Streams | ${columns.map((column) => column.title).join(' | ')} |`,
    `| --: |${columns.map(() => ' --: |').join('')}`,
    ...lines.map((line) => `| ${line} |`),
    '',
  ].join('\n')
}

function cell({ valueOf, digits }: Column, ours: Summary, theirs: Summary): string {
  const [own, other] = [valueOf(ours), valueOf(theirs)]
  return `${own.toFixed(digits)} / ${other.toFixed(digits)} (${(own / other).toFixed(2)})`
}
