/**
 * Access tokens of a Google service account (developers.google.com/identity/protocols/oauth2/service-account): a claim signed with the account's key
 * is exchanged for a token that lasts an hour. One exchange serves all requests that wait for it.
 */
import { createPrivateKey, sign, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import { systemClock, type Clock } from '../../../platform/clock.ts'
import { Fault } from '../../../platform/fault.ts'
import { createHttpClient, type HttpClient } from '../../../platform/http/client.ts'
import { collect, isRecord, parseWhole } from '../answer.ts'

const scope = 'https://www.googleapis.com/auth/cloud-platform'
const exchangeTimeoutMs = 5_000
const answerBytesMax = 64 * 1024
const claimLifeSeconds = 3_600
/** A token is renewed so long before its end. */
const reserveMs = 300_000
/** After a failed exchange, requests fail at once for so long. */
const retryMs = 1_000

export interface ServiceAccount {
  readonly email: string
  readonly key: KeyObject
  readonly keyId: string | undefined
  readonly tokenUrl: URL
  readonly projectId: string | undefined
}

const fileSchema = z.object({
  type: z.literal('service_account'),
  client_email: z.string().min(3).max(320),
  private_key: z.string().min(1).max(10_000),
  private_key_id: z.string().max(200).optional(),
  project_id: z.string().max(200).optional(),
  token_uri: z.string().max(500).default('https://oauth2.googleapis.com/token'),
})

/** Returns what is wrong, as a sentence, for what is no service account's key file. */
export function readServiceAccount(text: string): ServiceAccount | string {
  const file = fileSchema.safeParse(parseJson(text))
  if (!file.success) {
    const field = file.error.issues[0]?.path.join('.')
    return field ? `The key file's ${field} is missing or wrong.` : 'The key must be a JSON file.'
  }
  const { data } = file
  const tokenUrl = URL.parse(data.token_uri)
  if (!tokenUrl || !isTokenIssuer(tokenUrl)) return "The key file's token_uri is not Google's."
  const key = readKey(data.private_key)
  if (!key) return "The key file's private_key is not an RSA key in PEM form."
  return {
    email: data.client_email,
    key,
    keyId: data.private_key_id,
    tokenUrl,
    projectId: data.project_id,
  }
}

/** Whoever is named there gets a signed claim; on loopback, only tests are. */
function isTokenIssuer({ protocol, hostname }: URL): boolean {
  if (protocol === 'https:') return hostname === 'oauth2.googleapis.com'
  return protocol === 'http:' && (hostname === '127.0.0.1' || hostname === '[::1]')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readKey(pem: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(pem)
    return key.asymmetricKeyType === 'rsa' ? key : undefined
  } catch {
    return undefined
  }
}

export interface AccessTokens {
  /** Throws `upstream.failed` or `upstream.timeout` within the exchange's time limit. */
  current(): Promise<string>
  close(): Promise<void>
}

export function createAccessTokens(
  account: ServiceAccount,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): AccessTokens {
  const client = createHttpClient(account.tokenUrl.origin, {
    connectTimeoutMs: exchangeTimeoutMs,
  })
  let held: { readonly token: string; readonly untilMs: number } | undefined
  let failure: { readonly error: unknown; readonly untilMs: number } | undefined
  let exchanging: Promise<string> | undefined

  const renew = async (): Promise<string> => {
    try {
      const { token, lifeMs } = await exchange(account, client, clock)
      held = { token, untilMs: clock.monotonicMs() + lifeMs - reserveMs }
      return token
    } catch (error) {
      failure = { error, untilMs: clock.monotonicMs() + retryMs }
      throw error
    } finally {
      exchanging = undefined
    }
  }
  return {
    async current() {
      const nowMs = clock.monotonicMs()
      if (held && nowMs < held.untilMs) return held.token
      if (failure && nowMs < failure.untilMs) throw failure.error
      exchanging ??= renew()
      return await exchanging
    },
    close: () => client.close(),
  }
}

async function exchange(
  account: ServiceAccount,
  client: HttpClient,
  clock: Clock,
): Promise<{ readonly token: string; readonly lifeMs: number }> {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: signClaim(account, Math.floor(clock.nowMs() / 1_000)),
  })
  const response = await client.open({
    method: 'POST',
    path: account.tokenUrl.pathname + account.tokenUrl.search,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: form.toString(),
    signal: AbortSignal.timeout(exchangeTimeoutMs),
    firstByteTimeoutMs: exchangeTimeoutMs,
    idleTimeoutMs: exchangeTimeoutMs,
  })
  const bytes = await collect(response.body, answerBytesMax)
  if (response.status !== 200) throw refused(`the token's issuer answered ${response.status}`)
  const value = parseWhole(bytes)
  const { access_token: token, expires_in: seconds } = isRecord(value) ? value : {}
  if (typeof token !== 'string' || token === '' || /[^\x21-\x7e]/.test(token)) {
    throw refused("the token's issuer answered without a token")
  }
  const life = typeof seconds === 'number' && seconds > 0 ? seconds : claimLifeSeconds
  return { token, lifeMs: Math.min(life, claimLifeSeconds) * 1_000 }
}

function signClaim({ email, key, keyId, tokenUrl }: ServiceAccount, nowSeconds: number): string {
  const encode = (value: unknown): string =>
    Buffer.from(JSON.stringify(value)).toString('base64url')
  const head = encode({ alg: 'RS256', typ: 'JWT', ...(keyId !== undefined && { kid: keyId }) })
  const claim = encode({
    iss: email,
    scope,
    aud: tokenUrl.href,
    iat: nowSeconds,
    exp: nowSeconds + claimLifeSeconds,
  })
  const signature = sign('sha256', Buffer.from(`${head}.${claim}`), key)
  return `${head}.${claim}.${signature.toString('base64url')}`
}

function refused(internal: string): Fault {
  return new Fault({
    code: 'upstream.failed',
    public: 'The service behind this model does not accept our credentials. Ask your provider.',
    internal,
  })
}
