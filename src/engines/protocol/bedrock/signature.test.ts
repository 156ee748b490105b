/** Signatures as the service checks them: computed once more, by hand, from the request as it arrives. */
import { createHash, createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { manualClock } from '../../../platform/clock.ts'
import { createSigner, readAwsCredentials } from './signature.ts'

const id = 'AKIAIOSFODNN7EXAMPLE'
const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const clock = manualClock(Date.UTC(2026, 10, 21, 12, 0, 0))
const hash = (text: string): string => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

test('a request is signed with its path encoded twice, its host, its type and its body', async () => {
  const sign = createSigner(
    { accessKeyId: id, secretAccessKey: secret, sessionToken: undefined },
    'eu-west-3',
    { clock },
  )
  const body = '{"messages":[]}'
  const proof = await sign({
    method: 'POST',
    url: new URL(
      'https://bedrock-runtime.eu-west-3.amazonaws.com/model/anthropic.claude-v1%3A0/converse-stream',
    ),
    headers: { 'content-type': 'application/json', 'x-request-id': 'req_1' },
    body,
  })
  const canonical = [
    'POST',
    '/model/anthropic.claude-v1%253A0/converse-stream',
    '',
    'content-type:application/json',
    'host:bedrock-runtime.eu-west-3.amazonaws.com',
    `x-amz-content-sha256:${hash(body)}`,
    'x-amz-date:20261121T120000Z',
    '',
    'content-type;host;x-amz-content-sha256;x-amz-date',
    hash(body),
  ].join('\n')
  const scope = '20261121/eu-west-3/bedrock/aws4_request'
  const text = ['AWS4-HMAC-SHA256', '20261121T120000Z', scope, hash(canonical)].join('\n')
  const key = ['20261121', 'eu-west-3', 'bedrock', 'aws4_request'].reduce(
    (last: string | Buffer, part) => hmac(last, part),
    `AWS4${secret}`,
  )
  expect(proof).toEqual({
    'x-amz-date': '20261121T120000Z',
    'x-amz-content-sha256': hash(body),
    authorization: `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=${hmac(key, text).toString('hex')}`,
  })
})

test('a session token goes along, and is signed', async () => {
  const credentials = { accessKeyId: id, secretAccessKey: secret, sessionToken: 'token' }
  const url = new URL('https://bedrock.eu-west-3.amazonaws.com/foundation-models')
  const proof = await createSigner(credentials, 'eu-west-3', { clock })({
    method: 'GET',
    url,
    headers: {},
    body: undefined,
  })
  expect(proof['x-amz-security-token']).toBe('token')
  expect(proof['authorization']).toContain('x-amz-security-token')
})

test('credentials are read as a line or as JSON', () => {
  const pair = { accessKeyId: id, secretAccessKey: secret, sessionToken: undefined }
  expect(readAwsCredentials(`${id}:${secret}`)).toEqual(pair)
  expect(readAwsCredentials(`${id}:${secret}:tok/en+=`)).toEqual({
    ...pair,
    sessionToken: 'tok/en+=',
  })
  expect(readAwsCredentials(JSON.stringify({ accessKeyId: id, secretAccessKey: secret }))).toEqual(
    pair,
  )
})

test.each(['', 'sk-secretsecret', `${id}:short`, `${id}:${secret}:a:b`, '{"accessKeyId":1}', '{'])(
  'what is no pair of AWS is said so, without a word of it: %s',
  (text) => {
    const said = readAwsCredentials(text)
    expect(said).toMatch(/ACCESS_KEY_ID:SECRET/)
    if (text.length > 1) expect(said).not.toContain(text)
  },
)
