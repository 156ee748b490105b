/** `colonnade doctor`: looks at everything that must work, and says what to do about what does not. */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { readConfig } from '../app/config.ts'
import type { Cli, CliCommand } from './command.ts'
import type { GlobalOptions } from './cli.ts'
import { readLocalEndpoints } from './control-client.ts'

interface Finding {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

const freeBytesMin = 2 * 1024 ** 3
const timeoutMs = 3_000

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
  const endpoints = await readLocalEndpoints(config.dataDirectory)
  const findings = [
    {
      name: 'Node',
      ok: Number(process.versions.node.split('.')[0]) >= 26,
      detail: process.version,
    },
    checkData(config.dataDirectory),
    checkSpace(config.dataDirectory),
    await checkUrl('API', endpoints && `${endpoints.apiUrl}/ready`),
    await checkUrl('control API', endpoints && `${endpoints.controlUrl}/ready`),
    await checkEngines(cli),
  ]
  if (findings.some((finding) => !finding.ok)) process.exitCode = 1
  cli.result(findings, () =>
    findings
      .map((finding) => `${finding.ok ? '✓' : '✗'} ${finding.name}: ${finding.detail}`)
      .join('\n'),
  )
}

function checkData(directory: string): Finding {
  const name = 'data folder'
  if (!existsSync(directory))
    return {
      name,
      ok: false,
      detail: `${directory} does not exist yet; 'colonnade serve' makes it`,
    }
  try {
    accessSync(directory, constants.R_OK | constants.W_OK)
    return { name, ok: true, detail: directory }
  } catch {
    return {
      name,
      ok: false,
      detail: `${directory} is not writable for this user; choose another with --data`,
    }
  }
}

function checkSpace(directory: string): Finding {
  const stats = statfsSync(existsSync(directory) ? directory : '/')
  const freeBytes = stats.bavail * stats.bsize
  const detail = `${(freeBytes / 1024 ** 3).toFixed(1)} GiB free`
  const ok = freeBytes >= freeBytesMin
  return {
    name: 'disk',
    ok,
    detail: ok ? detail : `${detail}; models and the journal need more, free some space`,
  }
}

async function checkUrl(name: string, url: string | undefined): Promise<Finding> {
  if (url === undefined) return { name, ok: false, detail: "not started; run 'colonnade serve'" }
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
    if (response.ok) return { name, ok: true, detail: `${url} answers` }
    return {
      name,
      ok: false,
      detail: `${url} answers ${response.status}; look at the output of 'colonnade serve'`,
    }
  } catch {
    return { name, ok: false, detail: `${url} does not answer; is 'colonnade serve' running?` }
  }
}

async function checkEngines(cli: Cli): Promise<Finding> {
  const name = 'engines'
  try {
    const client = await cli.control()
    const answer = await client.call('GET', '/api/v1/engines')
    const data =
      typeof answer === 'object' &&
      answer !== null &&
      'data' in answer &&
      Array.isArray(answer.data)
        ? answer.data
        : []
    const ready = data.filter((engine: { state?: unknown }) => engine.state === 'ready').length
    const advice =
      "; see 'colonnade engine list', 'colonnade model pull' and 'colonnade engine add'"
    return {
      name,
      ok: ready > 0,
      detail: `${ready} of ${data.length} ready${ready > 0 ? '' : advice}`,
    }
  } catch (error) {
    return { name, ok: false, detail: error instanceof Error ? error.message : 'cannot be listed' }
  }
}
