/** The exchange of a service account's key, against a server that checks the claim as Google does. */
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { manualClock } from '../../../platform/clock.ts'
import { createAccessTokens, readServiceAccount, type ServiceAccount } from './access-token.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
const nowMs = Date.UTC(2026, 10, 21, 12, 0, 0)

let answer: { status: number; body: unknown } = { status: 200, body: {} }
let claims: Record<string, unknown>[] = []
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const form = new URLSearchParams(Buffer.concat(chunks).toString())
    const [head = '', claim = '', signature = ''] = (form.get('assertion') ?? '').split('.')
    const isGenuine = verify(
      'sha256',
      Buffer.from(`${head}.${claim}`),
      createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })),
      Buffer.from(signature, 'base64url'),
    )
    const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
    claims.push({ ...decode(head), ...decode(claim), isGenuine, grant: form.get('grant_type') })
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(answer.body))
  })
})
let account: ServiceAccount
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const found = readServiceAccount(file())
  if (typeof found === 'string') throw new Error(found)
  account = found
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  claims = []
  answer = { status: 200, body: { access_token: 'token-1', expires_in: 3_600 } }
})

function file(change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    type: 'service_account',
    client_email: 'a@b.iam.gserviceaccount.com',
    private_key: pem,
    private_key_id: 'key-1',
    project_id: 'project-1',
    token_uri: `http://127.0.0.1:${(server.address() as AddressInfo | null)?.port ?? 0}/token`,
    ...change,
  })
}

test('requests that need a token at the same time share one exchange, and later ones its token', async () => {
  const clock = manualClock(nowMs)
  const tokens = createAccessTokens(account, { clock })
  expect(await Promise.all([tokens.current(), tokens.current()])).toEqual(['token-1', 'token-1'])
  clock.advance(3_200_000)
  expect(await tokens.current()).toBe('token-1')
  expect(claims).toEqual([
    {
      alg: 'RS256',
      typ: 'JWT',
      kid: 'key-1',
      iss: 'a@b.iam.gserviceaccount.com',
      scope: 'https://www.googleapis.com/auth/cloud-platform',
      aud: account.tokenUrl.href,
      iat: nowMs / 1_000,
      exp: nowMs / 1_000 + 3_600,
      isGenuine: true,
      grant: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    },
  ])
  await tokens.close()
})

test('a token is renewed before its end', async () => {
  const clock = manualClock(nowMs)
  const tokens = createAccessTokens(account, { clock })
  await tokens.current()
  answer = { status: 200, body: { access_token: 'token-2', expires_in: 3_600 } }
  clock.advance(3_301_000)
  expect(await tokens.current()).toBe('token-2')
  await tokens.close()
})

test('a refused account fails at once for a while, and is tried again after it', async () => {
  const clock = manualClock(nowMs)
  const tokens = createAccessTokens(account, { clock })
  answer = { status: 401, body: { error: 'invalid_grant' } }
  await expect(tokens.current()).rejects.toMatchObject({ code: 'upstream.failed' })
  await expect(tokens.current()).rejects.toMatchObject({ code: 'upstream.failed' })
  expect(claims).toHaveLength(1)
  clock.advance(1_001)
  answer = { status: 200, body: { access_token: 'token-3', expires_in: 3_600 } }
  expect(await tokens.current()).toBe('token-3')
  await tokens.close()
})

test.each([{}, { access_token: '' }, { access_token: 'two words' }, { access_token: 7 }, []])(
  'an answer without a token is none: %j',
  async (body) => {
    answer = { status: 200, body }
    const tokens = createAccessTokens(account, { clock: manualClock(nowMs) })
    await expect(tokens.current()).rejects.toMatchObject({ code: 'upstream.failed' })
    await tokens.close()
  },
)

test.each([
  ['not JSON', 'x', /JSON/],
  ['another kind of file', file({ type: 'authorized_user' }), /type/],
  ['no key', file({ private_key: undefined }), /private_key/],
  ['a key that is none', file({ private_key: 'x' }), /private_key/],
  ['an issuer that is not Google', file({ token_uri: 'https://evil.example/token' }), /token_uri/],
  ['an issuer without TLS', file({ token_uri: 'http://oauth2.googleapis.com' }), /token_uri/],
])('%s is refused, and named', (_what, text, pattern) => {
  expect(readServiceAccount(text)).toMatch(pattern)
})
