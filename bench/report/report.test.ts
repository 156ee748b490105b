import { expect, test } from 'vitest'
import { renderChart } from './chart.ts'
import { renderReport, renderSummary } from './markdown.ts'
import { spreadOf, type Report } from './report.ts'

const one = (value: number): { median: number; min: number; max: number } => ({
  median: value,
  min: value,
  max: value,
})
const report: Report = {
  date: '2026-01-01',
  command: 'npm run bench',
  machine: { cpu: 'a CPU', cores: 2, memoryGiB: 8, system: 'Linux', node: '26' },
  rounds: 3,
  peers: [
    { name: 'no proxy', version: '', idleBytes: 0 },
    { name: 'nginx', version: '1', idleBytes: 10 * 1024 ** 2 },
    { name: 'Colonnade', version: '', idleBytes: 100 * 1024 ** 2 },
  ],
  scenarios: [
    {
      id: 'requests',
      title: 'Requests',
      unit: 'request',
      peers: {
        nginx: { cpuMicros: one(12), cpuShare: one(1), foreignShare: one(0.3) },
        Colonnade: { cpuMicros: { median: 36, min: 35, max: 39 } },
      },
    },
    {
      id: 'latency',
      title: 'Latency',
      unit: 'request',
      peers: { 'no proxy': { p50Ms: one(0.1) }, Colonnade: { p50Ms: one(0.35) } },
    },
    {
      id: 'streams-1000',
      title: 'Streams',
      unit: 'event',
      peers: {
        nginx: { cpuMicros: one(8), lost: one(0), heldBytes: one(20 * 1024 ** 2) },
        Colonnade: {
          cpuMicros: one(12),
          held: one(990),
          lost: { median: 0, min: 0, max: 7 },
          heldBytes: one(150 * 1024 ** 2),
        },
      },
    },
  ],
  mock: { requests: 1, violations: 0, reasons: {} },
  missing: [{ name: 'LiteLLM', reason: 'python3 is missing' }],
}

test('the summary has multiples of nginx, added latency, the worst loss, and memory', () => {
  expect(renderSummary(report).split('\n').at(-1)).toBe(
    '| Colonnade | 36.0 µs (3.00 ×) | 250 µs | – | – | 12.0 µs (1.50 ×) | 990, 7 | 100 → 150 |',
  )
})

test('the report names what was not measured and a disturbed machine', () => {
  const text = renderReport(report)
  expect(text).toContain('Not measured: LiteLLM (python3 is missing).')
  expect(text).toContain('Other programs used up to 30 % of the proxy')
  expect(text).toContain('| Colonnade | 36.0 ± 2.0 |')
})

test('the chart has a bar for each proxy that was measured', () => {
  const svg = renderChart(report)
  expect(svg.match(/<rect [^>]*rx=/g)).toHaveLength(4)
  expect(svg).toContain('3 × · 36 µs')
})

test('a spread is the median, the least and the most', () => {
  expect(spreadOf([{ p50Ms: 3 }, { p50Ms: 1 }, { p50Ms: 2 }])).toEqual({
    p50Ms: { median: 2, min: 1, max: 3 },
  })
})
