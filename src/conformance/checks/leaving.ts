/** A client that leaves in the middle. */
import { chatPath, choicesOf, mustAnswer, readStream } from '../answer.ts'
import { must, type Check } from '../check.ts'
import { chatBody, counting, story } from '../prompt.ts'

const eventsBefore = 3
/** A model that still works for who has left keeps the next one waiting for longer. */
const slowdownMax = 8
const patienceMs = 5_000

export const cancelStream: Check = {
  id: 'cancel.stream',
  title: 'who leaves a stream is let go, and the next request is served as fast as before',
  advice:
    'Engines work on for clients that have left. Look whether the engine notices closed connections.',
  categories: ['chat'],
  required: true,
  async run(api, subject) {
    const stream = { stream: true }
    const ask = async (): Promise<number> => {
      const body = { ...chatBody(subject, counting, { max_tokens: 2 }), ...stream }
      const answer = mustAnswer(await api.stream({ path: chatPath, body }))
      must(choicesOf(readStream(answer)).length > 0, 'there was no answer')
      return answer.durationMs
    }
    const beforeMs = await ask()
    const body = { ...chatBody(subject, story, { max_tokens: 512 }), ...stream }
    const left = mustAnswer(await api.stream({ path: chatPath, body }, eventsBefore))
    must(left.events.length > 0, 'the stream was over before it could be left')
    const leavingMs = left.durationMs - (left.events.at(-1)?.atMs ?? 0)
    const afterMs = await ask()
    must(
      afterMs <= patienceMs + slowdownMax * beforeMs,
      `the next answer took ${Math.round(afterMs)} ms, ${Math.round(beforeMs)} ms before`,
    )
    return { facts: { leavingMs: Math.round(leavingMs), nextAnswerMs: Math.round(afterMs) } }
  },
}
