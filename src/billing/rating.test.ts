import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TokenUsage } from '../engines/engine.ts'
import { batchDiscountBasisPoints, holdAmount, isPriced, rate, startedMinutes } from './rating.ts'
import type { BillableUsage, PinnedPrice, UsageUnits } from './usage.ts'

const standard: PinnedPrice = {
  version: 'standard',
  currency: 'EUR',
  inputNanos: 900n,
  cachedInputNanos: 900n,
  outputNanos: 4_000n,
  reasoningNanos: 21_000n,
}

test('the default list bills input × 0.9 €/M + output × 4 €/M + reasoning × 21 €/M', () => {
  const million = 1_000_000
  expect(
    rate(standard, {
      inputTokens: million,
      cachedInputTokens: 0,
      outputTokens: 0,
      reasoningTokens: 0,
    }),
  ).toBe(900_000_000n)
  expect(
    rate(standard, {
      inputTokens: 0,
      cachedInputTokens: 0,
      outputTokens: million,
      reasoningTokens: 0,
    }),
  ).toBe(4_000_000_000n)
  expect(
    rate(standard, {
      inputTokens: 0,
      cachedInputTokens: 0,
      outputTokens: million,
      reasoningTokens: million,
    }),
  ).toBe(21_000_000_000n)
})

const count = fc.nat({ max: 2_000_000 })
const usages: fc.Arbitrary<TokenUsage> = fc
  .record({
    inputTokens: count,
    outputTokens: count,
    cached: fc.double({ min: 0, max: 1, noNaN: true }),
    reasoning: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ inputTokens, outputTokens, cached, reasoning }) => ({
    inputTokens,
    outputTokens,
    cachedInputTokens: Math.floor(inputTokens * cached),
    reasoningTokens: Math.floor(outputTokens * reasoning),
  }))
const nanos = fc.bigInt({ min: 0n, max: 100_000_000n })
const prices: fc.Arbitrary<PinnedPrice> = fc
  .record({ inputNanos: nanos, cachedInputNanos: nanos, outputNanos: nanos, reasoningNanos: nanos })
  .map((price) => ({ ...price, version: 'v', currency: 'EUR' }))

test('a hold covers every usage within its bounds, whatever the prices', () => {
  fc.assert(
    fc.property(prices, usages, (price, usage) => {
      expect(rate(price, usage) <= holdAmount(price, usage.inputTokens, usage.outputTokens)).toBe(
        true,
      )
    }),
  )
})

test('the charges of two usages add up to the charge of their sum: nothing is rounded', () => {
  fc.assert(
    fc.property(prices, usages, usages, (price, a, b) => {
      const sum: TokenUsage = {
        inputTokens: a.inputTokens + b.inputTokens,
        cachedInputTokens: a.cachedInputTokens + b.cachedInputTokens,
        outputTokens: a.outputTokens + b.outputTokens,
        reasoningTokens: a.reasoningTokens + b.reasoningTokens,
      }
      expect(rate(price, a) + rate(price, b)).toBe(rate(price, sum))
    }),
  )
})

const none: TokenUsage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
}
const priced: PinnedPrice = {
  ...standard,
  units: {
    systemTokenNanos: 300n,
    audioMinuteNanos: 10_000_000n,
    characterNanos: 15n,
    imageNanos: 40_000_000n,
    rerankTokenNanos: 4_000n,
  },
}
const half = { ...priced, discountBasisPoints: batchDiscountBasisPoints }

