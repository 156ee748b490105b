/**
 * `npm run sim`: runs many seeds, prints what each wrong was and the command that replays its seed, and a summary.
 *
 *   --seeds N      seeds 1 to N (100)
 *   --seed S       this seed alone; with --history, every event of it
 *   --plant BUG    plants a bug, and stops at the first seed that finds it
 *   --record       writes the summary to docs/reliability.md
 */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { circumstances, record } from '../test/chaos/record.ts'
import { runSeed, type SeedResult } from './sim.ts'
import { plants, type Plant } from './world/plant.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    plant: { type: 'string' },
    history: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
})

const plant = parsePlant(values.plant)
const only = values.seed === undefined ? undefined : parseCount('--seed', values.seed)
const first = only ?? parseCount('--first', values.first)
const last = only ?? first + parseCount('--seeds', values.seeds) - 1
const directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-sim-'))
process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true }))

const startedMs = performance.now()
let shownMs = startedMs
const sums = {
  seeds: 0,
  failed: 0,
  virtualMs: 0,
  events: 0,
  requests: 0,
  completed: 0,
  refused: 0,
  tokens: 0,
  deaths: 0,
}

for (let seed = first; seed <= last; seed += 1) {
  const result = await runSeed({
    seed,
    plant,
    directory,
    onLine: values.history ? say : undefined,
  })
  add(result)
  if (result.violations.length > 0) {
    report(seed, result)
    if (plant) break
  }
  if (performance.now() - shownMs > 5_000) {
    shownMs = performance.now()
    say(`  seed ${seed} of ${last}, ${sums.failed} failed, ${speed()} × real time`)
  }
}
summarise()
process.exitCode = plant ? Number(sums.failed === 0) : Number(sums.failed > 0)

function add({ violations, virtualMs, events, counts }: SeedResult): void {
  sums.seeds += 1
  sums.failed += Number(violations.length > 0)
  sums.virtualMs += virtualMs
  sums.events += events
  sums.requests += counts.requests
  sums.completed += counts.completed
  sums.refused += counts.refused
  sums.tokens += counts.tokens
  sums.deaths += counts.deaths
}

function report(seed: number, { violations }: SeedResult): void {
  const planted = plant ? ` --plant ${plant}` : ''
  say(`seed ${seed}: ${violations.length} wrong`)
  for (const violation of violations.slice(0, 10)) say(`  ${violation}`)
  say(`  replay: npm run sim -- --seed ${seed}${planted}`)
}

function summarise(): void {
  const rows: readonly (readonly [string, string])[] = [
    ['seeds', String(sums.seeds)],
    ['failed', String(sums.failed)],
    ['requests', String(sums.requests)],
    ['answered whole', String(sums.completed)],
    ['refused', String(sums.refused)],
    ['tokens served', String(sums.tokens)],
    ['deaths of gateways', String(sums.deaths)],
    ['events', String(sums.events)],
    ['virtual time', `${(sums.virtualMs / 3_600_000).toFixed(1)} h`],
    ['wall time', `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`],
    ['speed', `${speed()} × real time`],
  ]
  for (const [name, value] of rows) say(`${name.padEnd(20)}${value}`)
  if (values.record) {
    const table = rows.map(([name, value]) => `| ${name} | ${value} |`).join('\n')
    record('sim', `${circumstances(first)}\n\n| | |\n| --- | --- |\n${table}`)
  }
}

function speed(): number {
  return Math.round(sums.virtualMs / (performance.now() - startedMs))
}

function parsePlant(text: string | undefined): Plant | undefined {
  if (text === undefined) return undefined
  const found = plants.find((name) => name === text)
  if (!found) throw new Error(`--plant is one of: ${plants.join(', ')}`)
  return found
}

function parseCount(option: string, text: string): number {
  const count = Number(text)
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Error(`${option} takes a whole number of at least 1`)
  return count
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
