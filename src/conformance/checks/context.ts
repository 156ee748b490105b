/** The declared context window: that it is there, and that its end is told. */
import { askChat, chatPath, describeRefusal, mustAnswer, readChat, readRefusal } from '../answer.ts'
import { fail, must, skip, type Api, type Check, type Subject } from '../check.ts'
import { chatBody } from '../prompt.ts'

const categories = ['chat'] as const
/** A longer window is tried up to here, and as far as the model reads in this time. */
const promptTokensMax = 4_096
const readingMs = 20_000
/** A longer window is not overrun: the body would be larger than gateways take. */
const overrunTokensMax = 262_144
/** For the question, the template and the answer. */
const spareTokens = 128
const answerTokens = 12
const filler = 'The sea was calm and the light turned slowly over the water. '
const needle = 'The keeper has hidden the number 7419 under the stairs. '
const question = 'Which number has the keeper hidden?'

export const contextWindow: Check = {
  id: 'context.window',
  title: 'a prompt as long as the declared window is read',
  advice:
    'Long prompts fail although the catalogue promises them. Start the engine with the declared window, or declare the real one.',
  categories,
  required: true,
  limitMs: 120_000,
  async run(api, subject) {
    const window = subject.contextWindowTokens
    if (window === undefined) skip('the catalogue declares no context window')
    const { tokensPerSentence, tokensPerMs } = await measureReading(api, subject)
    const room = window - spareTokens
    const target = Math.floor(Math.min(room, promptTokensMax, tokensPerMs * readingMs))
    if (target < spareTokens) skip('the window is too small, or the model too slow, to tell')
    const half = filler.repeat(Math.floor(target / tokensPerSentence / 2))
    const prompt = `${half}${needle}${half}${question}`
    const answer = await askChat(api, chatBody(subject, prompt, { max_tokens: answerTokens }))
    const read = answer.usage?.prompt_tokens ?? 0
    must(read >= target * 0.8, `${read} tokens were counted of about ${target}`)
    const found = answer.choices[0]?.message.content?.includes('7419') ? 'found' : 'did not find'
    const bound = target < room ? `, of a window of ${window}` : ''
    return {
      note: `${read} tokens were read${bound}; the model ${found} the sentence in their middle`,
      facts: { promptTokens: read },
    }
  },
}

/** By the difference of two prompts, since the template costs the same in both. They begin differently, so that no cache helps. */
async function measureReading(
  api: Api,
  subject: Subject,
): Promise<{ readonly tokensPerSentence: number; readonly tokensPerMs: number }> {
  const read = async (sentences: number): Promise<{ tokens: number; ms: number }> => {
    const body = chatBody(subject, `${sentences}. ${filler.repeat(sentences)}`, { max_tokens: 1 })
    const answer = mustAnswer(await api.send({ path: chatPath, body }))
    return { tokens: readChat(answer).usage?.prompt_tokens ?? 0, ms: answer.durationMs }
  }
  const [short, long] = [await read(2), await read(18)]
  if (long.tokens <= short.tokens) fail('usage does not grow with the prompt')
  return {
    tokensPerSentence: (long.tokens - short.tokens) / 16,
    tokensPerMs: long.tokens / Math.max(long.ms, 1),
  }
}

export const contextExceeded: Check = {
  id: 'context.exceeded',
  title: 'a prompt beyond the window is refused as `context_length_exceeded`, with the numbers',
  advice:
    'Clients cannot shorten what they send, or get answers to half of it. Declare the window that the engine really has.',
  categories,
  required: true,
  async run(api, subject) {
    const window = subject.contextWindowTokens
    if (window === undefined) skip('the catalogue declares no context window')
    if (window > overrunTokensMax) skip(`the window is longer than ${overrunTokensMax} tokens`)
    // Of ever other numbers, each is a token at least.
    const numbers = Array.from({ length: window + 1 }, (_, index) => 1_000 + ((index * 7) % 9_000))
    const body = chatBody(subject, numbers.join(' '), { max_tokens: 1 })
    const answer = await api.send({ path: chatPath, body })
    must(answer.status === 400, `it was ${describeRefusal(answer)}`)
    const { code, message = '' } = readRefusal(answer)
    must(code === 'context_length_exceeded', `it was ${describeRefusal(answer)}`)
    must(/\d{2}/.test(message.replaceAll(/[,. ]/g, '')), 'the message names no number of tokens')
  },
}
