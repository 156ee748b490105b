/** What is billed for each way that a stream can end, compared with what the engine really emitted (docs/ledger.md). */
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks, type Books, type UsageRow } from './books.ts'
import { startWithStub, type StubbedPlatform } from './stubbed-platform.ts'
import { until } from './until.ts'

const ledgerTimeoutMs = 20_000
/** The engine's work must end this soon after the client has left. */
const abortMaxMs = 1_000
const progressWindowTokens = 64

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-money-'))
let platform: StubbedPlatform
let books: Books

beforeAll(async () => {
  platform = await startWithStub(dataDirectory)
  books = await openBooks(dataDirectory)
})

afterAll(async () => {
  await books.close()
  await platform.stop()
  rmSync(dataDirectory, { recursive: true, force: true })
})

interface Outcome {
  readonly status: number
  readonly requestId: string
  readonly text: string
}

/** Sends a chat request; leaves once the text holds `leaveAt`, when given. */
function chat(
  model: string,
  tokens: number,
  options: { stream: boolean; leaveAt?: string },
): Promise<Outcome> {
  const body = JSON.stringify({
    model,
    stream: options.stream,
    ...(options.stream ? { stream_options: { include_usage: true } } : {}),
    max_completion_tokens: tokens,
    messages: [{ role: 'user', content: 'tick' }],
  })
  return new Promise((resolve, reject) => {
    const call = request(`${platform.apiUrl}/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${platform.apiKey}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
    })
    call.on('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
        if (options.leaveAt !== undefined && text.includes(options.leaveAt)) call.destroy()
      })
      // Leaving, or being cut, is what some tests are about.
      response.on('error', () => {})
      response.on('close', () =>
        resolve({
          status: response.statusCode ?? 0,
          requestId: String(response.headers['x-request-id']),
          text,
        }),
      )
    })
    call.on('error', reject)
    call.end(body)
  })
}

function billed(requestId: string): Promise<UsageRow> {
  return until(`${requestId} is in the ledger`, ledgerTimeoutMs, async () =>
    (await books.usage()).find((row) => row.requestId === requestId),
  )
}

function emitted(requestId: string): number {
  return platform.engine.truth.get(requestId)?.[0]?.outputTokens ?? 0
}

test.each([true, false])(
  'a finished answer costs exactly what was emitted (streamed: %s)',
  async (stream) => {
    const outcome = await chat('stub/quick:1', 100, { stream })
    expect(outcome.text).toContain('"completion_tokens":100')
    expect(await billed(outcome.requestId)).toMatchObject({
      outcome: 'completed',
      inputTokens: 7,
      outputTokens: 100,
    })
  },
)

test('a client that leaves stops the engine within a second, and pays what was emitted', async () => {
  const outcome = await chat('stub/steady:1', 2_000, { stream: true, leaveAt: 'tick' })
  await new Promise((resolve) => setTimeout(resolve, abortMaxMs))
  const atAbort = emitted(outcome.requestId)
  const row = await billed(outcome.requestId)
  expect(emitted(outcome.requestId)).toBe(atAbort)
  expect(row.outcome).toBe('client_left')
  expect(row.outputTokens).toBeLessThanOrEqual(atAbort)
  expect(atAbort - row.outputTokens).toBeLessThanOrEqual(progressWindowTokens)
  expect(row.amountNanos).toBeGreaterThan(0n)
})

test('an engine that dies in the middle: an error event, no [DONE], and what it emitted is billed', async () => {
  const outcome = await chat('stub/dying:1', 100, { stream: true })
  expect(outcome.status).toBe(200)
  expect(outcome.text).toMatch(/data: {"error":.*"code":"engine_(truncated|unreachable)"/)
  expect(outcome.text).not.toContain('[DONE]')
  expect(await billed(outcome.requestId)).toMatchObject({
    outcome: 'upstream_failed',
    outputTokens: 20,
  })
})

test('an engine that dies before a whole answer is a 502, and never half an answer', async () => {
  const outcome = await chat('stub/dying:1', 100, { stream: false })
  expect(outcome.status).toBe(502)
  expect(JSON.parse(outcome.text)).toMatchObject({ error: { type: 'api_error' } })
})

test.each([
  { model: 'stub/boasting:1', lie: 'a thousand billion tokens' },
  { model: 'stub/modest:1', lie: 'none' },
  { model: 'stub/silent:1', lie: 'nothing at all' },
])('an engine that claims $lie is not believed: what passed by is billed', async ({ model }) => {
  const outcome = await chat(model, 100, { stream: true })
  expect(await billed(outcome.requestId)).toMatchObject({ outcome: 'completed', outputTokens: 100 })
  expect(outcome.text).toContain('"completion_tokens":100')
})

test('a refused request costs nothing', async () => {
  const outcome = await chat('stub/limited:1', 10, { stream: true })
  expect(outcome.status).toBe(429)
  expect(await billed(outcome.requestId)).toMatchObject({ outcome: 'voided', amountNanos: 0n })
})

test('after all of that the books balance, and nothing is held', async () => {
  await until('nothing is held', ledgerTimeoutMs, async () => (await books.sums()).held === 0n)
  const sums = await books.sums()
  expect(sums.allEntries).toBe(0n)
  expect(sums.charged).toBe(sums.usage)
  expect(sums.wrongBalances).toBe(0)
})
