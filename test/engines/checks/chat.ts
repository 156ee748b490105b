/** Chat: whole and streamed, what it costs, when it ends, and how it can be bound. */
import type OpenAI from 'openai'
import type { ChatCompletionChunk, ChatCompletionCreateParams } from 'openai/resources'
import { hold, no, yes, type Check, type CheckContext } from './check.ts'

type Body = Omit<ChatCompletionCreateParams, 'model' | 'stream' | 'stream_options'>

const capital: Body = {
  messages: [{ role: 'user', content: 'What is the capital of France?' }],
  temperature: 0,
  seed: 7,
  max_tokens: 24,
}

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Tells the weather in a city.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['Paris', 'Rome'] } },
      required: ['city'],
      additionalProperties: false,
    },
  },
} as const

/** With calls before it, which a small model takes as its example. */
const weatherMessages: Body['messages'] = [
  ...exampleCall('call_1', 'Rome'),
  ...exampleCall('call_2', 'Paris'),
  ...exampleCall('call_3', 'Rome'),
  { role: 'user', content: 'What is the weather in Paris?' },
]

function exampleCall(id: string, city: string): Body['messages'] {
  const call = { name: 'get_weather', arguments: JSON.stringify({ city }) }
  return [
    { role: 'user', content: `What is the weather in ${city}?` },
    { role: 'assistant', content: null, tool_calls: [{ id, type: 'function', function: call }] },
    { role: 'tool', tool_call_id: id, content: '24 degrees' },
  ]
}

interface Streamed {
  readonly text: string
  readonly finishReason: string | undefined
  readonly usage: OpenAI.CompletionUsage | undefined
  readonly chunks: readonly ChatCompletionChunk[]
}

const whole = ({ client, offer }: CheckContext, body: Body) =>
  client.chat.completions.create({ ...body, model: offer.model, stream: false })

