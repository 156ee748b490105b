import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'
import { zodResponseFormat } from 'openai/helpers/zod'
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
  weatherSchema,
} from './check.mjs'

const client = new OpenAI({ baseURL: baseUrl, apiKey, maxRetries: 0, timeout: 120_000 })
const messages = [{ role: 'user', content: 'Say hello.' }]

await run('openai', {
  async chat() {
    const answer = await client.chat.completions.create({
      model: chatModel,
      messages,
      max_tokens: 16,
    })
    assert.ok(answer.choices[0].message.content)
  },
  async 'chat, streamed'() {
    const stream = client.chat.completions.stream({
      model: chatModel,
      messages,
      max_tokens: 16,
      stream_options: { include_usage: true },
    })
    const final = await stream.finalChatCompletion()
    assert.ok(final.choices[0].message.content)
    assert.ok((await stream.totalUsage()).completion_tokens > 0)
  },
  async tools() {
    const answer = await client.chat.completions.create({
      model: chatModel,
      messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
      tools: [{ type: 'function', function: { name: 'weather', parameters: weatherSchema } }],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      max_tokens: 128,
      temperature: 0,
    })
    assert.ok('city' in JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments))
  },
  async 'structured output'() {
    const person = z.object({ name: z.string(), age: z.number().int() })
    const answer = await client.chat.completions.parse({
      model: chatModel,
      messages: [{ role: 'user', content: 'Ann is 30 years old. Fill the form.' }],
      response_format: zodResponseFormat(person, 'person'),
      max_tokens: 64,
      temperature: 0,
    })
    person.parse(answer.choices[0].message.parsed)
  },
  async 'text completion'() {
    const answer = await client.completions.create({
      model: chatModel,
      prompt: 'Once upon a time',
      max_tokens: 8,
    })
    assert.ok(answer.choices[0].text)
  },
  async responses() {
    const answer = await client.responses.create({
      model: chatModel,
      input: 'Say hello.',
      max_output_tokens: 16,
    })
    assert.ok(answer.output_text)
  },
  async 'responses, streamed'() {
    const stream = client.responses.stream({
      model: chatModel,
      input: 'Say hello.',
      max_output_tokens: 16,
    })
    const kinds = []
    for await (const event of stream) kinds.push(event.type)
    assert.equal(kinds[0], 'response.created')
    assert.ok(['response.completed', 'response.incomplete'].includes(kinds.at(-1)))
  },
  async 'responses over WebSocket'() {
    const socket = new ResponsesWS(client)
    const kinds = []
    await new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('event', (event) => {
        kinds.push(event.type)
        if (event.type === 'response.completed' || event.type === 'response.incomplete') resolve()
      })
      socket.send({
        type: 'response.create',
        model: chatModel,
        input: 'Say hello.',
        max_output_tokens: 16,
      })
    })
    socket.close()
    assert.equal(kinds[0], 'response.created')
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: embeddingModel, input: sentences })
    sameDirection(answer.data.map((item) => item.embedding))
  },
  async models() {
    const ids = []
    for await (const model of client.models.list()) ids.push(model.id)
    assert.ok(ids.includes(chatModel))
    assert.equal((await client.models.retrieve(chatModel)).id, chatModel)
  },
  async 'typed errors'() {
    const missing = client.chat.completions.create({ model: 'no-such', messages })
    await assert.rejects(missing, OpenAI.NotFoundError)
    const stranger = new OpenAI({ baseURL: baseUrl, apiKey: 'wrong', maxRetries: 0 })
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError)
  },
})
