/**
 * Downloads a file over HTTP, and goes on where an earlier attempt stopped: by `Range` with `If-Range`, so a file that has changed meanwhile
 * begins anew. A server that is silent at first is given up early, one that was cut is asked again.
 */
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { EnvHttpProxyAgent, request, type Dispatcher } from 'undici'
import { z } from 'zod'
import { Fault, type FaultCode } from '../platform/fault.ts'
import type { WeightSettings } from './contract.ts'
import { digest, ensureRoom, toDiskFault } from './store.ts'

export interface Download {
  readonly url: string
  readonly token?: string | undefined
  /** Where the file grows. Beside it, in `<path>.json`, lies what is needed to go on later. */
  readonly path: string
  readonly settings: WeightSettings
  readonly signal: AbortSignal
  readonly onBytes: (receivedBytes: number, totalBytes: number | undefined) => void
}

export const answerTimeoutMs = 5_000
/** The longest silence between two pieces of a file. */
const idleTimeoutMs = 30_000
const redirectsMax = 5
/** Attempts one after the other that bring no byte. */
const fruitlessMax = 4
const attemptsMax = 100
const retryDelayMs = 500

/** Resolves when the whole file is on disk. Throws `upstream.*` when the server does not give it, after which a part of it may remain. */
export async function download(wanted: Download): Promise<void> {
  const { http, https, no } = wanted.settings.proxy
  // Empty strings keep undici from reading the environment by itself.
  const dispatcher = new EnvHttpProxyAgent({
    httpProxy: http ?? '',
    httpsProxy: https ?? '',
    noProxy: no ?? '',
  })
  try {
    await downloadPersistently(wanted, dispatcher)
  } finally {
    await dispatcher.destroy()
  }
}

async function downloadPersistently(wanted: Download, dispatcher: Dispatcher): Promise<void> {
  let hasReceived = false
  let fruitless = 0
  const onBytes: Download['onBytes'] = (receivedBytes, totalBytes) => {
    hasReceived = true
    fruitless = 0
    wanted.onBytes(receivedBytes, totalBytes)
  }
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    try {
      if ((await attemptDownload({ ...wanted, onBytes }, dispatcher)) === 'complete') return
    } catch (error) {
      wanted.signal.throwIfAborted()
      const fault = toTransferFault(error)
      const isLost = !hasReceived || !fault.code.startsWith('upstream.')
      if (isLost || fault.code === 'upstream.rejected' || fruitless >= fruitlessMax) throw fault
      await sleep(retryDelayMs * 2 ** fruitless, undefined, { signal: wanted.signal })
      fruitless += 1
    }
  }
  throw passedOver('upstream.truncated', 'the connection was cut again and again')
}

async function attemptDownload(
  { path, url, token, settings, signal, onBytes }: Download,
  dispatcher: Dispatcher,
): Promise<'complete' | 'start-anew'> {
  const patience = startPatience(settings.answerTimeoutMs ?? answerTimeoutMs)
  try {
    const resume = await readResume(path, url)
    const response = await follow(url, {
      dispatcher,
      signal: AbortSignal.any([signal, patience.signal]),
      token,
      headers: resume
        ? { range: `bytes=${resume.bytes}-`, 'if-range': resume.validator }
        : undefined,
    })
    const from = resume && startOfRange(response) === resume.bytes ? resume.bytes : 0
    if (response.statusCode === 416 && isWhole(response, resume?.bytes)) {
      await response.body.dump()
      return 'complete'
    }
    if (response.statusCode === 416 || (response.statusCode === 206 && from === 0)) {
      await response.body.dump()
      await forget(path)
      return 'start-anew'
    }
    if (response.statusCode !== 200 && response.statusCode !== 206) throw refusal(response)
    const totalBytes = from + (contentLength(response) ?? Number.NaN)
    await ensureRoom(path, totalBytes - from)
    if (from === 0) await rememberValidator(path, url, response)
    const received = await receive(response, { path, from, patience, onBytes, totalBytes })
    if (!Number.isNaN(totalBytes) && received !== totalBytes) {
      throw passedOver('upstream.truncated', 'the file ended early')
    }
    return 'complete'
  } catch (error) {
    if (patience.signal.aborted && !signal.aborted) throw patience.fault()
    throw error
  } finally {
    patience.end()
  }
}

interface Receiving {
  readonly path: string
  readonly from: number
  readonly totalBytes: number
  readonly patience: Patience
  readonly onBytes: Download['onBytes']
}

async function receive(
  response: Dispatcher.ResponseData,
  { path, from, totalBytes, patience, onBytes }: Receiving,
): Promise<number> {
  const file = await open(path, from === 0 ? 'w' : 'a', 0o600)
  let received = from
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      patience.extend(idleTimeoutMs)
      await file.appendFile(chunk)
      received += chunk.length
      onBytes(received, Number.isNaN(totalBytes) ? undefined : totalBytes)
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return received
}

interface Following {
  readonly dispatcher: Dispatcher
  readonly signal: AbortSignal
  readonly token: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
}

