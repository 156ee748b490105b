/** The table of the replay, and its place in a document. Pure. */
import type { ReplayResult } from './replay-trace.ts'

/** The first result is what the others are compared with. */
export function renderTable(results: readonly ReplayResult[]): string {
  const base = results[0]?.admitted ?? 1
  const rows = results.map((result) => [
    result.policy,
    count(result.admitted),
    `${(result.admitted / base).toFixed(2)} ×`,
    count(result.tokensServed),
    percent(result.utilisation),
    percent(result.overdraft),
    `${result.busiestMinute.toFixed(2)} ×`,
    `${count(result.cut)} (${count(result.tokensCut)})`,
    `${(result.longestWaitMs / 1_000).toFixed(1)} s`,
  ])
  const head = [
    'Policy',
    'Admitted',
    'beside the first',
    'Tokens served',
    'Utilisation',
    'Overdraft',
    'Busiest 60 s',
    'Streams cut (tokens)',
    'Longest wait',
  ]
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const ruler = head.map((_, index) => (index === 0 ? '---' : '--:'))
  return [line(head), line(ruler), ...rows.map(line)].join('\n')
}

/** Replaces what stands between the two markers of that name. */
export function placeBetween(document: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [from, to] = [document.indexOf(start), document.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`the document has no place for ${name}`)
  return `${document.slice(0, from + start.length)}\n${text}\n${document.slice(to)}`
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}

function percent(part: number): string {
  return `${(part * 100).toFixed(2)} %`
}
