/** Calls the control API on behalf of a command, and turns its refusals into advice. */
import { readToken } from '../app/tokens.ts'
import { readConfig } from '../app/config.ts'
import { readEndpoints } from '../app/leftovers.ts'
import { CliError, type ControlClient } from './command.ts'
import type { GlobalOptions } from './global-options.ts'

/** Engines may be asked for their models meanwhile. */
const timeoutMs = 60_000

/** Connects with flags, else the environment, else what the local data folder knows. */
export function connectControl(globals: GlobalOptions): Promise<ControlClient> {
  const config = readConfig({ dataDirectory: globals.data, configFile: globals.config })
  const { dataDirectory, control } = config
  const url = (
    globals.controlUrl ??
    config.agent.controlUrl ??
    readEndpoints(dataDirectory)?.controlUrl ??
    `http://127.0.0.1:${control.port}`
  ).replace(/\/+$/, '')
  const token = globals.token ?? config.adminToken ?? readToken(dataDirectory, 'admin-token')
  if (token === undefined) {
    throw new CliError(
      `There is no access token in ${dataDirectory}. Give --token, set COLONNADE_ADMIN_TOKEN, or name the data folder with --data.`,
    )
  }
  return Promise.resolve({
    call: (method, path, body) => call({ url, token, method, path, body }),
  })
}

interface Call {
  readonly url: string
  readonly token: string
  readonly method: string
  readonly path: string
  readonly body: unknown
}

async function call({ url, token, method, path, body }: Call): Promise<unknown> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error: unknown) => {
    throw unreachable(url, error)
  })
  const value: unknown = await response.json().catch(() => undefined)
  if (response.ok) return value
  throw new CliError(messageOf(value) ?? `The control API answered ${response.status}.`)
}

function unreachable(url: string, error: unknown): CliError {
  if (error instanceof Error && error.name === 'TimeoutError')
    return new CliError(
      `The control API at ${url} did not answer within ${timeoutMs / 1_000} s. Try again, or run 'colonnade doctor'.`,
    )
  return new CliError(
    `The control API does not answer at ${url}. Is 'colonnade serve' running? Another address goes with --control-url.`,
  )
}

function messageOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('error' in value)) return undefined
  const { error } = value
  return typeof error === 'object' && error !== null && 'message' in error
    ? String(error.message)
    : undefined
}
