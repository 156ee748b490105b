/** The engine process with the default chat model: what it counts beforehand is what it has counted afterwards. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { weightsForTests } from '../../../test/weights-for-tests.ts'
import { llamaCpp } from '../adapters/llama-cpp.ts'
import type { ChatTask, Engine, EngineRequest } from '../engine.ts'

const startMsMax = 300_000
let child: ChildProcess
let engine: Engine

beforeAll(async () => {
  const flags = ['--model-id', 'tiny', '--port', '0', '--threads', '1', '--parallel', '1']
  const started = spawn(
    process.execPath,
    [join(import.meta.dirname, 'main.ts'), ...flags, '--weights', await weightsForTests('chat')],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  child = started
  const [line] = await once(createInterface(started.stdout), 'line')
  const { port }: { readonly port: number } = JSON.parse(String(line))
  engine = llamaCpp.connect({ baseUrl: `http://127.0.0.1:${port}` })
}, startMsMax)

afterAll(async () => {
  await engine?.close()
  child?.kill()
})

const call = { signal: new AbortController().signal, requestId: 'req_test' }

function requestOf(body: Record<string, unknown>): EngineRequest<ChatTask> {
  const task = { kind: 'chat', body: { max_tokens: 1, ...body } } as const
  return { model: 'tiny', task, stream: true, cacheSalt: undefined }
}

async function countedAfterwards(request: EngineRequest<ChatTask>): Promise<number | undefined> {
  let tokens: number | undefined
  for await (const part of await engine.run(request, call)) {
    if (part.type === 'usage') tokens = part.usage.inputTokens
  }
  return tokens
}

const user = {
  role: 'user',
  content: 'What is the capital of France? Réponds en français, s’il te plaît.',
}
const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'Tells the weather.',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
}
const bodies = [
  { name: 'a question', body: { messages: [user] } },
  {
    name: 'a conversation with tools, a call and its result',
    body: {
      tools: [weather],
      messages: [
        { role: 'system', content: 'Be brief.' },
        user,
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'c', type: 'function', function: { name: 'weather', arguments: '{"city":"x"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'c', content: 'Rain.' },
      ],
    },
  },
  {
    name: 'tools that must not be called',
    body: { messages: [user], tools: [weather], tool_choice: 'none' },
  },
]
for (const { name, body } of bodies) {
  test(`${name}: the count is that of the answer's usage`, async () => {
    const request = requestOf(body)
    const counted = await engine.countTokens?.(request, call)
    expect(counted).toBeGreaterThan(10)
    expect(counted).toBe(await countedAfterwards(request))
  })
}

test('what would not be answered is not counted', async () => {
  const request = requestOf({ messages: [] })
  await expect(engine.countTokens?.(request, call)).rejects.toMatchObject({
    code: 'upstream.rejected',
  })
})
