/** `colonnade doctor`: looks at everything that must work, and says what to do about what does not. */
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { readConfig, type Config } from '../app/config.ts'
import { readEndpoints, type Endpoints } from '../app/leftovers.ts'
import type { Cli, CliCommand } from './command.ts'
import type { GlobalOptions } from './global-options.ts'

interface Finding {
  readonly name: string
  readonly ok: boolean
  /** What was found; when it is not right, what to do. */
  readonly detail: string
}

/** Two default models and a journal. */
const freeBytesMin = 2 * 1024 ** 3
const timeoutMs = 3_000
/** A healthy journal empties within seconds. */
const lagRecordsMax = 1_000
const start = "run 'colonnade serve'"

export const doctorCommand: CliCommand = {
  register(program, cli) {
    program
      .command('doctor')
      .description('check this installation, and say what to do')
      .action(() => examine(cli, program.opts<GlobalOptions>()))
  },
}

async function examine(cli: Cli, globals: GlobalOptions): Promise<void> {
  const config = readConfig({ dataDirectory: globals.data, configFile: globals.config })
  const endpoints = readEndpoints(config.dataDirectory)
  const findings = [
    checkNode(),
    checkData(config.dataDirectory),
    checkSpace(config.dataDirectory),
    await checkDatabase(config),
    await checkUrl('control', endpoints && `${endpoints.controlUrl}/ready`),
    await checkUrl('gateway', endpoints && endpoints.apiUrl.replace(/v1$/, 'ready')),
    ...(await checkJournals(endpoints)),
    await checkModels(cli),
  ]
  if (findings.some(({ ok }) => !ok)) process.exitCode = 1
  cli.result(findings, () => findings.map(render).join('\n'))
}

function render({ name, ok, detail }: Finding): string {
  return `${ok ? '✓' : '✗'} ${name.padEnd(11)}  ${detail}`
}

function checkNode(): Finding {
  const path = join(import.meta.dirname, '../../package.json')
  const { optionalDependencies: pinned } = z
    .object({ optionalDependencies: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(path, 'utf8')))
  const wanted = Object.entries(pinned).find(([name]) => name.startsWith('node-'))?.[1] ?? ''
  const found = process.versions.node
  const ok = found === wanted
  return {
    name: 'Node',
    ok,
    detail: ok ? found : `${found} instead of ${wanted}; start with bin/colonnade.mjs`,
  }
}

function checkData(directory: string): Finding {
  const name = 'data folder'
  if (!existsSync(directory))
    return { name, ok: false, detail: `${directory} does not exist yet; ${start}` }
  try {
    accessSync(directory, constants.R_OK | constants.W_OK)
    return { name, ok: true, detail: directory }
  } catch {
    const detail = `${directory} is not writable for this user; choose another with --data`
    return { name, ok: false, detail }
  }
}

function checkSpace(directory: string): Finding {
  let place = directory
  while (!existsSync(place)) place = dirname(place)
  const { bavail, bsize } = statfsSync(place)
  const freeBytes = bavail * bsize
  const ok = freeBytes >= freeBytesMin
  const found = `${(freeBytes / 1024 ** 3).toFixed(1)} GiB free`
  return {
    name: 'disk',
    ok,
    detail: ok ? found : `${found}; models and the journal need more, make room`,
  }
}

async function checkDatabase(config: Config): Promise<Finding> {
  const name = 'database'
  try {
    const { checkDatabase: check } = await import('../app/database-check.ts')
    const { version, missing } = await check(config)
    if (missing.length === 0) return { name, ok: true, detail: `PostgreSQL ${version}, migrated` }
    const detail = `not migrated: ${missing.join(', ')}; restart 'colonnade serve'`
    return { name, ok: false, detail }
  } catch {
    const what = config.database.url === undefined ? 'the embedded one' : 'the one of DATABASE_URL'
    return { name, ok: false, detail: `${what} does not answer; ${start}` }
  }
}

async function checkUrl(name: string, url: string | undefined): Promise<Finding> {
  if (url === undefined) return { name, ok: false, detail: `not started; ${start}` }
  const answer = await get(url)
  if (answer?.ok) return { name, ok: true, detail: url }
  const found = answer ? `answers ${answer.status}` : 'does not answer'
  return { name, ok: false, detail: `${url} ${found}; see the output of 'colonnade serve'` }
}

async function checkJournals(endpoints: Endpoints | undefined): Promise<readonly Finding[]> {
  const roles = Object.entries(endpoints?.roles ?? {})
  const findings = roles.map(async ([role, { metricsUrl }]): Promise<Finding | undefined> => {
    if (metricsUrl === undefined) return undefined
    const text = await (await get(metricsUrl))?.text()
    const lag = /^colonnade_journal_lag_records (\d+)/m.exec(text ?? '')?.[1]
    const name = `journal ${role.split(' ')[1] ?? ''}`.trim()
    if (lag === undefined) return { name, ok: false, detail: `${metricsUrl} does not answer` }
    const ok = Number(lag) <= lagRecordsMax
    const advice = ok ? '' : '; is the database away or slow?'
    return { name, ok, detail: `${lag} records wait for the ledger${advice}` }
  })
  return (await Promise.all(findings)).filter((finding) => finding !== undefined)
}

const replicas = z.object({
  data: z.array(
    z.object({ modelId: z.string(), state: z.string(), detail: z.string().nullable() }),
  ),
})

async function checkModels(cli: Cli): Promise<Finding> {
  const name = 'models'
  try {
    const control = await cli.control()
    const { data } = replicas.parse(await control.call('GET', '/api/v1/engines?limit=500'))
    const ready = data.filter(({ state }) => state === 'ready')
    const failed = data.find(({ state }) => state === 'failed')
    if (failed)
      return { name, ok: false, detail: `${failed.modelId}: ${failed.detail ?? 'failed'}` }
    if (ready.length > 0)
      return { name, ok: true, detail: ready.map(({ modelId }) => modelId).join(', ') }
    const detail =
      'none answers; give one: colonnade model add ./file.gguf, or: colonnade engine add http://host:port'
    return { name, ok: false, detail }
  } catch (error) {
    return { name, ok: false, detail: error instanceof Error ? error.message : 'unknown' }
  }
}

async function get(url: string): Promise<Response | undefined> {
  try {
    return await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
  } catch {
    return undefined
  }
}
