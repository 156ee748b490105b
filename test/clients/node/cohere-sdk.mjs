import { CohereClientV2 } from 'cohere-ai'
import { apiKey, assert, embeddingModel, rootUrl, run } from './check.mjs'

const client = new CohereClientV2({ token: apiKey, environment: rootUrl })

await run('cohere-ai', {
  async rerank() {
    const { results } = await client.rerank({
      model: embeddingModel,
      query: 'What is the capital of France?',
      documents: [
        'Berlin is a city in Germany.',
        'Bananas are yellow.',
        'Paris is the capital of France.',
      ],
      topN: 2,
    })
    assert.equal(results.length, 2)
    assert.equal(results[0].index, 2)
    assert.ok(results[0].relevanceScore <= 1 && results[1].relevanceScore >= 0)
  },
})
