/** `colonnade serve`: everything on this machine, from nothing to an answer, and back down in order. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig, type Config } from '../app/config.ts'
import type { PlatformEvent } from '../app/platform.ts'
import { systemClock } from '../platform/clock.ts'
import { renderBanner } from './banner.ts'
import type { GlobalOptions } from './global-options.ts'
import type { CliCommand } from './command.ts'
import { createOutput, type Output } from './output.ts'

interface ServeOptions {
  readonly host?: string
  readonly port?: string
  readonly controlHost?: string
  readonly controlPort?: string
  readonly gateways?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly insecure?: boolean
  readonly defaultModels?: boolean
  readonly logLevel?: string
}

/** One Ctrl-C may arrive twice, from the terminal and through npm; a person's second one comes later. */
const sameSignalMs = 1_000

export const serveCommand: CliCommand = {
  register(program) {
    program
      .command('serve')
      .description('start everything on this machine')
      .option('--port <port>', 'port of the API (default 8080)')
      .option('--control-port <port>', 'port of the control API (default 8081)')
      .option('--gateways <n>', 'gateway processes that share the port (default 1)')
      .option('--host <address>', 'where the API listens (default 127.0.0.1)')
      .option('--control-host <address>', 'where the control API listens (default 127.0.0.1)')
      .option('--tls-cert <file>', 'certificate chain; needed for addresses other than loopback')
      .option('--tls-key <file>', 'its private key')
      .option('--insecure', 'allow other addresses without TLS, behind a proxy that does it')
      .option('--no-default-models', 'do not deploy the two default models on the first start')
      .option(
        '--log-level <level>',
        'trace, debug, info, warn, error, fatal or silent (default warn)',
      )
      .action((options: ServeOptions) => serve(program.opts<GlobalOptions>(), options))
  },
}

async function serve(globals: GlobalOptions, options: ServeOptions): Promise<void> {
  const config = readConfig(toOverrides(globals, options))
  const output = createOutput(globals.json ?? false)
  const ending = new AbortController()
  const asked = new Promise<void>((resolve) =>
    ending.signal.addEventListener('abort', () => resolve()),
  )
  let hurry = (): void => process.exit(1)
  onEndSignals(
    () => ending.abort(),
    () => hurry(),
  )

  // The largest part of the program; other commands do without it.
  const { startPlatform } = await import('../app/platform.ts')
  const platform = await startPlatform(config, createTeller(output), (line) => output.log(line))
  hurry = () => void platform.stop()
  // An offer at most: a look that fails is no offer.
  const looking = platform.findLocalEngines(ending.signal).catch(() => [])
  const model = await platform.waitForModel(ending.signal)
  if (!ending.signal.aborted) {
    const firstSecrets = await platform.makeFirstSecrets()
    const { apiUrl, controlUrl } = platform
    const { dataDirectory } = config
    const localEngines = await looking
    output.event({
      event: 'ready',
      apiUrl,
      controlUrl,
      model: model ?? null,
      localEngines,
      ...firstSecrets,
    })
    const program = programName(config)
    const facts = { apiUrl, controlUrl, dataDirectory, program, firstSecrets, model, localEngines }
    output.say(renderBanner(facts))
  }
  await asked
  await platform.stop()
  await output.flush()
  process.exit(0)
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
    // Commander says true when the flag is absent; the environment and the file have their say then.
    defaultModels: options.defaultModels === false ? false : undefined,
    gateway: { host: options.host, port: options.port, count: options.gateways },
    control: { host: options.controlHost, port: options.controlPort },
  }
}

/** The first signal asks, a later one insists. When the launcher was killed, its channel closes: the same as a signal. */
function onEndSignals(ask: () => void, insist: () => void): void {
  let askedMs: number | undefined
  const onSignal = (): void => {
    const nowMs = systemClock.monotonicMs()
    if (askedMs === undefined) {
      askedMs = nowMs
      ask()
    } else if (nowMs - askedMs >= sameSignalMs) insist()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  process.once('disconnect', onSignal)
}

/** Tells the platform's events, as lines for people or for programs. */
function createTeller(output: Output): (event: PlatformEvent) => void {
  let pulled: number | undefined
  return (event) => {
    if (event.event === 'model') {
      const { model, state, fraction, detail } = event
      if (state === 'pulling') output.event({ event: 'pulling', model, fraction: fraction ?? null })
      else output.event({ ...event })
      if (state === 'pulling') output.progress(`Pulling ${model}`, fraction)
      else if (state !== 'failed' && pulled !== undefined && pulled < 1) {
        output.progress(`Pulling ${model}`, 1)
      }
      pulled = state === 'pulling' ? (fraction ?? 0) : undefined
      if (state === 'starting') output.say(`Starting ${model} …`)
      if (state === 'failed') output.say(`${model}: ${detail ?? 'it does not start'}`)
      return
    }
    output.event({ ...event })
    output.say(describe(event))
  }
}

function describe(event: Exclude<PlatformEvent, { event: 'model' }>): string {
  switch (event.event) {
    case 'starting':
      return event.what === 'database'
        ? 'Starting PostgreSQL …'
        : 'Starting control, gateway and agent …'
    case 'role-stopped':
      return `${event.role} stopped (${event.reason}); restarting in ${event.restartInMs / 1_000} s`
    case 'role-restarted':
      return `${event.role} is back`
    case 'stopping':
      return 'Stopping: running answers may end. Press Ctrl-C again to stop at once.'
    case 'stopped':
      return 'Stopped.'
  }
}

/** As it can be typed in the folder where this was started. */
function programName(config: Config): string {
  const name = existsSync(join(process.cwd(), 'bin/colonnade.mjs'))
    ? 'bin/colonnade.mjs'
    : 'colonnade'
  const usual = readConfig({}).dataDirectory === config.dataDirectory
  return usual ? name : `${name} --data ${config.dataDirectory}`
}
