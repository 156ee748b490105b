/** Calls the control API on behalf of a command, and turns its refusals into advice. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readToken } from '../app/bootstrap.ts'
import { CliError, type ControlClient } from './command.ts'

const timeoutMs = 60_000

export interface ControlAccess {
  /** `undefined` for the address and the token that the local data folder knows. */
  readonly url: string | undefined
  readonly token: string | undefined
  readonly dataDirectory: string
}

export async function connectControl(access: ControlAccess): Promise<ControlClient> {
  const url = access.url ?? (await localUrl(access.dataDirectory))
  const token = access.token ?? readToken(access.dataDirectory, 'admin-token')
  if (token === undefined) {
    throw new CliError(
      `There is no access token in ${access.dataDirectory}. Give --token, set COLONNADE_ADMIN_TOKEN, or name the data folder with --data.`,
    )
  }
  return { call: (method, path, body) => call({ url, token, method, path, body }) }
}

/** What `serve` has written about itself. */
export interface LocalEndpoints {
  readonly apiUrl: string
  readonly controlUrl: string
  readonly pid: number
}

export async function readLocalEndpoints(
  dataDirectory: string,
): Promise<LocalEndpoints | undefined> {
  try {
    const value: unknown = JSON.parse(
      await readFile(join(dataDirectory, 'run', 'endpoints.json'), 'utf8'),
    )
    // Written by serve.
    return value as LocalEndpoints
  } catch {
    // Nothing has been started with this folder.
    return undefined
  }
}

async function localUrl(dataDirectory: string): Promise<string> {
  const endpoints = await readLocalEndpoints(dataDirectory)
  return endpoints?.controlUrl ?? 'http://127.0.0.1:8081'
}

async function call(request: {
  readonly url: string
  readonly token: string
  readonly method: string
  readonly path: string
  readonly body: unknown
}): Promise<unknown> {
  let response: Response
  try {
    response = await fetch(`${request.url}${request.path}`, {
      method: request.method,
      headers: {
        authorization: `Bearer ${request.token}`,
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal: AbortSignal.timeout(timeoutMs),
    })
  } catch {
    throw new CliError(
      `The control API does not answer at ${request.url}. Is 'colonnade serve' running? Another address goes with --control-url.`,
    )
  }
  const value: unknown = await response.json().catch(() => undefined)
  if (response.ok) return value
  throw new CliError(messageOf(value) ?? `The control API answered ${response.status}.`)
}

function messageOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('error' in value)) return undefined
  const { error } = value
  return typeof error === 'object' && error !== null && 'message' in error
    ? String(error.message)
    : undefined
}
