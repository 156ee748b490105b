/** Embeddings: what is alike in meaning is near. */
import { z } from 'zod'
import { cosine, related, unrelated } from '../../e2e/sentences.ts'
import { hold, yes, type Check } from './check.ts'

const sentences = ['That is a happy person', 'That is a very happy person', 'Today is a sunny day']

const documents = [...unrelated, related.answers[0]]
const ranking = z.object({ results: z.array(z.object({ index: z.number() })) })

export const embeddingChecks: readonly Check[] = [
  {
    name: 'embeddings',
    task: 'embedding',
    async run({ client, offer }) {
      const { data, usage } = await client.embeddings.create({
        model: offer.model,
        input: sentences,
      })
      const [happy = [], happier = [], sunny = []] = data.map(({ embedding }) => embedding)
      hold(happy.length === 384, `${happy.length} dimensions`)
      hold(cosine(happy, happier) > 0.9, 'what is alike is far')
      hold(cosine(happy, sunny) < 0.5, 'what is not alike is near')
      hold(usage.prompt_tokens > 0, 'the texts were not counted')
      return yes
    },
  },
  {
    // There is no reranking model among packages; an embedder ranks by its cosine.
    name: 'reranking by embeddings',
    task: 'embedding',
    async run({ client, offer }) {
      const body = { model: offer.model, query: related.query, documents: [...documents] }
      const answer = ranking.parse(await client.post('/rerank', { body }))
      hold(answer.results.length === documents.length, `${answer.results.length} results`)
      const best = documents[answer.results[0]?.index ?? -1]
      hold(best === related.answers[0], `the best is "${best}"`)
      return yes
    },
  },
]
