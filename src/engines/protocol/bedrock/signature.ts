/** AWS Signature Version 4 (docs.aws.amazon.com/IAM, "Signature Version 4"), and the credentials that it is made with. */
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { z } from 'zod'
import { systemClock, type Clock } from '../../../platform/clock.ts'
import type { OutgoingRequest } from '../connection.ts'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
}

const json = z.object({
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
  sessionToken: z.string().optional(),
})
const idPattern = /^[A-Z0-9]{16,128}$/
const secretPattern = /^[A-Za-z0-9/+=]{16,256}$/
const tokenPattern = /^[A-Za-z0-9/+=_-]{1,8192}$/

/** `ID:SECRET`, `ID:SECRET:SESSION` or JSON of those names. Returns what is wrong, as a sentence, for anything else. */
export function readAwsCredentials(text: string): AwsCredentials | string {
  const shape = 'The key must be ACCESS_KEY_ID:SECRET, with :SESSION_TOKEN where there is one.'
  const found = text.trimStart().startsWith('{') ? fromJson(text) : fromText(text)
  if (!found) return shape
  if (!idPattern.test(found.accessKeyId)) return `The access key id is not one of AWS. ${shape}`
  if (!secretPattern.test(found.secretAccessKey)) return `The secret is not one of AWS. ${shape}`
  if (found.sessionToken !== undefined && !tokenPattern.test(found.sessionToken)) {
    return `The session token is not one of AWS. ${shape}`
  }
  return found
}

function fromText(text: string): AwsCredentials | undefined {
  const [accessKeyId, secretAccessKey, sessionToken, more] = text.split(':')
  if (accessKeyId === undefined || secretAccessKey === undefined || more !== undefined) {
    return undefined
  }
  return { accessKeyId, secretAccessKey, sessionToken }
}

function fromJson(text: string): AwsCredentials | undefined {
  try {
    const { sessionToken, ...pair } = json.parse(JSON.parse(text))
    return { ...pair, sessionToken }
  } catch {
    return undefined
  }
}

/** The headers that prove who asks, for one request as it is sent. */
export function createSigner(
  credentials: AwsCredentials,
  region: string,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): (request: OutgoingRequest) => Promise<Readonly<Record<string, string>>> {
  const { sessionToken, ...pair } = credentials
  const signer = new SignatureV4({
    credentials: { ...pair, ...(sessionToken !== undefined && { sessionToken }) },
    region,
    service: 'bedrock',
    sha256: Sha256,
  })
  return async ({ method, url, headers, body }) => {
    const type = headers['content-type']
    const signed = await signer.sign(
      {
        method,
        protocol: url.protocol,
        hostname: url.hostname,
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: { host: url.host, ...(type !== undefined && { 'content-type': type }) },
        body,
      },
      { signingDate: new Date(clock.nowMs()) },
    )
    // The client writes the host by itself.
    const { host: _host, 'content-type': _type, ...proof } = signed.headers
    return proof
  }
}
