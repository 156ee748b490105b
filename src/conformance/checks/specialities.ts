/** What only some chat models can: they are asked when the catalogue says that they can. */
import { askChat, chatPath, isUnsupported, mustAnswer } from '../answer.ts'
import { must, skip, type Check } from '../check.ts'
import { chatBody } from '../prompt.ts'

/** One red pixel. */
const pixel =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=='

export const visionImage: Check = {
  id: 'vision.image',
  title: 'an image in the request is taken',
  advice:
    'The catalogue says that the model sees. Start the engine with its projector, or take the capability away.',
  categories: ['chat'],
  capability: 'vision',
  required: true,
  async run(api, subject) {
    const content = [
      { type: 'text', text: 'Which colour is this?' },
      { type: 'image_url', image_url: { url: pixel } },
    ]
    const fields = { max_tokens: 8, messages: [{ role: 'user', content }] }
    const answer = await api.send({ path: chatPath, body: chatBody(subject, '', fields) })
    const isClaimed = subject.capabilities.includes('vision')
    if (!isClaimed && isUnsupported(answer)) skip('the model does not see, and says so')
    mustAnswer(answer)
  },
}

export const reasoningFields: Check = {
  id: 'reasoning.fields',
  title: 'what the model thinks comes beside its answer, not in it',
  advice: 'Users see thoughts in answers. Start the engine with a reasoning parser.',
  categories: ['chat'],
  capability: 'reasoning',
  required: true,
  async run(api, subject) {
    const body = chatBody(subject, 'Is 91 a prime number?', { max_tokens: 64 })
    const message = (await askChat(api, body)).choices[0]?.message
    must(!/<\/?think/.test(message?.content ?? ''), 'thoughts are part of the answer')
    if (message?.reasoning_content) return
    if (!subject.capabilities.includes('reasoning')) skip('the model does not tell its thoughts')
    must(false, 'there is no reasoning_content')
  },
}