const unitCases: {
  readonly name: string
  readonly price: PinnedPrice
  readonly usage: BillableUsage
  readonly want: bigint
}[] = [
  { name: 'no usage', price: priced, usage: { ...none, units: {} }, want: 0n },
  {
    name: 'a silent recording',
    price: priced,
    usage: { ...none, units: { audioMs: 0 } },
    want: 0n,
  },
  {
    name: 'a millisecond of audio is a started minute',
    price: priced,
    usage: { ...none, units: { audioMs: 1 } },
    want: 10_000_000n,
  },
  {
    name: 'sixty seconds of audio are one minute',
    price: priced,
    usage: { ...none, units: { audioMs: 60_000 } },
    want: 10_000_000n,
  },
  {
    name: 'the second minute starts a millisecond later',
    price: priced,
    usage: { ...none, units: { audioMs: 60_001 } },
    want: 20_000_000n,
  },
  {
    name: 'speech by the character',
    price: priced,
    usage: { ...none, units: { characters: 1_001 } },
    want: 15_015n,
  },
  {
    name: 'images, with the tokens of their prompt',
    price: priced,
    usage: { ...none, inputTokens: 10, units: { images: 3 } },
    want: 120_009_000n,
  },
  {
    name: 'reranking',
    price: priced,
    usage: { ...none, units: { rerankTokens: 250 } },
    want: 1_000_000n,
  },
  {
    name: 'system tokens are input at a price of their own',
    price: priced,
    usage: { ...none, inputTokens: 100, units: { systemTokens: 40 } },
    want: 60n * 900n + 40n * 300n,
  },
  {
    name: 'system tokens without a price of their own are input',
    price: standard,
    usage: { ...none, inputTokens: 100, units: { systemTokens: 40 } },
    want: 90_000n,
  },
  {
    name: 'cached, system and other input side by side',
    price: { ...priced, cachedInputNanos: 90n },
    usage: { ...none, inputTokens: 100, cachedInputTokens: 50, units: { systemTokens: 40 } },
    want: 10n * 900n + 50n * 90n + 40n * 300n,
  },
  {
    name: 'a batch costs half',
    price: half,
    usage: { ...none, inputTokens: 100, outputTokens: 10, units: { images: 1 } },
    want: (90_000n + 40_000n + 40_000_000n) / 2n,
  },
  {
    name: 'half of an odd nano is rounded down, once for the whole request',
    price: { ...half, inputNanos: 1n, outputNanos: 2n },
    usage: { ...none, inputTokens: 3, outputTokens: 1 },
    want: 2n,
  },
  {
    name: 'a discount of everything leaves nothing',
    price: { ...priced, discountBasisPoints: 10_000 },
    usage: { ...none, inputTokens: 7 },
    want: 0n,
  },
]
for (const { name, price, usage, want } of unitCases) {
  test(`rating: ${name}`, () => expect(rate(price, usage)).toBe(want))
}

test('a unit without a price is told before it is used, and holds none', () => {
  expect(isPriced(standard, { systemTokens: 5, audioMs: 0 })).toBe(true)
  for (const units of [{ audioMs: 1 }, { characters: 1 }, { images: 1 }, { rerankTokens: 1 }]) {
    expect(isPriced(priced, units)).toBe(true)
    expect(isPriced(standard, units)).toBe(false)
    expect(() => holdAmount(standard, 0, 0, units)).toThrow('has a price')
  }
})

const unitCounts: fc.Arbitrary<UsageUnits> = fc.record({
  audioMs: fc.nat({ max: 100_000_000 }),
  characters: count,
  images: fc.nat({ max: 100 }),
  rerankTokens: count,
})
const unitPrices = fc.record({
  systemTokenNanos: nanos,
  audioMinuteNanos: nanos,
  characterNanos: nanos,
  imageNanos: nanos,
  rerankTokenNanos: nanos,
})

test('a hold covers every usage of any units within its bounds, also of discounted ones', () => {
  fc.assert(
    fc.property(
      prices,
      unitPrices,
      usages,
      unitCounts,
      fc.integer({ min: 0, max: 10_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (price, units, usage, counts, discountBasisPoints, share) => {
        const full = { ...price, units, discountBasisPoints }
        const systemTokens = Math.floor((usage.inputTokens - usage.cachedInputTokens) * share)
        const cost = rate(full, { ...usage, units: { ...counts, systemTokens } })
        const hold = holdAmount(full, usage.inputTokens, usage.outputTokens, counts)
        expect(cost >= 0n && cost <= hold).toBe(true)
      },
    ),
  )
})

test('a discount takes off its share, and less than one nano more', () => {
  fc.assert(
    fc.property(
      prices,
      usages,
      fc.integer({ min: 0, max: 10_000 }),
      (price, usage, discountBasisPoints) => {
        const whole = rate(price, usage)
        const rest = rate({ ...price, discountBasisPoints }, usage)
        const lost = whole * BigInt(10_000 - discountBasisPoints) - rest * 10_000n
        expect(lost >= 0n && lost < 10_000n).toBe(true)
      },
    ),
  )
})

test('a recording has as many started minutes as full ones, and one more for a rest', () => {
  fc.assert(
    fc.property(fc.nat({ max: 10 ** 9 }), (audioMs) => {
      const minutes = startedMinutes(audioMs)
      expect(minutes * 60_000 >= audioMs && (minutes - 1) * 60_000 < Math.max(audioMs, 1)).toBe(
        true,
      )
    }),
  )
})