async function streamed({ client, offer }: CheckContext, body: Body): Promise<Streamed> {
  const stream = await client.chat.completions.create({
    ...body,
    model: offer.model,
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks: ChatCompletionChunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  const choices = chunks.flatMap((chunk) => chunk.choices)
  return {
    text: choices.map(({ delta }) => delta.content ?? '').join(''),
    finishReason: choices.find((choice) => choice.finish_reason)?.finish_reason ?? undefined,
    usage: chunks.findLast((chunk) => chunk.usage)?.usage ?? undefined,
    chunks,
  }
}

export const chatChecks: readonly Check[] = [
  {
    name: 'chat',
    task: 'chat',
    async run(context) {
      const { choices, usage } = await whole(context, capital)
      hold((choices[0]?.message.content ?? '') !== '', 'an answer without text')
      hold(['stop', 'length'].includes(choices[0]?.finish_reason ?? ''), 'no finish reason')
      hold((usage?.prompt_tokens ?? 0) > 5, 'the prompt was not counted')
      const sum = (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0)
      hold(usage?.total_tokens === sum, 'the total is not the sum')
      return yes
    },
  },
  {
    name: 'streamed',
    task: 'chat',
    async run(context) {
      const { chunks, text, finishReason } = await streamed(context, capital)
      hold(chunks.length > 3, 'the answer came in one piece')
      hold(text !== '' && finishReason !== undefined, 'a stream without text or end')
      hold(chunks[0]?.choices[0]?.delta.role === 'assistant', 'the first chunk names no role')
      hold(chunks.at(-1)?.usage !== undefined, 'the last chunk has no usage')
      return yes
    },
  },
  {
    name: 'usage equal, streamed or whole',
    task: 'chat',
    async run(context) {
      const once = await whole(context, capital)
      const again = await streamed(context, capital)
      const { usage } = once
      hold(usage !== undefined && again.usage !== undefined, 'one of them has no usage')
      hold(usage?.prompt_tokens === again.usage?.prompt_tokens, 'prompts are counted differently')
      if (once.choices[0]?.message.content !== again.text) return no('texts differ at one seed')
      hold(
        usage?.completion_tokens === again.usage?.completion_tokens,
        `the same text is ${usage?.completion_tokens} tokens whole and ${again.usage?.completion_tokens} streamed`,
      )
      return yes
    },
  },
  {
    name: 'max_tokens',
    task: 'chat',
    async run(context) {
      const { choices, usage } = await whole(context, { ...capital, max_tokens: 5 })
      hold(choices[0]?.finish_reason === 'length', `it ended by ${choices[0]?.finish_reason}`)
      hold(usage?.completion_tokens === 5, `${usage?.completion_tokens} tokens instead of 5`)
      return yes
    },
  },
  {
    name: 'stop',
    task: 'chat',
    async run(context) {
      const messages = [{ role: 'user', content: 'Count from 1 to 9.' }] as const
      const body = { ...capital, messages: [...messages], max_tokens: 60 }
      const { text } = await streamed(context, body)
      const stop = text.slice(4, 8)
      hold(stop.length === 4, 'too little text to stop in')
      const stopped = await streamed(context, { ...body, stop: [stop] })
      hold(!stopped.text.includes(stop), 'the stop text was sent')
      hold(stopped.text === text.slice(0, text.indexOf(stop)), 'another text than before the stop')
      hold(stopped.finishReason === 'stop', `it ended by ${stopped.finishReason}`)
      return yes
    },
  },
  {
    name: 'tools',
    task: 'chat',
    async run(context) {
      const body: Body = {
        ...capital,
        messages: weatherMessages,
        max_tokens: 100,
        tools: [weather],
        tool_choice: 'required',
        // A small model knows no end of calls.
        parallel_tool_calls: false,
      }
      const { choices } = await whole(context, body)
      const [call] = choices[0]?.message.tool_calls ?? []
      if (call?.type !== 'function') return no('the model answered in text')
      hold(call.function.name === 'get_weather', `it called ${call.function.name}`)
      const value: unknown = JSON.parse(call.function.arguments)
      hold(typeof value === 'object' && value !== null && 'city' in value, 'arguments of its own')
      hold(choices[0]?.finish_reason === 'tool_calls', `it ended by ${choices[0]?.finish_reason}`)
      const { chunks } = await streamed(context, body)
      const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])
      hold(deltas[0]?.function?.name === 'get_weather', 'the streamed call has no name')
      const pieces = deltas.map((delta) => delta.function?.arguments ?? '').join('')
      const again: unknown = JSON.parse(pieces)
      hold(JSON.stringify(again) === JSON.stringify(value), 'other arguments when it is streamed')
      return yes
    },
  },
  {
    name: 'json_schema',
    task: 'chat',
    async run(context) {
      const { parameters } = weather.function
      const { choices } = await whole(context, {
        ...capital,
        max_tokens: 100,
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'place', strict: true, schema: parameters },
        },
      })
      const value: unknown = JSON.parse(choices[0]?.message.content ?? '')
      hold(typeof value === 'object' && value !== null && 'city' in value, 'another schema')
      return yes
    },
  },
  {
    name: 'logprobs',
    task: 'chat',
    async run(context) {
      const { choices } = await whole(context, { ...capital, logprobs: true, top_logprobs: 3 })
      const content = choices[0]?.logprobs?.content
      if (!content || content.length === 0) return no('none in the answer')
      hold(content[0]?.top_logprobs.length === 3, `${content[0]?.top_logprobs.length} alternatives`)
      hold(
        content.every(({ logprob }) => logprob <= 0),
        'a probability above 1',
      )
      return yes
    },
  },
  {
    name: 'n',
    task: 'chat',
    async run(context) {
      const { choices } = await whole(context, { ...capital, temperature: 1, n: 2 })
      hold(choices.length === 2, `${choices.length} choices instead of 2`)
      hold(
        choices.every(({ message }) => message.content !== ''),
        'an empty choice',
      )
      return yes
    },
  },
]
