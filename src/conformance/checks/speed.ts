/** How fast the model is. Facts for people: nothing is required. */
import { choicesOf, streamChat } from '../answer.ts'
import { must, type Check } from '../check.ts'
import { chatBody, counting } from '../prompt.ts'

export const speedFacts: Check = {
  id: 'speed.stream',
  title: 'time to the first token, and tokens for each second after it',
  advice: 'The model could not be measured. Look at the other checks first.',
  categories: ['chat'],
  required: false,
  async run(api, subject) {
    const fields = { max_tokens: 48, stream_options: { include_usage: true } }
    const stream = await streamChat(api, chatBody(subject, counting, fields))
    const times = stream.events
      .filter((_, place) => stream.chunks[place]?.choices?.some(({ delta }) => saysMore(delta)))
      .map(({ atMs }) => atMs)
    const [firstMs, lastMs] = [times[0], times.at(-1)]
    must(choicesOf(stream).length > 0 && firstMs !== undefined, 'nothing was answered')
    const tokens = stream.chunks.at(-1)?.usage?.completion_tokens ?? times.length
    const seconds = ((lastMs ?? firstMs) - firstMs) / 1_000
    const facts = { timeToFirstTokenMs: Math.round(firstMs) }
    if (seconds <= 0 || tokens < 2) return { facts }
    return { facts: { ...facts, tokensPerSecond: Math.round(((tokens - 1) / seconds) * 10) / 10 } }
  },
}

function saysMore(delta: { content?: string | undefined; reasoning_content?: string | undefined }) {
  return Boolean(delta.content || delta.reasoning_content)
}
