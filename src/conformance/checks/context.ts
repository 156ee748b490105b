/** The declared context window: that it is there, and that its end is told. */
import { askChat, chatPath, describeRefusal, readRefusal } from '../answer.ts'
import { fail, must, skip, type Api, type Check, type Subject } from '../check.ts'
import { chatBody } from '../prompt.ts'

const categories = ['chat'] as const
/** A longer window is tried up to here: reading costs time. */
const promptTokensMax = 4_096
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
  limitMs: 180_000,
  async run(api, subject) {
    const window = subject.contextWindowTokens
    if (window === undefined) skip('the catalogue declares no context window')
    const target = Math.min(window - spareTokens, promptTokensMax)
    if (target < spareTokens) skip('the window is too small to be measured')
    const sentences = Math.floor(target / (await measureSentence(api, subject)))
    const half = filler.repeat(Math.floor(sentences / 2))
    const prompt = `${half}${needle}${half}${question}`
    const answer = await askChat(api, chatBody(subject, prompt, { max_tokens: answerTokens }))
    const read = answer.usage?.prompt_tokens ?? 0
    must(read >= target * 0.8, `${read} tokens were counted of about ${target}`)
    const found = answer.choices[0]?.message.content?.includes('7419') ? 'found' : 'did not find'
    const bound = target === promptTokensMax ? `, of a window of ${window}` : ''
    return {
      note: `${read} tokens were read${bound}; the model ${found} the sentence in their middle`,
      facts: { promptTokens: read },
    }
  },
}

/** Tokens of one filling sentence, by the difference of two prompts: the template costs the same in both. */
async function measureSentence(api: Api, subject: Subject): Promise<number> {
  const count = async (sentences: number): Promise<number> => {
    const body = chatBody(subject, filler.repeat(sentences), { max_tokens: 1 })
    return (await askChat(api, body)).usage?.prompt_tokens ?? 0
  }
  const tokens = ((await count(6)) - (await count(2))) / 4
  if (tokens <= 0) fail('usage does not grow with the prompt')
  return tokens
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
    // No tokenizer makes fewer tokens of ever other numbers than one for four digits.
    const numbers = Array.from({ length: window }, (_, index) => 1_000 + ((index * 7) % 9_000))
    const body = chatBody(subject, numbers.join(' '), { max_tokens: 1 })
    const answer = await api.send({ path: chatPath, body })
    must(answer.status === 400, `it was ${describeRefusal(answer)}`)
    const { code, message = '' } = readRefusal(answer)
    must(code === 'context_length_exceeded', `it was ${describeRefusal(answer)}`)
    must(/\d{2}/.test(message.replaceAll(/[,. ]/g, '')), 'the message names no number of tokens')
  },
}