/** Follows redirects by hand: the token goes to the first host only, and nothing falls back to an unencrypted connection. */
async function follow(
  url: string,
  { dispatcher, signal, token, headers }: Following,
): Promise<Dispatcher.ResponseData> {
  let at = new URL(url)
  const first = at
  for (let redirects = 0; redirects <= redirectsMax; redirects += 1) {
    const response = await request(at, {
      dispatcher,
      signal,
      headers: {
        'user-agent': 'colonnade',
        'accept-encoding': 'identity',
        ...(token && at.origin === first.origin ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    const location = response.headers['location']
    if (response.statusCode < 300 || response.statusCode > 399 || typeof location !== 'string') {
      return response
    }
    await response.body.dump()
    const next = URL.parse(location, at)
    if (!next || !/^https?:$/.test(next.protocol)) {
      throw passedOver('upstream.rejected', 'it redirects to no address')
    }
    if (at.protocol === 'https:' && next.protocol === 'http:') {
      throw passedOver('upstream.rejected', 'it redirects to an unencrypted address')
    }
    at = next
  }
  throw passedOver('upstream.rejected', `it redirects more than ${redirectsMax} times`)
}

function startOfRange(response: Dispatcher.ResponseData): number | undefined {
  const match = /^bytes (\d+)-/.exec(String(response.headers['content-range']))
  return response.statusCode === 206 && match ? Number(match[1]) : undefined
}

/** The version is the one that we know, and it has nothing after what is here. */
function isWhole({ headers }: Dispatcher.ResponseData, bytes: number | undefined): boolean {
  return bytes !== undefined && headers['content-range'] === `bytes */${bytes}`
}

function contentLength(response: Dispatcher.ResponseData): number | undefined {
  const text = String(response.headers['content-length'] ?? '')
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

function refusal({ statusCode, body }: Dispatcher.ResponseData): Fault {
  // Nobody reads it; cutting it is no failure of ours.
  body.on('error', () => {}).destroy()
  const hint = [401, 403].includes(statusCode) ? '; it may need a token (COLONNADE_HUB_TOKEN)' : ''
  return passedOver('upstream.rejected', `it answered ${statusCode}${hint}`)
}

const resumeFile = z.object({ urlDigest: z.string(), validator: z.string() })

/** What is there of this very file, when the server named a version of it. */
async function readResume(
  path: string,
  url: string,
): Promise<{ readonly bytes: number; readonly validator: string } | undefined> {
  const bytes = await sizeOf(path)
  if (bytes === 0) return undefined
  try {
    const known = resumeFile.parse(JSON.parse(await readFile(`${path}.json`, 'utf8')))
    return known.urlDigest === digest(url) ? { bytes, validator: known.validator } : undefined
  } catch {
    // Never written, or half: the file begins anew.
    return undefined
  }
}

async function rememberValidator(
  path: string,
  url: string,
  { headers }: Dispatcher.ResponseData,
): Promise<void> {
  await forget(path)
  const { etag, 'last-modified': lastModified } = headers
  const validator = typeof etag === 'string' && !etag.startsWith('W/') ? etag : lastModified
  if (typeof validator !== 'string') return
  await writeFile(`${path}.json`, JSON.stringify({ urlDigest: digest(url), validator }), {
    mode: 0o600,
  })
}

async function forget(path: string): Promise<void> {
  await rm(path, { force: true })
  await rm(`${path}.json`, { force: true })
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch {
    // Nothing there yet.
    return 0
  }
}

interface Patience {
  readonly signal: AbortSignal
  /** Starts the waiting again, for that long. */
  extend(ms: number): void
  end(): void
  fault(): Fault
}

function startPatience(firstMs: number): Patience {
  const controller = new AbortController()
  const giveUp = (): void => controller.abort()
  let waitedMs = firstMs
  let timer = setTimeout(giveUp, firstMs)
  let hasAnswered = false
  return {
    signal: controller.signal,
    extend(ms) {
      hasAnswered = true
      if (waitedMs === ms) {
        timer.refresh()
        return
      }
      clearTimeout(timer)
      waitedMs = ms
      timer = setTimeout(giveUp, ms)
    },
    end: () => clearTimeout(timer),
    fault: () =>
      hasAnswered
        ? passedOver('upstream.truncated', `it fell silent for ${waitedMs / 1_000} s`)
        : passedOver('upstream.timeout', `no answer within ${waitedMs / 1_000} s`),
  }
}

/** Whatever the network throws, once, as a fault. Without an answer it is `unreachable`, amid one `truncated`. */
function toTransferFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  const diskFault = toDiskFault(error)
  if (diskFault) return diskFault
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  if (['UND_ERR_SOCKET', 'ECONNRESET', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'].includes(code)) {
    return passedOver('upstream.truncated', `the connection was cut (${code})`, error)
  }
  return passedOver('upstream.unreachable', `it cannot be reached (${code})`, error)
}

/** The source is left for the next one, and this is why. */
export function passedOver(
  code: Extract<FaultCode, `upstream.${string}`>,
  reason: string,
  cause?: unknown,
): Fault {
  return new Fault({ code, public: reason, cause })
}
