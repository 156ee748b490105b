/** The table of the engine bench. Pure. */

export interface Measurement {
  readonly engine: string
  readonly streams: number
  readonly tokensPerSecond: readonly number[]
  readonly firstTokenMs: readonly number[]
  readonly cpuMsPerToken: readonly number[]
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
    worstFirstTokenMs: Math.max(...found.firstTokenMs),
    cpuMsPerToken: median(found.cpuMsPerToken),
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const high = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? 0)) / 2
}

export function toMarkdown(rows: readonly Row[], conditions: string): string {
  const lines = rows.map(({ streams, ours, theirs }) => {
    const speed = `${ours.tokensPerSecond.toFixed(1)} / ${theirs.tokensPerSecond.toFixed(1)}`
    const cpu = `${ours.cpuMsPerToken.toFixed(2)} / ${theirs.cpuMsPerToken.toFixed(2)}`
    const first = `${ours.firstTokenMs.toFixed(0)} / ${theirs.firstTokenMs.toFixed(0)}`
    const worst = `${ours.worstFirstTokenMs.toFixed(0)} / ${theirs.worstFirstTokenMs.toFixed(0)}`
    return [
      streams,
      speed,
      ratio(ours.tokensPerSecond, theirs.tokensPerSecond),
      cpu,
      ratio(ours.cpuMsPerToken, theirs.cpuMsPerToken),
      first,
      ratio(ours.firstTokenMs, theirs.firstTokenMs),
      worst,
      ratio(ours.worstFirstTokenMs, theirs.worstFirstTokenMs),
    ].join(' | ')
  })
  return [
    '# Embedded engine and llama-server',
    '',
    conditions,
    '',
    'Each cell: ours / llama-server. Aims: tokens/s ≥ 0.85 ×, first token ≤ 1.5 ×.',
    '',
    '| Streams | tokens/s (median of rounds) | ratio | CPU ms a token | ratio | first token, p50 ms | ratio | first token, worst ms | ratio |',
    '| --: | --: | --: | --: | --: | --: | --: | --: | --: |',
    ...lines.map((line) => `| ${line} |`),
    '',
  ].join('\n')
}

function ratio(ours: number, theirs: number): string {
  return (ours / theirs).toFixed(2)
}
