/** What a chat request may ask for, and how its answer must show it. */
import { askChat, askIfSupported, chatPath, readChat, streamChat, textOf } from '../answer.ts'
import { must, skip, type Check } from '../check.ts'
import { chatBody, counting, story } from '../prompt.ts'

const categories = ['chat'] as const

export const chatModel: Check = {
  id: 'chat.message',
  title: 'an answer is one message of the assistant, under an id of its own',
  advice: 'SDKs cannot read answers. The server behind the model does not speak this dialect.',
  categories,
  required: true,
  async run(api, subject) {
    const fields = chatBody(subject, 'Say hello.')
    const first = await askChat(api, fields)
    const second = await askChat(api, fields)
    must(first.object === 'chat.completion', 'the answer is no chat.completion')
    must(first.id && first.id !== second.id, 'two answers have the same id, or none')
    must(first.choices.length === 1, `there are ${first.choices.length} choices`)
    const message = first.choices[0]?.message
    must(message?.role === 'assistant', 'the message is not of the assistant')
    must(message.content || message.reasoning_content, 'the message is empty')
  },
}

export const chatLength: Check = {
  id: 'chat.max-tokens',
  title: 'max_tokens is kept, and an answer that it cut says `length`',
  advice: 'Answers cost more than clients allowed, or cut answers look whole.',
  categories,
  required: true,
  async run(api, subject) {
    const limit = 6
    const body = { ...chatBody(subject, counting), max_tokens: limit }
    const answer = await askChat(api, body)
    const used = answer.usage?.completion_tokens ?? 0
    must(used <= limit, `${used} tokens were answered, although ${limit} are the most`)
    const reason = answer.choices[0]?.finish_reason
    must(used < limit || reason === 'length', 'an answer at its limit does not say `length`')
    if (used < limit) return { note: 'the model ended by itself before the limit' }
  },
}

export const chatStop: Check = {
  id: 'chat.stop',
  title: 'a stop sequence ends the answer with `stop` and is not part of it',
  advice:
    'Agents that end turns by stop sequences read too far. Check `stop` support of the engine.',
  categories,
  required: true,
  async run(api, subject) {
    const body = chatBody(subject, counting)
    const text = (await askChat(api, body)).choices[0]?.message.content ?? ''
    const stop = middleOf(text)
    if (stop === undefined) skip('the model says too little to be stopped in between')
    const cut = await askChat(api, { ...body, stop: [stop] })
    const shown = cut.choices[0]?.message.content ?? ''
    must(!shown.includes(stop), 'the stop sequence is part of the answer')
    if (!text.startsWith(shown)) return { note: 'the model answers otherwise each time' }
    must(cut.choices[0]?.finish_reason === 'stop', 'the finish reason is not `stop`')
    const stream = textOf(await streamChat(api, { ...body, stop }))
    must(!stream.includes(stop), 'the stop sequence is part of the streamed answer')
  },
}

/** A few characters that stand behind the beginning: what the model says there ends the next answer. */
function middleOf(text: string): string | undefined {
  const trimmed = text.trim()
  const middle = trimmed.slice(trimmed.length / 2, trimmed.length / 2 + 3).trim()
  return trimmed.length >= 6 && middle !== '' ? middle : undefined
}

export const chatChoices: Check = {
  id: 'chat.n',
  title: 'n choices are n answers with places of their own',
  advice: 'Clients that ask for several answers get one. The engine does not know `n`.',
  categories,
  required: true,
  async run(api, subject) {
    const body = chatBody(subject, story, { max_tokens: 8, n: 2, temperature: 1 })
    const answer = await askIfSupported(api, { path: chatPath, body })
    if (!answer) skip('the engine does not give several answers, and says so')
    const { choices } = readChat(answer)
    must(choices.length === 2, `there are ${choices.length} choices, not 2`)
    const places = new Set(choices.map(({ index }) => index))
    must(places.has(0) && places.has(1), 'the places of the choices are not 0 and 1')
  },
}

