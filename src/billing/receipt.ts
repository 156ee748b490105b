/**
 * A receipt: what one leg of a request was charged, and why, signed so that anybody can check it offline. A compact JWS (RFC 7515) with Ed25519 (RFC
 * 8037), whose claims hold usage, prices and amount, and nothing of what was said. The same leg always gives the same bytes, whether its gateway makes
 * the receipt or somebody asks for it years later.
 */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { z } from 'zod'
import { assert } from '../platform/assert.ts'
import { rate } from './rating.ts'
import type { OpenedRequest, PinnedPrice, SettledRequest, UnitPrices } from './usage.ts'

/** What a receipt tells, apart from who signed it. */
export interface BilledLeg {
  readonly request: Pick<
    OpenedRequest,
    | 'requestId'
    | 'leg'
    | 'tenantId'
    | 'projectId'
    | 'apiKeyId'
    | 'modelId'
    | 'endpoint'
    | 'price'
    | 'alreadyChargedNanos'
  >
  readonly settled: Pick<
    SettledRequest,
    'outcome' | 'usage' | 'amountNanos' | 'waivedNanos' | 'settledAtMs'
  >
  readonly gatewayId: string
}

export interface ReceiptSigner {
  sign(leg: BilledLeg): string
  /** The public keys, as `/.well-known/colonnade/receipt-keys.json` tells them: a JWK Set (RFC 7517). */
  readonly keySet: ReceiptKeySet
}

export const receiptKeysPath = '/.well-known/colonnade/receipt-keys.json'
/** It has to fit into one header, beside the others. */
const receiptLengthMax = 4_095
const tokenType = 'colonnade-receipt+jwt'

const receiptKey = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().regex(/^[\w-]{43}$/),
  kid: z.string().max(200),
})
const keySet = z.object({ keys: z.array(z.unknown()).max(100) })
export interface ReceiptKeySet {
  readonly keys: readonly z.infer<typeof receiptKey>[]
}

const header = z.strictObject({
  alg: z.literal('EdDSA'),
  kid: z.string().regex(/^[\w-]{1,100}$/),
  typ: z.literal(tokenType),
})
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const nanos = z.string().regex(/^\d{1,30}$/)
const claims = z.strictObject({
  iss: z.literal('colonnade'),
  request_id: z.string(),
  leg: count,
  tenant_id: z.string(),
  project_id: z.string(),
  api_key_id: z.string(),
  model: z.string(),
  endpoint: z.string(),
  gateway_id: z.string(),
  outcome: z.enum([
    'completed',
    'client_left',
    'upstream_failed',
    'guardrail_stopped',
    'crashed',
    'voided',
  ]),
  settled_at: z.iso.datetime({ precision: 3 }),
  usage: z.strictObject({
    input_tokens: count,
    cached_input_tokens: count,
    output_tokens: count,
    reasoning_tokens: count,
    system_tokens: count.optional(),
    audio_ms: count.optional(),
    characters: count.optional(),
    images: count.optional(),
    rerank_tokens: count.optional(),
  }),
  price: z.strictObject({
    version: z.string(),
    /** Of one unit, in nano-units of the currency. */
    nanos: z.strictObject({
      input_token: nanos,
      cached_input_token: nanos,
      output_token: nanos,
      reasoning_token: nanos,
      system_token: nanos.optional(),
      audio_minute: nanos.optional(),
      character: nanos.optional(),
      image: nanos.optional(),
      rerank_token: nanos.optional(),
    }),
    discount_basis_points: count.max(10_000).optional(),
  }),
  currency: z.string(),
  /** What earlier legs of the same request were charged. */
  already_charged_nanos: nanos,
  /** What the usage costs beyond the hold or the budget, and nobody pays. */
  waived_nanos: nanos,
  amount_nanos: nanos,
})
export type ReceiptClaims = z.infer<typeof claims>

