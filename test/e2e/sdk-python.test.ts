/** Runs test/e2e/python/sdk.py once; each of its tests is a test here. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, inject, test } from 'vitest'
import { pythonWithSdk } from './python-environment.ts'
import { related, unrelated } from './sentences.ts'

interface Line {
  readonly name: string
  readonly outcome: 'passed' | 'failed'
  readonly detail: string
}

const run = promisify(execFile)
const script = join(import.meta.dirname, 'python', 'sdk.py')
const names = [...readFileSync(script, 'utf8').matchAll(/^ {4}def (test_\w+)\(/gm)].map(
  (match) => match[1] ?? '',
)
const lines = new Map<string, Line>()

beforeAll(async () => {
  const platform = inject('platform')
  const { stdout } = await run(await pythonWithSdk(), [script], {
    timeout: 240_000,
    env: {
      PATH: process.env['PATH'],
      API_URL: platform.apiUrl,
      API_KEY: platform.apiKey,
      CHAT_MODEL: platform.chatModel,
      EMBEDDING_MODEL: platform.embeddingModel,
      LIMITED_MODEL: platform.limitedModel,
      SENTENCES: JSON.stringify([related.query, ...related.answers, ...unrelated]),
    },
  })
  for (const text of stdout.trim().split('\n')) {
    // Printed by our own script.
    const line = JSON.parse(text) as Line
    lines.set(line.name, line)
  }
})

test.each(names)('python: %s', (name) => {
  const line = lines.get(name)
  expect(line?.detail).toBe('')
  expect(line?.outcome).toBe('passed')
})
