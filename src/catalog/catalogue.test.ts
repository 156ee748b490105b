import { expect, test } from 'vitest'
import {
  createCatalogue,
  type CatalogRecords,
  type ModelCategory,
  type ModelRecord,
  type PriceRecord,
  type PriceUnit,
} from './catalogue.ts'

const day = 86_400_000

function model(id: string, change: Partial<ModelRecord> = {}): ModelRecord {
  return {
    id,
    publisher: 'Somebody',
    category: 'chat',
    contextWindowTokens: 8_192,
    capabilities: [],
    phase: 'production',
    endOfSupport: null,
    successor: null,
    enabled: true,
    createdAtMs: 0,
    ...change,
  }
}

function price(
  unit: PriceRecord['unit'],
  amountNanos: string,
  effectiveFromMs = 0,
  modelId = 'm',
): PriceRecord {
  return { priceListId: 'standard', currency: 'EUR', modelId, unit, amountNanos, effectiveFromMs }
}

function catalogue(records: Partial<CatalogRecords>) {
  const whole = { models: [], aliases: [], prices: [], ...records }
  // A gateway gets the records from disk at times.
  return createCatalogue(JSON.parse(JSON.stringify(whole)) as CatalogRecords)
}

test('a model is found by its id and by its aliases', () => {
  const { resolve } = catalogue({
    models: [model('a/b:1')],
    aliases: [{ alias: 'default', modelId: 'a/b:1' }],
  })
  expect(resolve('a/b:1')?.id).toBe('a/b:1')
  expect(resolve('default')?.id).toBe('a/b:1')
  expect(resolve('default')?.aliases).toEqual(['default'])
  expect(resolve('other')).toBeUndefined()
})

test('an alias never hides a model of that name', () => {
  const { resolve } = catalogue({
    models: [model('a'), model('b')],
    aliases: [{ alias: 'a', modelId: 'b' }],
  })
  expect(resolve('a')?.id).toBe('a')
})

test('disabled and retired models are not offered, neither by id nor by alias nor in the list', () => {
  const { resolve, list } = catalogue({
    models: [model('off', { enabled: false }), model('old', { phase: 'retired' }), model('on')],
    aliases: [
      { alias: 'x', modelId: 'off' },
      { alias: 'y', modelId: 'old' },
    ],
  })
  expect(['off', 'old', 'x', 'y'].map(resolve)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
  expect(list().map((entry) => entry.id)).toEqual(['on'])
})

test.each([
  ['nothing', [], undefined],
  ['input only', [price('input_token', '1')], undefined],
  ['output only', [price('output_token', '1')], undefined],
  [
    'another model',
    [price('input_token', '1', 0, 'z'), price('output_token', '1', 0, 'z')],
    undefined,
  ],
])('a chat model with a price for %s has none', (_name, prices, expected) => {
  expect(
    catalogue({ models: [model('m'), model('z')], prices }).priceOf('standard', 'm', day),
  ).toBe(expected)
})

test('an embedding model needs a price for input alone', () => {
  const { priceOf } = catalogue({
    models: [model('m', { category: 'embedding' })],
    prices: [price('input_token', '900')],
  })
  expect(priceOf('standard', 'm', day)).toMatchObject({ inputNanos: 900n, outputNanos: 0n })
})

test('cached input costs what input costs, reasoning what output costs, unless they have prices', () => {
  const base = [price('input_token', '900'), price('output_token', '4000')]
  const plain = catalogue({ models: [model('m')], prices: base })
  expect(plain.priceOf('standard', 'm', 0)).toEqual({
    version: 'standard@1970-01-01T00:00:00.000Z',
    currency: 'EUR',
    inputNanos: 900n,
    cachedInputNanos: 900n,
    outputNanos: 4_000n,
    reasoningNanos: 4_000n,
  })
  const special = catalogue({
    models: [model('m')],
    prices: [...base, price('cached_input_token', '90'), price('reasoning_token', '21000')],
  })
  expect(special.priceOf('standard', 'm', 0)).toMatchObject({
    cachedInputNanos: 90n,
    reasoningNanos: 21_000n,
  })
})

test('a price holds from its moment on, and the version names the newest row used', () => {
  const { priceOf } = catalogue({
    models: [model('m')],
    prices: [
      price('input_token', '1'),
      price('output_token', '2'),
      price('output_token', '20', 10 * day),
      price('image', '5', 20 * day),
    ],
  })
  expect(priceOf('standard', 'm', 10 * day - 1)).toMatchObject({
    outputNanos: 2n,
    version: 'standard@1970-01-01T00:00:00.000Z',
  })
  expect(priceOf('standard', 'm', 10 * day)).toMatchObject({
    outputNanos: 20n,
    version: 'standard@1970-01-11T00:00:00.000Z',
  })
  expect(priceOf('standard', 'm', 20 * day)).toMatchObject({
    outputNanos: 20n,
    units: { imageNanos: 5n },
    version: 'standard@1970-01-21T00:00:00.000Z',
  })
})

const categories: {
  readonly category: ModelCategory
  readonly prices: readonly PriceUnit[]
  readonly offered: boolean
}[] = [
  { category: 'chat', prices: ['input_token', 'output_token'], offered: true },
  { category: 'chat', prices: ['input_token', 'reasoning_token'], offered: false },
  { category: 'chat', prices: ['rerank_token', 'image'], offered: false },
  { category: 'embedding', prices: ['input_token'], offered: true },
  { category: 'embedding', prices: ['output_token'], offered: false },
  { category: 'rerank', prices: ['rerank_token'], offered: true },
  { category: 'rerank', prices: ['input_token', 'output_token'], offered: false },
  { category: 'audio', prices: ['audio_minute'], offered: true },
  { category: 'audio', prices: ['character'], offered: true },
  { category: 'audio', prices: ['input_token'], offered: false },
  { category: 'image', prices: ['image'], offered: true },
  { category: 'image', prices: ['input_token', 'output_token'], offered: false },
]
for (const { category, prices, offered } of categories) {
  test(`a model for ${category} with prices for ${prices.join(', ')} is ${offered ? '' : 'not '}offered`, () => {
    const { priceOf } = catalogue({
      models: [model('m', { category })],
      prices: prices.map((unit) => price(unit, '7')),
    })
    expect(priceOf('standard', 'm', day) !== undefined).toBe(offered)
  })
}

test('each unit is pinned at its own price, and tokens of a model that has none cost nothing', () => {
  const { priceOf } = catalogue({
    models: [model('m', { category: 'audio' })],
    prices: [price('audio_minute', '10000000'), price('character', '15')],
  })
  expect(priceOf('standard', 'm', day)).toMatchObject({
    inputNanos: 0n,
    outputNanos: 0n,
    units: { audioMinuteNanos: 10_000_000n, characterNanos: 15n },
  })
})

test('a price that has not begun is no price, and lists do not mix', () => {
  const { priceOf } = catalogue({
    models: [model('m')],
    prices: [price('input_token', '1', day), price('output_token', '1', 2 * day)],
  })
  expect(priceOf('standard', 'm', 0)).toBeUndefined()
  expect(priceOf('standard', 'm', day)).toBeUndefined()
  expect(priceOf('standard', 'm', 2 * day)).toBeDefined()
  expect(priceOf('public-2026', 'm', 2 * day)).toBeUndefined()
})
