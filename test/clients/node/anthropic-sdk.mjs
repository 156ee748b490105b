import Anthropic from '@anthropic-ai/sdk'
import { apiKey, assert, chatModel, rootUrl, run, weatherSchema } from './check.mjs'

const client = new Anthropic({ baseURL: rootUrl, apiKey, maxRetries: 0, timeout: 120_000 })
const messages = [{ role: 'user', content: 'Say hello.' }]

await run('@anthropic-ai/sdk', {
  async messages() {
    const answer = await client.messages.create({
      model: chatModel,
      max_tokens: 16,
      messages,
      system: 'You are kind.',
    })
    assert.ok(answer.content[0].text)
    assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0)
  },
  async 'messages, streamed'() {
    const stream = client.messages.stream({ model: chatModel, max_tokens: 16, messages })
    let text = ''
    stream.on('text', (piece) => {
      text += piece
    })
    const final = await stream.finalMessage()
    assert.ok(text !== '' && final.content[0].text === text)
  },
  async tools() {
    const answer = await client.messages.create({
      model: chatModel,
      max_tokens: 128,
      temperature: 0,
      messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
      tools: [{ name: 'weather', input_schema: weatherSchema }],
      tool_choice: { type: 'tool', name: 'weather' },
    })
    const call = answer.content.at(-1)
    assert.equal(call.type, 'tool_use')
    assert.ok('city' in call.input)
  },
  async 'counted tokens are billed tokens'() {
    const { input_tokens: counted } = await client.messages.countTokens({
      model: chatModel,
      messages,
    })
    const { usage } = await client.messages.create({ model: chatModel, max_tokens: 1, messages })
    assert.equal(counted, usage.input_tokens + usage.cache_read_input_tokens)
  },
  async 'typed errors'() {
    const call = client.messages.create({ model: 'no-such', max_tokens: 1, messages })
    await assert.rejects(call, Anthropic.NotFoundError)
  },
})