export type ReceiptVerdict =
  | { readonly isValid: true; readonly claims: ReceiptClaims; readonly keyId: string }
  | { readonly isValid: false; readonly reason: string }

/** The seed is the whole private key (RFC 8032, 5.1.5). */
export function createReceiptSigner(seed: Buffer): ReceiptSigner {
  assert(seed.length === 32, 'an Ed25519 seed has 32 bytes')
  const privateKey = createPrivateKey({
    key: Buffer.concat([pkcs8Prefix, seed]),
    format: 'der',
    type: 'pkcs8',
  })
  const { x } = z
    .object({ x: z.string() })
    .parse(createPublicKey(privateKey).export({ format: 'jwk' }))
  const kid = thumbprint(x)
  const head = toBase64Url(JSON.stringify({ alg: 'EdDSA', kid, typ: tokenType }))
  return {
    keySet: { keys: [{ kty: 'OKP', crv: 'Ed25519', x, kid }] },
    sign(leg) {
      const signed = `${head}.${toBase64Url(JSON.stringify(toClaims(leg)))}`
      const token = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
      assert(token.length <= receiptLengthMax, 'a receipt fits into a header')
      return token
    },
  }
}

/** Checks form, signature and arithmetic. Exact: a receipt with any byte changed is none. */
export function verifyReceipt(token: string, keys: unknown): ReceiptVerdict {
  const parts = token.split('.')
  const [head = '', body = '', signature = ''] = parts
  if (parts.length !== 3 || token.length > receiptLengthMax || !parts.every(isBase64Url))
    return invalid('this is not a receipt: three parts of base64url, with dots between them')
  const parsedHeader = header.safeParse(fromBase64Url(head))
  if (!parsedHeader.success) return invalid('its header is not that of a receipt')
  const { kid } = parsedHeader.data
  const x = findKey(keys, kid)
  if (x === undefined) return invalid(`the signing key ${kid} is not among the known keys`)
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const signed = Buffer.from(`${head}.${body}`)
  if (!verify(null, signed, publicKey, Buffer.from(signature, 'base64url')))
    return invalid('the signature does not match: it was changed, or somebody else made it')
  const parsed = claims.safeParse(fromBase64Url(body))
  if (!parsed.success) return invalid('its claims are not those of a receipt')
  const difference = findDifference(parsed.data)
  if (difference !== undefined) return invalid(difference)
  return { isValid: true, claims: parsed.data, keyId: kid }
}

/** What the usage costs at the receipt's prices, before earlier legs and what is waived. */
export function costOf(receipt: ReceiptClaims): bigint {
  const { usage } = receipt
  if (receipt.outcome === 'voided') return 0n
  return rate(toPrice(receipt), {
    inputTokens: usage.input_tokens,
    cachedInputTokens: usage.cached_input_tokens,
    outputTokens: usage.output_tokens,
    reasoningTokens: usage.reasoning_tokens,
    units: {
      systemTokens: usage.system_tokens,
      audioMs: usage.audio_ms,
      characters: usage.characters,
      images: usage.images,
      rerankTokens: usage.rerank_tokens,
    },
  })
}

/** `undefined` when the amount follows from usage and prices. */
function findDifference(receipt: ReceiptClaims): string | undefined {
  const { usage } = receipt
  const read = usage.cached_input_tokens + (usage.system_tokens ?? 0)
  if (read > usage.input_tokens || usage.reasoning_tokens > usage.output_tokens)
    return 'its usage is impossible: a part is larger than its whole'
  const rest = costOf(receipt) - BigInt(receipt.already_charged_nanos)
  const due = rest > 0n ? rest : 0n
  const told = BigInt(receipt.amount_nanos) + BigInt(receipt.waived_nanos)
  if (told === due) return undefined
  return `the amount does not follow from usage and prices: ${due} nano-units are due, and it says ${told}`
}

