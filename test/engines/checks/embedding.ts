/** Embeddings: what is alike in meaning is near. */
import { cosine } from '../../e2e/sentences.ts'
import { hold, yes, type Check } from './check.ts'

const sentences = ['That is a happy person', 'That is a very happy person', 'Today is a sunny day']

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
]