export const chatSeed: Check = {
  id: 'chat.seed',
  title: 'the same seed gives the same answer',
  advice:
    'Tests of clients that rely on seeds are not repeatable. Engines that batch requests seldom can.',
  categories,
  required: false,
  async run(api, subject) {
    const body = chatBody(subject, story, { max_tokens: 16, temperature: 1, seed: 11 })
    const first = (await askChat(api, body)).choices[0]?.message
    const second = (await askChat(api, body)).choices[0]?.message
    must(
      first?.content === second?.content && first?.reasoning_content === second?.reasoning_content,
      'two answers with one seed differ',
    )
  },
}

export const chatLogprobs: Check = {
  id: 'chat.logprobs',
  title: 'logprobs come for each token, with as many alternatives as were asked for',
  advice: 'Clients that weigh answers cannot. Check that the engine is started with logprobs.',
  categories,
  required: true,
  async run(api, subject) {
    const body = chatBody(subject, counting, { max_tokens: 4, logprobs: true, top_logprobs: 2 })
    const answer = await askIfSupported(api, { path: chatPath, body })
    if (!answer) skip('the engine gives no logprobs, and says so')
    const tokens = readChat(answer).choices[0]?.logprobs?.content ?? []
    must(tokens.length > 0, 'there are no logprobs')
    for (const { token, logprob, top_logprobs: alternatives = [] } of tokens) {
      must(token !== undefined && logprob !== undefined, 'a token has no logprob')
      must(logprob <= 0, 'a logprob is above 0')
      must(alternatives.length <= 2, `a token has ${alternatives.length} alternatives, not 2`)
    }
  },
}

export const chatRoles: Check = {
  id: 'chat.roles',
  title: 'several system messages, and the developer role, are understood',
  advice:
    'Agents send several instructions. The chat template of the model knows only one; engines can merge them.',
  categories,
  required: true,
  async run(api, subject) {
    for (const role of ['system', 'developer']) {
      const messages = [
        { role, content: 'You answer in English.' },
        { role: 'user', content: 'Good morning.' },
        { role: 'assistant', content: 'Good morning!' },
        { role, content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: 'Say hello.' }] },
      ]
      const { choices } = await askChat(api, chatBody(subject, '', { max_tokens: 8, messages }))
      const message = choices[0]?.message
      must(
        message?.content || message?.reasoning_content,
        `there is no answer to messages with the role ${role}`,
      )
    }
  },
}

export const chatUnicode: Check = {
  id: 'chat.unicode',
  title: 'characters of several bytes arrive whole, streamed and not',
  advice:
    'Languages other than English are garbled. The engine cuts characters between tokens, or a proxy changes bytes.',
  categories,
  required: true,
  async run(api, subject) {
    const words = 'Grüße aus Łódź, 你好, こんにちは, 🙂👩‍🚀'
    const body = chatBody(subject, `Repeat this, and nothing else: ${words}`, { max_tokens: 48 })
    // Where a schema can be asked for, the model has no other choice than to write these characters.
    const schema = { type: 'object', properties: { said: { enum: [words] } }, required: ['said'] }
    const format = { type: 'json_schema', json_schema: { name: 'said', strict: true, schema } }
    const asked = { ...body, response_format: format }
    const supported = await askIfSupported(api, { path: chatPath, body: asked })
    const stream = await streamChat(api, supported ? asked : body)
    must(stream.isUtf8, 'the stream holds bytes that are no character')
    const texts = [textOf(stream), readChat(supported ?? stream).choices[0]?.message.content ?? '']
    must(texts.every(isWhole), 'a character was broken')
    const many = texts[0]?.match(/[^\0-\x7f]/gu)?.length ?? 0
    return { note: `${many} characters of several bytes were streamed` }
  },
}

/** Neither a replacement character nor half of a pair. */
function isWhole(text: string): boolean {
  return !text.includes('\ufffd') && text.isWellFormed()
}
