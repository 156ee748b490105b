/** Calls the control API on behalf of a command, and turns its refusals into advice. */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { readToken } from '../app/tokens.ts'
import { readConfig } from '../app/config.ts'
import { readEndpoints } from '../app/leftovers.ts'
import { idempotencyHeader } from '../idempotency/key.ts'
import { randomBase62 } from '../platform/ids.ts'
import { CliError, type ControlClient } from './command.ts'
import type { GlobalOptions } from './global-options.ts'

/** Engines may be asked for their models meanwhile. */
const timeoutMs = 60_000
/** A control process that is being started again is back soon. */
const retryMs = 300
const inProgressRetryMs = 500
const inProgressTriesMax = 20
const refusal = z.object({ error: z.object({ message: z.string(), code: z.string().optional() }) })

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

interface Answer {
  readonly status: number
  readonly value: unknown
}

/** With its key a change is made once, however often it is sent; so what broke is sent once more, and one that is under way is awaited. */
async function call(request: Call): Promise<unknown> {
  const key = request.method === 'GET' ? undefined : randomBase62(22)
  let answer = await sendTwice(request, key)
  for (let tries = 0; tries < inProgressTriesMax && isInProgress(answer); tries += 1) {
    await sleep(inProgressRetryMs)
    answer = await sendTwice(request, key)
  }
  if (answer.status < 300) return answer.value
  throw new CliError(
    refusal.safeParse(answer.value).data?.error.message ??
      `The control API answered ${answer.status}.`,
  )
}

function isInProgress({ value }: Answer): boolean {
  return refusal.safeParse(value).data?.error.code === 'idempotency.in_progress'
}

async function sendTwice(request: Call, key: string | undefined): Promise<Answer> {
  try {
    return await send(request, key).catch(async (error: unknown) => {
      if (isTimeout(error)) throw error
      await sleep(retryMs)
      return send(request, key)
    })
  } catch (error) {
    throw unreachable(request.url, error)
  }
}

async function send(
  { url, token, method, path, body }: Call,
  key: string | undefined,
): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(key === undefined ? {} : { [idempotencyHeader]: key }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(timeoutMs),
  })
  return { status: response.status, value: fromJson(await response.text()) }
}

/** `undefined` for what is no JSON, such as a proxy's page. */
function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The status says enough.
    return undefined
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError'
}

function unreachable(url: string, error: unknown): CliError {
  if (isTimeout(error))
    return new CliError(
      `The control API at ${url} did not answer within ${timeoutMs / 1_000} s. Try again, or run 'colonnade doctor'.`,
    )
  return new CliError(
    `The control API does not answer at ${url}. Is 'colonnade serve' running? Another address goes with --control-url.`,
  )
}
