/** `colonnade serve`: everything on this machine, from nothing to an answer, and back down in order. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readConfig, type Config } from '../app/config.ts'
import { startPlatform, type PlatformEvent, type RunningPlatform } from '../app/platform.ts'
import { CliError, type Cli, type CliCommand } from './command.ts'
import type { GlobalOptions } from './cli.ts'
import { renderBanner } from './banner.ts'

interface ServeOptions {
  readonly host?: string
  readonly port?: string
  readonly controlPort?: string
  readonly gateways?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly insecure?: boolean
  readonly defaultModels?: boolean
  readonly logLevel?: string
}

type ServeCli = Cli & {
  event(value: Readonly<Record<string, unknown>>): void
  readonly isJson: boolean
}

export const serveCommand: CliCommand = {
  register(program, cli) {
    program
      .command('serve')
      .description('start everything on this machine')
      .option('--host <address>', 'where the API listens (default 127.0.0.1)')
      .option('--port <port>', 'port of the API (default 8080)')
      .option('--control-port <port>', 'port of the control API (default 8081)')
      .option('--gateways <n>', 'gateway processes that share the port (default 1)')
      .option('--tls-cert <file>', 'certificate chain; needed for addresses other than loopback')
      .option('--tls-key <file>', 'its private key')
      .option('--insecure', 'allow other addresses without TLS, behind a proxy that does it')
      .option('--no-default-models', 'do not deploy the two default models on the first start')
      .option(
        '--log-level <level>',
        'trace, debug, info, warn, error, fatal or silent (default warn)',
      )
      .action((options: ServeOptions) =>
        serve(program.opts<GlobalOptions>(), options, cli as ServeCli),
      )
  },
}

async function serve(globals: GlobalOptions, options: ServeOptions, cli: ServeCli): Promise<void> {
  const config = readConfig(toOverrides(globals, options))
  await checkPorts(config)
  const say = (event: PlatformEvent): void => tellEvent(event, cli)
  const platform = await startPlatform(config, say)
  const ended = endOnSignal(platform, cli)
  const model = await Promise.race([platform.waitForModels(), ended.then(() => undefined)])
  if (platform.isEnding()) {
    await ended
    return
  }
  writeEndpoints(config, platform)
  cli.event({
    event: 'ready',
    apiUrl: platform.apiUrl,
    controlUrl: platform.controlUrl,
    ...platform.firstSecrets,
  })
  cli.say(renderBanner({ ...platform, model }))
  await ended
}

function toOverrides(globals: GlobalOptions, options: ServeOptions): Record<string, unknown> {
  const tls =
    options.tlsCert || options.tlsKey
      ? { certPath: options.tlsCert, keyPath: options.tlsKey }
      : undefined
  return {
    dataDirectory: globals.data,
    configFile: globals.config,
    logLevel: options.logLevel,
    insecure: options.insecure,
    tls,
    defaultModels: options.defaultModels === false ? false : undefined,
    gateway: { host: options.host, port: options.port, count: options.gateways },
    control: { host: options.host, port: options.controlPort },
  }
}

/** Better told before anything was started. */
async function checkPorts(config: Config): Promise<void> {
  const wanted = [
    { ...config.gateway, what: 'the API', flag: '--port' },
    { ...config.control, what: 'the control API', flag: '--control-port' },
  ]
  for (const { host, port, what, flag } of wanted) {
    const problem = await tryPort(host, port)
    if (problem === undefined) continue
    const reason = problem === 'EADDRINUSE' ? `is taken` : `cannot be used (${problem})`
    throw new CliError(
      `Port ${port} for ${what} ${reason}. Choose another with ${flag}, for example ${flag} ${port + 10}.`,
    )
  }
}

function tryPort(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

function tellEvent(event: PlatformEvent, cli: ServeCli): void {
  cli.event({ ...event })
  switch (event.event) {
    case 'starting':
      return cli.say(`Starting ${event.what} …`)
    case 'pulling':
      return cli.progress(`Pulling ${event.model}`, event.fraction)
    case 'note':
      return cli.say(event.text)
    case 'role-stopped':
      return cli.say(
        `${event.role} stopped (${event.reason}); restarting in ${event.restartInMs / 1_000} s`,
      )
    case 'role-restarted':
      return cli.say(`${event.role} is back`)
    case 'stopping':
      return cli.say('Stopping: streams under way may end. Press Ctrl-C again to stop at once.')
    case 'stopped':
      return cli.say('Stopped.')
  }
}

/** The first signal drains, the second one ends. */
function endOnSignal(platform: RunningPlatform, cli: ServeCli): Promise<void> {
  return new Promise<void>((resolve) => {
    let asked = false
    const onSignal = (): void => {
      if (asked) {
        void platform.kill().then(() => process.exit(1))
        return
      }
      asked = true
      platform.stop().then(resolve, (error: unknown) => {
        cli.say(`Not stopped cleanly: ${error instanceof Error ? error.message : 'unknown'}`)
        process.exitCode = 1
        resolve()
      })
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    process.on('SIGHUP', onSignal)
  }).then(async () => {
    // Lets the last line leave before the process does.
    await sleep(10)
    process.exit(Number(process.exitCode ?? 0))
  })
}

/** For commands on this machine. */
function writeEndpoints(config: Config, platform: RunningPlatform): void {
  const directory = join(config.dataDirectory, 'run')
  mkdirSync(directory, { recursive: true })
  const { apiUrl, controlUrl } = platform
  writeFileSync(
    join(directory, 'endpoints.json'),
    JSON.stringify({ apiUrl, controlUrl, pid: process.pid, roles: platform.pids() }),
  )
}
