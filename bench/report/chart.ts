/** The report as a picture: CPU per request and per event, as multiples of nginx's, on a logarithmic scale. Pure. */
import { medianOf, scenarioOf, type Report } from './report.ts'

interface Bar {
  readonly label: string
  readonly micros: number
  readonly ratio: number
  readonly ours: boolean
}

interface Panel {
  readonly title: string
  readonly bars: readonly Bar[]
}

const width = 720
const labelWidth = 110
const valueWidth = 150
const rowHeight = 30
const barHeight = 18
const titleHeight = 44
const ours = '#2f6fde'
const theirs = '#b9c0cc'
const grid = '#e6e8ec'
const ink = '#2b2f36'
const faint = '#7a808a'

const charts = [
  { id: 'requests', title: 'CPU per request' },
  { id: 'streams-200', title: 'CPU per streamed event, 200 streams' },
  { id: 'streams-1000', title: 'CPU per streamed event, 1,000 streams' },
]

export function renderChart(report: Report): string {
  const panels = charts.flatMap(({ id, title }) => {
    const bars = barsOf(report, id)
    return bars.length === 0 ? [] : [{ title, bars }]
  })
  const ratioMax = Math.max(2, ...panels.flatMap(({ bars }) => bars.map(({ ratio }) => ratio)))
  let top = 16
  const parts = panels.map((panel) => {
    const part = renderPanel(panel, top, ratioMax)
    top += titleHeight + panel.bars.length * rowHeight
    return part
  })
  const footer = `<text x="16" y="${top + 22}" fill="${faint}" font-size="12">× nginx, logarithmic; less is better. One core for the proxy, same mock engine, ${report.rounds} interleaved rounds.</text>`
  const height = top + 38
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="14" role="img" aria-label="CPU per request and per event, as multiples of nginx">
<rect width="${width}" height="${height}" fill="#ffffff"/>
${parts.join('\n')}
${footer}
</svg>
`
}

function barsOf(report: Report, id: string): Bar[] {
  const scenario = scenarioOf(report, id)
  const floor = medianOf(scenario, report.peers[1]?.name ?? '', 'cpuMicros')
  if (floor === undefined) return []
  return report.peers.flatMap(({ name }) => {
    const micros = medianOf(scenario, name, 'cpuMicros')
    if (micros === undefined || micros === 0) return []
    return [{ label: name, micros, ratio: micros / floor, ours: name === 'Colonnade' }]
  })
}

function renderPanel(panel: Panel, top: number, ratioMax: number): string {
  const left = 16 + labelWidth
  const space = width - left - valueWidth
  const scaleMin = 0.5
  const lengthOf = (ratio: number): number =>
    Math.max(2, (Math.log(ratio / scaleMin) / Math.log(ratioMax / scaleMin)) * space)
  const bottom = top + titleHeight + panel.bars.length * rowHeight
  const lines = [1, 10, 100]
    .filter((ratio) => ratio <= ratioMax)
    .map((ratio) => {
      const x = (left + lengthOf(ratio)).toFixed(1)
      return `<line x1="${x}" x2="${x}" y1="${top + titleHeight - 8}" y2="${bottom - 6}" stroke="${grid}"/>`
    })
  const rows = panel.bars.map((bar, at) => {
    const y = top + titleHeight + at * rowHeight
    const length = lengthOf(bar.ratio)
    const weight = bar.ours ? ' font-weight="600"' : ''
    const text = `${format(bar.ratio)} × · ${format(bar.micros)} µs`
    return [
      `<text x="${left - 10}" y="${y + 13}" text-anchor="end" fill="${ink}"${weight}>${bar.label}</text>`,
      `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="3" fill="${bar.ours ? ours : theirs}"/>`,
      `<text x="${(left + length + 8).toFixed(1)}" y="${y + 13}" fill="${ink}"${weight}>${text}</text>`,
    ].join('\n')
  })
  const title = `<text x="16" y="${top + 20}" fill="${ink}" font-size="15" font-weight="600">${panel.title}</text>`
  return [title, ...lines, ...rows].join('\n')
}

function format(value: number): string {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}
