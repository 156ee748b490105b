import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { z } from 'zod'
import {
  apiKey,
  assert,
  baseUrl,
  chatModel,
  embeddingModel,
  run,
  sameDirection,
  sentences,
} from './check.mjs'

const configuration = { baseURL: baseUrl }
const model = (options = {}) =>
  new ChatOpenAI({
    model: chatModel,
    apiKey,
    configuration,
    maxRetries: 0,
    maxTokens: 32,
    ...options,
  })

await run('@langchain/openai', {
  async ChatOpenAI() {
    const answer = await model().invoke('Say hello.')
    assert.ok(answer.content && answer.usage_metadata.total_tokens > 0)
  },
  async 'ChatOpenAI, streamed'() {
    let text = ''
    for await (const piece of await model().stream('Say hello.')) text += piece.content
    assert.ok(text)
  },
  async 'bound tools'() {
    const tool = {
      name: 'weather',
      description: 'The weather in a city.',
      schema: z.object({ city: z.string() }),
    }
    const bound = model({ maxTokens: 64 }).bindTools([tool], { tool_choice: 'required' })
    const answer = await bound.invoke('What is the weather in Paris?')
    assert.equal(answer.tool_calls[0].name, 'weather')
  },
  async OpenAIEmbeddings() {
    const embedder = new OpenAIEmbeddings({
      model: embeddingModel,
      apiKey,
      configuration,
      maxRetries: 0,
    })
    sameDirection(await embedder.embedDocuments(sentences))
  },
})
