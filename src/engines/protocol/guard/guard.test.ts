/** Verdicts as the model cards document them, and the conversation that leads to them. */
import { expect, test } from 'vitest'
import type { Engine, EngineRequest, StreamPart } from '../../engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { guardOf } from './families.ts'
import { withGuards } from './judge.ts'

const call = { signal: new AbortController().signal, requestId: 'req_1' }

/** An engine whose chat answers what the test says; it notes what it was asked. */
function scripted(answer: (request: EngineRequest) => readonly StreamPart[]): {
  readonly engine: Engine
  readonly asked: EngineRequest[]
} {
  const asked: EngineRequest[] = []
  const engine: Engine = {
    kind: 'scripted',
    capabilities: { tasks: new Set(['chat']), continuousUsage: false, cacheSalt: false },
    run(request) {
      asked.push(request)
      async function* parts(): AsyncGenerator<StreamPart> {
        yield* await Promise.resolve(answer(request))
      }
      return Promise.resolve(parts())
    },
    listModels: () => Promise.resolve([]),
    checkHealth: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
  return { engine: withGuards(engine), asked }
}

function saying(text: string, outputTokens = 3): readonly StreamPart[] {
  const usage = { inputTokens: 10, cachedInputTokens: 4, outputTokens, reasoningTokens: 0 }
  return [
    { type: 'text-delta', choice: 0, text },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    { type: 'usage', usage },
    { type: 'end' },
  ]
}

async function moderate(
  engine: Engine,
  model: string,
  input: readonly string[],
): Promise<readonly StreamPart[]> {
  const task = { kind: 'moderation' as const, input }
  const request = { model, task, stream: true, cacheSalt: 'salt' }
  return await Array.fromAsync(await engine.run(request, call))
}

async function verdict(model: string, text: string) {
  const parts = await moderate(scripted(() => saying(text)).engine, model, ['x'])
  const part = parts.find((candidate) => candidate.type === 'moderations')
  const result = part?.results[0]
  return result && { flagged: result.flagged, scores: result.scores }
}

test('guards are known by the names that their publishers and Ollama give them', () => {
  for (const name of [
    'meta-llama/Llama-Guard-3-8B',
    'meta-llama/Llama-Guard-4-12B',
    'llama-guard3:1b',
    'Qwen/Qwen3Guard-Gen-4B',
    'granite3-guardian:2b',
    'ibm-granite/granite-guardian-3.1-8b',
    'google/shieldgemma-2b',
    'shieldgemma:9b',
  ]) {
    expect(guardOf(name), name).toBeDefined()
  }
  for (const name of ['omni-moderation-latest', 'qwen3-4b', 'granite4:3b', 'gemma3:4b']) {
    expect(guardOf(name), name).toBeUndefined()
  }
})

test('verdicts of Llama Guard', async () => {
  const model = 'llama-guard3:8b'
  expect(await verdict(model, '\n\nsafe')).toEqual({ flagged: false, scores: {} })
  expect(await verdict(model, 'unsafe\nS1,S10')).toEqual({
    flagged: true,
    scores: { violence: 1, 'illicit/violent': 1, hate: 1 },
  })
  expect(await verdict(model, 'unsafe\nS4')).toEqual({
    flagged: true,
    scores: { 'sexual/minors': 1 },
  })
  expect(await verdict(model, 'unsafe\nS13')).toEqual({ flagged: true, scores: {} })
})

test('verdicts of Qwen3Guard: what is controversial is scored and not flagged', async () => {
  const model = 'Qwen/Qwen3Guard-Gen-0.6B'
  expect(await verdict(model, 'Safety: Safe\nCategories: None')).toEqual({
    flagged: false,
    scores: {},
  })
  expect(
    await verdict(model, 'Safety: Unsafe\nCategories: Violent, Suicide & Self-Harm\nRefusal: No'),
  ).toEqual({ flagged: true, scores: { violence: 1, 'illicit/violent': 1, 'self-harm': 1 } })
  expect(await verdict(model, 'Safety: Controversial\nCategories: Unethical Acts')).toEqual({
    flagged: false,
    scores: { harassment: 0.5, hate: 0.5 },
  })
})

test('verdicts of ShieldGemma say whether, and not which', async () => {
  expect(await verdict('shieldgemma:2b', 'Yes')).toEqual({ flagged: true, scores: {} })
  expect(await verdict('shieldgemma:2b', 'No, it does not')).toEqual({ flagged: false, scores: {} })
})

test('verdicts of Granite Guardian, with its confidence or its thoughts', async () => {
  const model = 'granite3-guardian:8b'
  expect(await verdict(model, 'No')).toEqual({ flagged: false, scores: {} })
  const yes = { flagged: true, scores: { violence: 1, sexual: 1, hate: 1, illicit: 1 } }
  expect(await verdict(model, 'Yes\n<confidence> High </confidence>')).toEqual(yes)
  expect(await verdict(model, '<think>No harm?</think>\n<score> yes </score>')).toEqual(yes)
})

test('an answer that is no verdict is a fault, never safe', async () => {
  for (const [model, text] of [
    ['llama-guard3:8b', 'safely speaking'],
    ['llama-guard3:8b', ''],
    ['Qwen3Guard', 'Unsafe'],
    ['shieldgemma:2b', 'Yesterday'],
    ['granite3-guardian:2b', 'I cannot say'],
  ] as const) {
    await expect(verdict(model, text), text).rejects.toMatchObject({
      code: 'upstream.invalid_response',
    })
  }
})

test('an answer that was cut is a fault', async () => {
  const cut = scripted(() => [{ type: 'text-delta', choice: 0, text: 'safe' }])
  await expect(moderate(cut.engine, 'llama-guard3', ['x'])).rejects.toMatchObject({
    code: 'upstream.truncated',
  })
})

test("inputs are judged one by one, with the tenant's salt, and their usage adds up", async () => {
  const { engine, asked } = scripted(() => saying('safe'))
  const parts = await moderate(engine, 'llama-guard3', ['a', 'b', 'c'])
  expect(
    asked.map(({ task }) => (task.kind === 'chat' ? task.body['messages'] : task.kind)),
  ).toEqual(['a', 'b', 'c'].map((content) => [{ role: 'user', content }]))
  expect(asked.every((request) => request.cacheSalt === 'salt' && !request.stream)).toBe(true)
  expect(parts.filter((part) => part.type === 'usage').at(-1)).toEqual({
    type: 'usage',
    usage: { inputTokens: 30, cachedInputTokens: 12, outputTokens: 9, reasoningTokens: 0 },
  })
  expect(parts.at(-1)).toEqual({ type: 'end' })
})

test('a template that refuses single risks leaves the verdict without categories', async () => {
  const { engine } = scripted(({ task }) => {
    const messages = task.kind === 'chat' ? (task.body['messages'] as unknown[]) : []
    if (messages.length === 1) return saying('Yes')
    throw new Fault({ code: 'upstream.rejected', public: 'no such risk' })
  })
  const parts = await moderate(engine, 'granite3-guardian:2b', ['x'])
  expect(parts).toContainEqual({
    type: 'moderations',
    results: [{ flagged: true, categories: {}, scores: {} }],
  })
})

test('moderation of other models, and other work of guards, goes its own way', async () => {
  const { engine, asked } = scripted(() => [{ type: 'end' }])
  await moderate(engine, 'omni-moderation-latest', ['x'])
  expect(asked.at(-1)?.task.kind).toBe('moderation')
  const chat = { kind: 'chat' as const, body: { messages: [] } }
  await engine.run({ model: 'llama-guard3', task: chat, stream: true, cacheSalt: undefined }, call)
  expect(asked.at(-1)?.task).toBe(chat)
})
