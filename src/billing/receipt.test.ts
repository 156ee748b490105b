import { expect, test } from 'vitest'
import { costOf, createReceiptSigner, verifyReceipt, type BilledLeg } from './receipt.ts'

const signer = createReceiptSigner(Buffer.alloc(32, 5))
const price = {
  version: 'standard@2026-01-01T00:00:00.000Z',
  currency: 'EUR',
  inputNanos: 900n,
  cachedInputNanos: 450n,
  outputNanos: 4_000n,
  reasoningNanos: 21_000n,
}
const leg: BilledLeg = {
  request: {
    requestId: 'req_0123456789abcdef',
    leg: 0,
    tenantId: 'ten_0123456789abcdef',
    projectId: 'prj_0123456789abcdef',
    apiKeyId: 'key_0123456789abcdef',
    modelId: 'chat',
    endpoint: '/v1/chat/completions',
    price,
    alreadyChargedNanos: 0n,
  },
  settled: {
    outcome: 'completed',
    usage: { inputTokens: 17, cachedInputTokens: 7, outputTokens: 42, reasoningTokens: 2 },
    amountNanos: 10n * 900n + 7n * 450n + 40n * 4_000n + 2n * 21_000n,
    waivedNanos: 0n,
    settledAtMs: 1_800_000_000_123,
  },
  gatewayId: 'gw_0123456789abcdef',
}
const settled = (change: Partial<BilledLeg['settled']>): BilledLeg => ({
  ...leg,
  settled: { ...leg.settled, ...change },
})

test('a receipt that its own installation signed is valid, and says what was charged', () => {
  const verdict = verifyReceipt(signer.sign(leg), signer.keySet)
  expect(verdict).toMatchObject({
    isValid: true,
    claims: {
      request_id: 'req_0123456789abcdef',
      amount_nanos: '214150',
      settled_at: '2027-01-15T08:00:00.123Z',
      usage: { cached_input_tokens: 7 },
      price: { nanos: { reasoning_token: '21000' } },
    },
  })
})

test('the same leg gives the same bytes', () => {
  expect(createReceiptSigner(Buffer.alloc(32, 5)).sign(leg)).toBe(signer.sign(leg))
})

test('a receipt fits into a header with the longest names and all units', () => {
  const long = 'x'.repeat(200)
  const units = {
    systemTokens: 4,
    audioMs: 10 ** 9,
    characters: 10 ** 9,
    images: 10 ** 9,
    rerankTokens: 10 ** 9,
  }
  const nanos = 10n ** 15n
  const unitPrices = {
    systemTokenNanos: nanos,
    audioMinuteNanos: nanos,
    characterNanos: nanos,
    imageNanos: nanos,
    rerankTokenNanos: nanos,
  }
  const request = {
    ...leg.request,
    modelId: long,
    price: { ...price, version: long, units: unitPrices },
  }
  const token = signer.sign({
    ...settled({ usage: { ...leg.settled.usage, units } }),
    request,
  })
  expect(token.length).toBeLessThan(4_096)
})

test.each([1, 128])('a receipt with any one byte changed by %d is invalid', (flip) => {
  const token = Buffer.from(signer.sign(leg), 'latin1')
  const accepted: number[] = []
  for (let at = 0; at < token.length; at += 1) {
    const changed = Buffer.from(token)
    changed[at] = (changed[at] ?? 0) ^ flip
    if (verifyReceipt(changed.toString('latin1'), signer.keySet).isValid) accepted.push(at)
  }
  expect(accepted).toEqual([])
})

test('a receipt with any character replaced by any other of its alphabet is invalid', () => {
  const token = signer.sign(leg)
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  // The last character of each part has bits to spare, which a lenient reader overlooks.
  const ends = [token.indexOf('.') - 1, token.lastIndexOf('.') - 1, token.length - 1]
  for (const at of ends) {
    for (const other of alphabet) {
      if (other === token[at]) continue
      const changed = token.slice(0, at) + other + token.slice(at + 1)
      expect(verifyReceipt(changed, signer.keySet).isValid, `${at} ${other}`).toBe(false)
    }
  }
})

test.each([
  ['nothing', ''],
  ['a text', 'receipt'],
  ['padding', `${signer.sign(leg)}=`],
  ['a line end', `${signer.sign(leg)}\n`],
  ['a part more', `${signer.sign(leg)}.e30`],
  ['no signature', signer.sign(leg).replace(/\.[^.]*$/, '.')],
  [
    'no algorithm',
    signer.sign(leg).replace(/^[^.]*/, Buffer.from('{"alg":"none"}').toString('base64url')),
  ],
])('%s is no receipt', (_, token) => {
  expect(verifyReceipt(token, signer.keySet).isValid).toBe(false)
})

test("somebody else's signature is refused, also under our key's name", () => {
  const other = createReceiptSigner(Buffer.alloc(32, 6))
  expect(verifyReceipt(other.sign(leg), signer.keySet)).toMatchObject({
    reason: expect.stringContaining('not among the known keys'),
  })
  const [ours] = signer.keySet.keys
  const posing = { keys: other.keySet.keys.map((key) => ({ ...key, x: ours?.x })) }
  expect(verifyReceipt(other.sign(leg), posing)).toMatchObject({
    reason: expect.stringContaining('signature does not match'),
  })
})

test.each([undefined, null, {}, { keys: 'x' }, { keys: [{ kty: 'RSA' }] }])(
  'with the keys %j nothing is valid',
  (keys) => {
    expect(verifyReceipt(signer.sign(leg), keys).isValid).toBe(false)
  },
)

test.each([
  ['an amount one nano too high', settled({ amountNanos: leg.settled.amountNanos + 1n })],
  ['an amount one nano too low', settled({ amountNanos: leg.settled.amountNanos - 1n })],
  ['a charge for what was voided', settled({ outcome: 'voided' })],
  ['more cached than read', settled({ usage: { ...leg.settled.usage, cachedInputTokens: 18 } })],
  [
    'earlier legs that are not subtracted',
    { ...leg, request: { ...leg.request, alreadyChargedNanos: 1n } },
  ],
])('a signed receipt with %s is refused for its arithmetic', (_, wrong) => {
  expect(verifyReceipt(signer.sign(wrong), signer.keySet).isValid).toBe(false)
})

test.each([
  ['nothing, when voided', settled({ outcome: 'voided', amountNanos: 0n })],
  [
    'what is left after a waiver',
    settled({ amountNanos: leg.settled.amountNanos - 50n, waivedNanos: 50n }),
  ],
  [
    'nothing, after a dearer leg',
    {
      ...settled({ amountNanos: 0n }),
      request: { ...leg.request, leg: 1, alreadyChargedNanos: 999_999_999n },
    },
  ],
  [
    'half, as a batch',
    {
      ...settled({ amountNanos: leg.settled.amountNanos / 2n }),
      request: { ...leg.request, price: { ...price, discountBasisPoints: 5_000 } },
    },
  ],
])('a receipt may ask for %s', (_, right) => {
  expect(verifyReceipt(signer.sign(right), signer.keySet)).toMatchObject({ isValid: true })
})

test('the cost on a receipt is what rating says', () => {
  const verdict = verifyReceipt(signer.sign(leg), signer.keySet)
  expect(verdict.isValid && costOf(verdict.claims)).toBe(leg.settled.amountNanos)
})
