import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateText, Output, streamText, tool } from 'ai'
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

const compatible = createOpenAICompatible({
  name: 'colonnade',
  baseURL: baseUrl,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
})
const openai = createOpenAI({ baseURL: baseUrl, apiKey })
const call = { prompt: 'Say hello.', maxOutputTokens: 32, maxRetries: 0 }

await run('ai', {
  async generateText() {
    const { text, usage } = await generateText({ model: compatible(chatModel), ...call })
    assert.ok(text && usage.outputTokens > 0)
  },
  async streamText() {
    const result = streamText({ model: compatible(chatModel), ...call })
    let text = ''
    for await (const piece of result.textStream) text += piece
    assert.ok(text)
    assert.ok(['stop', 'length'].includes(await result.finishReason))
    assert.ok((await result.usage).outputTokens > 0)
  },
  async 'tools, streamed'() {
    const weather = tool({
      description: 'The weather in a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: () => 'sunny',
    })
    const result = streamText({
      ...call,
      model: compatible(chatModel),
      prompt: 'What is the weather in Paris?',
      tools: { weather },
      toolChoice: 'required',
      maxOutputTokens: 64,
    })
    await result.consumeStream()
    assert.equal((await result.toolCalls)[0].toolName, 'weather')
  },
  async 'structured output'() {
    const { output } = await generateText({
      ...call,
      model: compatible(chatModel),
      prompt: 'Ann is 30 years old.',
      temperature: 0,
      maxOutputTokens: 64,
      output: Output.object({ schema: z.object({ name: z.string(), age: z.number() }) }),
    })
    assert.ok('age' in output)
  },
  async 'the Responses API'() {
    const result = streamText({ model: openai(chatModel), ...call })
    let text = ''
    for await (const piece of result.textStream) text += piece
    assert.ok(text)
  },
  async embedMany() {
    const { embeddings } = await embedMany({
      model: compatible.textEmbeddingModel(embeddingModel),
      values: sentences,
      maxRetries: 0,
    })
    sameDirection(embeddings)
  },
})
