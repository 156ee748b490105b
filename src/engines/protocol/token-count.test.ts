import { expect, test } from 'vitest'
import type { ChatTask, EngineRequest } from '../engine.ts'
import { countByTemplate, countByTokenize } from './token-count.ts'

const call = { signal: new AbortController().signal, requestId: 'req_test' }
const request: EngineRequest<ChatTask> = {
  model: 'm',
  task: {
    kind: 'chat',
    body: { messages: [{ role: 'user', content: 'hi' }], temperature: 0, max_tokens: 5 },
  },
  stream: false,
  cacheSalt: 'secret',
}

function answering(answers: Readonly<Record<string, unknown>>) {
  const asked: { readonly path: string; readonly body: unknown }[] = []
  const post = (path: string, body: unknown): Promise<Buffer> => {
    asked.push({ path, body: JSON.parse(JSON.stringify(body)) })
    return Promise.resolve(Buffer.from(JSON.stringify(answers[path])))
  }
  return { asked, post }
}

test('an engine that tokenizes chats is asked once, for what makes the prompt and nothing else', async () => {
  const { asked, post } = answering({ '/tokenize': { count: 9, max_model_len: 64, tokens: [] } })
  expect(await countByTokenize(request, post, call)).toBe(9)
  const { messages } = request.task.body
  expect(asked).toEqual([{ path: '/tokenize', body: { model: 'm', messages } }])
})

test('an engine that tokenizes texts is asked for the text first', async () => {
  const { asked, post } = answering({
    '/apply-template': { prompt: '<user>hi<assistant>' },
    '/tokenize': { tokens: [1, 2, 3] },
  })
  expect(await countByTemplate(request, post, call)).toBe(3)
  expect(asked[1]?.body).toEqual({
    content: '<user>hi<assistant>',
    add_special: true,
    parse_special: true,
  })
})

test('an answer without a count is no count', async () => {
  for (const count of [undefined, null, '9', -1, 0, 1.5, NaN]) {
    const { post } = answering({ '/tokenize': { count } })
    await expect(countByTokenize(request, post, call)).rejects.toMatchObject({
      code: 'upstream.invalid_response',
    })
  }
  const { post } = answering({ '/apply-template': {}, '/tokenize': { tokens: [1] } })
  await expect(countByTemplate(request, post, call)).rejects.toMatchObject({
    code: 'upstream.invalid_response',
  })
})