function toClaims({ request, settled, gatewayId }: BilledLeg): ReceiptClaims {
  const { price } = request
  const { usage } = settled
  return {
    iss: 'colonnade',
    request_id: request.requestId,
    leg: request.leg,
    tenant_id: request.tenantId,
    project_id: request.projectId,
    api_key_id: request.apiKeyId,
    model: request.modelId,
    endpoint: request.endpoint,
    gateway_id: gatewayId,
    outcome: settled.outcome,
    settled_at: new Date(settled.settledAtMs).toISOString(),
    usage: {
      input_tokens: usage.inputTokens,
      cached_input_tokens: usage.cachedInputTokens,
      output_tokens: usage.outputTokens,
      reasoning_tokens: usage.reasoningTokens,
      system_tokens: usage.units?.systemTokens,
      audio_ms: usage.units?.audioMs,
      characters: usage.units?.characters,
      images: usage.units?.images,
      rerank_tokens: usage.units?.rerankTokens,
    },
    price: {
      version: price.version,
      nanos: {
        input_token: String(price.inputNanos),
        cached_input_token: String(price.cachedInputNanos),
        output_token: String(price.outputNanos),
        reasoning_token: String(price.reasoningNanos),
        system_token: price.units?.systemTokenNanos?.toString(),
        audio_minute: price.units?.audioMinuteNanos?.toString(),
        character: price.units?.characterNanos?.toString(),
        image: price.units?.imageNanos?.toString(),
        rerank_token: price.units?.rerankTokenNanos?.toString(),
      },
      discount_basis_points: price.discountBasisPoints,
    },
    currency: price.currency,
    already_charged_nanos: String(request.alreadyChargedNanos),
    waived_nanos: String(settled.waivedNanos),
    amount_nanos: String(settled.amountNanos),
  }
}

function toPrice({ price, currency }: ReceiptClaims): PinnedPrice {
  return fromPriceNanos({ ...price, currency })
}

/** The prices as the journal, the ledger and a receipt write them. */
export function fromPriceNanos(written: {
  readonly version: string
  readonly currency: string
  readonly nanos: Readonly<Record<string, string | undefined>>
  readonly discount_basis_points?: number | undefined
}): PinnedPrice {
  const find = (unit: string): bigint | undefined => {
    const text = written.nanos[unit]
    return text === undefined ? undefined : BigInt(text)
  }
  const units: UnitPrices = {
    systemTokenNanos: find('system_token'),
    audioMinuteNanos: find('audio_minute'),
    characterNanos: find('character'),
    imageNanos: find('image'),
    rerankTokenNanos: find('rerank_token'),
  }
  return {
    version: written.version,
    currency: written.currency,
    inputNanos: find('input_token') ?? 0n,
    cachedInputNanos: find('cached_input_token') ?? 0n,
    outputNanos: find('output_token') ?? 0n,
    reasoningNanos: find('reasoning_token') ?? 0n,
    units,
    discountBasisPoints: written.discount_basis_points,
  }
}

/** RFC 8410: what stands before an Ed25519 seed in PKCS #8. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

/** RFC 7638: members in the order of the alphabet, nothing between them. */
function thumbprint(x: string): string {
  return createHash('sha256')
    .update(JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x }))
    .digest('base64url')
}

/** Keys of other kinds, which a set may hold, are passed over. */
function findKey(keys: unknown, kid: string): string | undefined {
  const parsed = keySet.safeParse(keys)
  if (!parsed.success) return undefined
  return parsed.data.keys
    .map((key) => receiptKey.safeParse(key))
    .find((key) => key.data?.kid === kid)?.data?.x
}

/** The one spelling of its bytes: no padding, no spare bits, no other characters, which Node would read over. */
function isBase64Url(text: string): boolean {
  return text !== '' && Buffer.from(text, 'base64url').toString('base64url') === text
}

function toBase64Url(text: string): string {
  return Buffer.from(text).toString('base64url')
}

function fromBase64Url(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    // The schema refuses it, and says so.
    return undefined
  }
}

function invalid(reason: string): ReceiptVerdict {
  return { isValid: false, reason }
}
