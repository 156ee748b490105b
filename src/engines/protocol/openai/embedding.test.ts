import { expect, test } from 'vitest'
import type { StreamPart } from '../../engine.ts'
import { openAiEmbedding } from './embedding.ts'

async function read(data: unknown, input: readonly string[]): Promise<readonly StreamPart[]> {
  async function* body(): AsyncGenerator<Buffer> {
    yield await Promise.resolve(Buffer.from(JSON.stringify({ data })))
  }
  const answer = { mediaType: 'application/json', headers: {}, body: body() }
  const task = { kind: 'embedding' as const, input }
  const request = { model: 'm', task, stream: false, cacheSalt: undefined }
  return await Array.fromAsync(openAiEmbedding.read(answer, request))
}

test('vectors are ordered by their indexes, or as they came where they have none', async () => {
  const first = { embedding: [1, 2] }
  const second = { embedding: [3, 4] }
  const vectors = { type: 'embeddings', vectors: [first.embedding, second.embedding] }
  const numbered = [
    { index: 1, ...second },
    { index: 0, ...first },
  ]
  expect((await read(numbered, ['a', 'b']))[0]).toEqual(vectors)
  expect((await read([first, second], ['a', 'b']))[0]).toEqual(vectors)
})

const unusable: readonly (readonly [string, unknown])[] = [
  ['a vector too few', [{ index: 0, embedding: [1] }]],
  ['one index twice', [0, 0].map((index) => ({ index, embedding: [1] }))],
  ['an index beyond the inputs', [0, 2].map((index) => ({ index, embedding: [1] }))],
  ['vectors of different lengths', [{ embedding: [1] }, { embedding: [1, 2] }]],
  ['an empty vector', [{ embedding: [] }, { embedding: [] }]],
  ['a vector with null', [{ embedding: [null] }, { embedding: [1] }]],
  ['base64 that was not asked for', [{ embedding: 'AACAPw==' }, { embedding: 'AACAPw==' }]],
  ['no list', null],
]
for (const [name, data] of unusable) {
  test(`${name} is an answer that cannot be used`, async () => {
    await expect(read(data, ['a', 'b'])).rejects.toMatchObject({
      code: 'upstream.invalid_response',
    })
  })
}
