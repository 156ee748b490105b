/** How a chat answer arrives piece by piece. */
import { choicesOf, streamChat, type ChatStream } from '../answer.ts'
import { must, type Check } from '../check.ts'
import { chatBody, story } from '../prompt.ts'

const categories = ['chat'] as const

export const streamFraming: Check = {
  id: 'stream.framing',
  title: 'a stream is server-sent events, ends with [DONE], and each event is a chunk',
  advice:
    'SDKs cannot read the stream. Look for a proxy that buffers or changes it between clients and the gateway.',
  categories,
  required: true,
  async run(api, subject) {
    const stream = await streamChat(api, chatBody(subject, story))
    const type = stream.headers['content-type'] ?? ''
    must(type.startsWith('text/event-stream'), 'the content type is not text/event-stream')
    must(stream.isComplete, 'the stream was broken off')
    const ends = stream.events.filter(({ data }) => data === '[DONE]').length
    must(ends === 1, `there are ${ends} [DONE] events`)
    must(stream.events.at(-1)?.data === '[DONE]', 'something follows [DONE]')
    const strange = stream.chunks.filter((chunk) => chunk?.object !== 'chat.completion.chunk')
    must(strange.length === 0, `${strange.length} events are no chat.completion.chunk`)
    must(
      stream.chunks.every((chunk) => Array.isArray(chunk?.choices)),
      'a chunk has no list of choices',
    )
  },
}

export const streamIdentity: Check = {
  id: 'stream.identity',
  title: 'all chunks of a stream have one id, one moment of creation and one model',
  advice: 'Clients that gather chunks by id mix answers up. The server makes up names in between.',
  categories,
  required: true,
  async run(api, subject) {
    const { chunks } = await streamChat(api, chatBody(subject, story))
    for (const field of ['id', 'created', 'model'] as const) {
      const values = new Set(chunks.map((chunk) => chunk?.[field]))
      must(!values.has(undefined), `a chunk has no ${field}`)
      must(values.size === 1, `there are ${values.size} values of ${field}`)
    }
  },
}

export const streamOrder: Check = {
  id: 'stream.order',
  title: 'the role comes first, then the text, then one finish reason, for each choice',
  advice:
    'Clients lose the end of answers, or wait for it. The engine ends its streams without saying why.',
  categories,
  required: true,
  async run(api, subject) {
    const stream = await streamChat(api, chatBody(subject, story))
    const choices = choicesOf(stream)
    must(choices.length > 0, 'no chunk is of choice 0')
    must(choices[0]?.delta.role === 'assistant', 'the first chunk does not name the role')
    const roles = choices.filter(({ delta }) => delta.role !== undefined).length
    must(roles === 1, `the role is named ${roles} times`)
    const finishes = choices.filter(({ finish_reason: reason }) => reason !== undefined).length
    must(finishes === 1, `there are ${finishes} finish reasons`)
    must(choices.at(-1)?.finish_reason !== undefined, 'something follows the finish reason')
    must(hasText(stream), 'no chunk holds any text')
  },
}

function hasText(stream: ChatStream): boolean {
  return choicesOf(stream).some(({ delta }) => delta.content || delta.reasoning_content)
}

export const streamUsage: Check = {
  id: 'stream.usage',
  title: 'usage comes in a last chunk of its own when it is asked for, and only then',
  advice: 'Clients that add usage up count wrongly. Check `stream_options` support of the engine.',
  categories,
  required: true,
  async run(api, subject) {
    const silent = await streamChat(api, chatBody(subject, story, { max_tokens: 4 }))
    must(
      silent.chunks.every((chunk) => chunk?.usage === undefined),
      'usage is sent without being asked for',
    )
    const asked = { max_tokens: 4, stream_options: { include_usage: true } }
    const { chunks } = await streamChat(api, chatBody(subject, story, asked))
    const withUsage = chunks.filter((chunk) => chunk?.usage !== undefined)
    must(withUsage.length === 1, `${withUsage.length} chunks hold usage, although it is asked for`)
    must(chunks.at(-1)?.usage !== undefined, 'usage is not in the last chunk')
    must(chunks.at(-1)?.choices?.length === 0, 'the chunk with usage has choices')
  },
}
