/**
 * The embedded engine beside llama-server: the same file, the same threads, one core for the engine and another one for the client,
 * rounds that alternate. Writes bench/results/engine.md and engine.json.
 *
 *   npm run bench:engine -- [--weights FILE] [--rounds 5] [--tokens 128]
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { weightsForTests } from '../../test/weights-for-tests.ts'
import { llamaServer } from './llama-server.ts'
import { runBurst } from './load.ts'
import { toMarkdown, toRows, type Measurement } from './report.ts'

const streamCounts = [1, 4, 8]
const parallel = 8
const windowTokens = 2_048
const readyMsMax = 120_000
const pollMs = 100
/** Linux counts processor time in hundredths of a second. */
const msPerTick = 10

interface Engine {
  readonly name: string
  readonly port: number
  readonly process: ChildProcess
}

const { values } = parseArgs({
  options: {
    weights: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '128' },
  },
})
const weights = values.weights ?? (await weightsForTests('chat'))
const rounds = Number(values.rounds)
const answerTokens = Number(values.tokens)
const results = join(import.meta.dirname, '..', 'results')
const mainPath = join(import.meta.dirname, '../../src/engines/embedded/main.ts')

if (availableParallelism() < 2) throw new Error('this bench needs two cores')
const program = llamaServer()
const engines = [await startOurs(weights), await startTheirs(program, weights)]
spawnSync('taskset', ['-apc', '1', String(process.pid)])
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
process.once('exit', () => engines.forEach((engine) => engine.process.kill()))
await measure(engines)
for (const engine of engines) engine.process.kill()

async function measure(all: readonly Engine[]): Promise<void> {
  const measurements = all.flatMap((engine) =>
    streamCounts.map((streams) => ({
      engine: engine.name,
      streams,
      tokensPerSecond: [] as number[],
      firstTokenMs: [] as number[],
      cpuMsPerToken: [] as number[],
      firstTokenCpuMs: [] as number[],
    })),
  )
  for (const engine of all) {
    await runBurst({ ...targetOf(engine), streams: parallel, answerTokens: 8, salt: 'warm-up' })
  }
  let promptTokens = 0
  for (let round = 0; round < rounds; round += 1) {
    for (const streams of streamCounts) {
      for (const engine of round % 2 === 0 ? all : all.toReversed()) {
        const salt = `${round}-${streams}`
        const burst = await runBurst({ ...targetOf(engine), streams, answerTokens, salt })
        const into = measurements.find(
          (each) => each.engine === engine.name && each.streams === streams,
        )
        into?.tokensPerSecond.push(burst.tokensPerSecond)
        into?.firstTokenMs.push(...burst.firstTokenMs)
        into?.cpuMsPerToken.push(burst.cpuMsPerToken)
        into?.firstTokenCpuMs.push(...burst.firstTokenCpuMs)
        promptTokens = burst.promptTokens
        const worst = Math.max(...burst.firstTokenMs).toFixed(0)
        const speed = burst.tokensPerSecond.toFixed(1)
        process.stderr.write(
          `round ${round + 1}, ${streams} × ${engine.name}: ${speed} tokens/s, ${burst.cpuMsPerToken.toFixed(2)} ms of CPU a token, worst first token ${worst} ms\n`,
        )
      }
    }
  }
  write(measurements, promptTokens)
}

function write(measurements: readonly Measurement[], promptTokens: number): void {
  const rows = toRows(measurements, 'colonnade', 'llama-server')
  const processor = cpus()[0]?.model ?? 'unknown processor'
  const conditions =
    `${rounds} alternating rounds, ${answerTokens} tokens each, prompts of ${promptTokens} tokens, one thread, ` +
    `both engines on one core of a ${processor}, the client on another.`
  const markdown = toMarkdown(rows, conditions)
  mkdirSync(results, { recursive: true })
  writeFileSync(join(results, 'engine.md'), markdown)
  writeFileSync(
    join(results, 'engine.json'),
    `${JSON.stringify({ conditions, rows, measurements }, null, 2)}\n`,
  )
  process.stdout.write(markdown)
}

function targetOf(engine: Engine) {
  return { port: engine.port, engineCpuMs: () => cpuMs(engine) }
}

/** What the process spent so far. On a machine with other work this tells more than a stopwatch. */
function cpuMs(engine: Engine): number {
  const fields = readFileSync(`/proc/${engine.process.pid}/stat`, 'utf8').split(') ')[1]?.split(' ')
  const ticks = Number(fields?.[11]) + Number(fields?.[12])
  return ticks * msPerTick
}

async function startOurs(path: string): Promise<Engine> {
  const flags = `--threads 1 --parallel ${parallel} --context ${windowTokens} --model-id bench`
  return start('colonnade', (port) =>
    [process.execPath, mainPath, '--weights', path].concat(`${flags} --port ${port}`.split(' ')),
  )
}

async function startTheirs(file: string, path: string): Promise<Engine> {
  const flags = `-t 1 -tb 1 -np ${parallel} -c ${parallel * windowTokens} --jinja --host 127.0.0.1`
  return start('llama-server', (port) =>
    [file, '-m', path].concat(`${flags} --port ${port}`.split(' ')),
  )
}

async function start(
  name: string,
  commandOf: (port: number) => readonly string[],
): Promise<Engine> {
  const port = await freePort()
  const child = spawn('taskset', ['-c', '0', ...commandOf(port)], { stdio: 'ignore' })
  const deadlineMs = performance.now() + readyMsMax
  while (!(await isHealthy(port))) {
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      child.kill()
      throw new Error(`${name} does not start`)
    }
    await pause(pollMs)
  }
  return { name, port, process: child }
}

function isHealthy(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path: '/health', timeout: pollMs * 10 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    }).on('error', () => resolve(false))
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
