/**
 * How many requests of a public trace a limit of tokens per minute lets in, under three ways to hold it: `npm run replay`.
 *
 *   --limit N      tokens per minute (50,000)
 *   --requests N   only the first so many of the trace; nothing is written then
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { leases } from './lease-policy.ts'
import { countAfterwards, reserveMaximum } from './policy.ts'
import { replayTrace, type ReplayResult } from './replay-trace.ts'
import { placeBetween, renderTable } from './report.ts'
import { readTrace } from './trace.ts'

const { values: flags } = parseArgs({
  options: {
    limit: { type: 'string', default: '50000' },
    requests: { type: 'string' },
  },
})
const options = { limitTokens: Number(flags.limit), outputTokensMax: 4_096, msPerToken: 30 }
const trace = readTrace(pathOf('traces/azure-2023-conversation.csv')).slice(
  0,
  flags.requests === undefined ? undefined : Number(flags.requests),
)
const policies: readonly Parameters<typeof replayTrace>[1][] = [
  reserveMaximum,
  countAfterwards,
  (world) => leases(world, 1),
  (world) => leases(world, 3),
]

const results: ReplayResult[] = []
for (const policy of policies) {
  const startedMs = performance.now()
  const result = await replayTrace(trace, policy, options)
  results.push(result)
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
  process.stderr.write(`${result.policy}: ${result.admitted} admitted, replayed in ${seconds} s\n`)
}
const table = renderTable(results)
process.stdout.write(`${table}\n`)
if (flags.requests === undefined && options.limitTokens === 50_000) {
  writeFileSync(pathOf('results.json'), `${JSON.stringify({ options, results }, null, 2)}\n`)
  const readme = pathOf('README.md')
  writeFileSync(readme, placeBetween(readFileSync(readme, 'utf8'), 'results', table))
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}
