import { expect, test } from 'vitest'
import { sizeInput } from '../../../billing/estimate.ts'
import { documentsMax, parseCohereRequest, parseTeiRequest } from './request.ts'

const body = { model: 'm', query: 'q', documents: ['a', 'b'] }

test('fields that clients leave out, or send as null, have their usual meaning', () => {
  const nothing = {
    top_n: null,
    return_documents: null,
    max_chunks_per_doc: null,
    max_tokens_per_doc: null,
    rank_fields: null,
  }
  expect(parseCohereRequest({ ...body, ...nothing })).toEqual(parseCohereRequest(body))
  expect(parseCohereRequest({ query: 'q', documents: ['a'], model: null }).model).toBeUndefined()
  expect(parseTeiRequest({ query: 'q', texts: ['a'] })).toMatchObject({
    model: undefined,
    rawScores: false,
    returnDocuments: false,
    truncate: false,
  })
})

const refused: readonly (readonly [name: string, fields: object, param: string])[] = [
  ['no query', { query: '' }, 'query'],
  ['no documents', { documents: [] }, 'documents'],
  [
    'too many documents',
    { documents: Array.from({ length: documentsMax + 1 }, () => 'a') },
    'documents',
  ],
  ['an empty document', { documents: ['a', ''] }, 'documents[1]'],
  ['a document without a text', { documents: [{ title: 'a' }] }, 'documents[0]'],
  ['a top_n of none', { top_n: 0 }, 'top_n'],
  ['fields to rank by', { rank_fields: ['title', 'text'] }, 'rank_fields'],
  ['documents of no tokens', { max_tokens_per_doc: 0 }, 'max_tokens_per_doc'],
]
for (const [name, fields, param] of refused) {
  test(`${name} is refused with the field`, () => {
    expect(() => parseCohereRequest({ ...body, ...fields })).toThrow(
      expect.objectContaining({ param }),
    )
  })
}

test('texts are cut at their end only', () => {
  const tei = { query: 'q', texts: ['a'] }
  expect(parseTeiRequest({ ...tei, truncation_direction: 'Right' }).documents).toEqual(['a'])
  expect(() => parseTeiRequest({ ...tei, truncation_direction: 'left' })).toThrow(
    expect.objectContaining({ param: 'truncation_direction' }),
  )
})

test('max_tokens_per_doc cuts what the engine reads to about so many, and not what the client gets back', () => {
  const long = 'One sentence after the other. '.repeat(200)
  const { documents, originals } = parseCohereRequest({
    ...body,
    documents: [long, 'short'],
    max_tokens_per_doc: 100,
  })
  const { estimatedTokens } = sizeInput({ input: documents[0] })
  expect(estimatedTokens).toBeGreaterThan(80)
  expect(estimatedTokens).toBeLessThan(120)
  expect(long.startsWith(documents[0] ?? 'x')).toBe(true)
  expect(documents[1]).toBe('short')
  expect(originals[0]).toEqual({ text: long })
})

test('no character is cut in half', () => {
  for (const tokens of [1, 2, 3, 7, 8]) {
    const [cut] = parseCohereRequest({
      ...body,
      documents: ['😀'.repeat(50)],
      max_tokens_per_doc: tokens,
    }).documents
    expect(cut).toMatch(/^(😀)+$/u)
  }
})
