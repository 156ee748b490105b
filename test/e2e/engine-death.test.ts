/** The embedded engine dies by `kill -9` in the middle of a real answer: no clean end, a bill for what came, and a new engine soon. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks } from './books.ts'
import { startPlatform, type Platform } from './platform.ts'
import { descendantsOf } from './processes.ts'
import { keepWeights, seedWeights } from './seed-weights.ts'
import { until } from './until.ts'

const model = 'smollm2-135m-instruct'
const startTimeoutMs = 290_000
const restartTimeoutMs = 60_000

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-engine-death-'))
let platform: Platform

beforeAll(async () => {
  seedWeights(dataDirectory)
  platform = await startPlatform({ dataDirectory })
  keepWeights(dataDirectory)
}, startTimeoutMs)

afterAll(async () => {
  await platform?.stop()
  rmSync(dataDirectory, { recursive: true, force: true })
})

function chat(body: Record<string, unknown>): Promise<Response> {
  return fetch(`${platform.ready.apiUrl}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${platform.ready.apiKey ?? ''}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'Tell a long story.' }],
      ...body,
    }),
  })
}

function enginePid(): number | undefined {
  // Its guard, a shell, names it too.
  const runs = (command: string): boolean =>
    /embedded\/main\.ts/.test(command) && command.includes(model) && !command.includes('guard')
  return descendantsOf(platform.child.pid ?? 0).find((entry) => runs(entry.command))?.pid
}

test('a cut answer ends with an error and without [DONE], what came is billed, and the engine comes back', async () => {
  const response = await chat({ stream: true, max_tokens: 400, temperature: 0 })
  expect(response.status).toBe(200)
  const pid = enginePid()
  expect(pid).toBeDefined()
  let text = ''
  let killed = false
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk
    if (killed || deltasIn(text) < 5) continue
    killed = true
    process.kill(pid ?? 0, 'SIGKILL')
  }
  expect(text).toContain('"error":{')
  expect(text).not.toContain('[DONE]')

  const requestId = response.headers.get('x-request-id')
  const books = await openBooks(dataDirectory)
  try {
    const row = await until('the cut answer is in the ledger', restartTimeoutMs, async () =>
      (await books.usage()).find((entry) => entry.requestId === requestId),
    )
    expect(row.outcome).toBe('upstream_failed')
    expect(row.outputTokens).toBeGreaterThanOrEqual(5)
    expect(row.outputTokens).toBeLessThan(400)
  } finally {
    await books.close()
  }
  await until('the engine answers again', restartTimeoutMs, async () => {
    const again = await chat({ max_tokens: 4 })
    await again.arrayBuffer()
    return again.status === 200
  })
  expect(enginePid()).not.toBe(pid)
}, 180_000)

function deltasIn(text: string): number {
  return text.split('\n\n').filter((event) => /"delta":\{"content":"[^"]/.test(event)).length
}
