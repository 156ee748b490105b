/**
 * A newcomer's first minutes: the first start as a person sees it, the printed commands run as printed, Ctrl-C, and a second start that
 * knows everything still, without network.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { environment, root, startPlatform } from './platform.ts'
import { pythonWithSdk } from './python-environment.ts'
import { seedWeights } from './seed-weights.ts'
import { until } from './until.ts'

const run = promisify(execFile)
const commandTimeoutMs = 60_000
const firstStartTimeoutMs = 280_000
const secondStartMaxMs = 20_000
const parisMaxMs = 10_000

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-first-'))
let child: ChildProcess
let output = ''
let secrets: readonly string[] = []

beforeAll(async () => {
  seedWeights(dataDirectory)
  child = spawn(
    process.execPath,
    [join(root, 'bin/colonnade.mjs'), 'serve', '--data', dataDirectory],
    { cwd: root, env: await environment({}), stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const collect = (chunk: Buffer): void => {
    output += chunk.toString('utf8')
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  await until('the banner is complete', firstStartTimeoutMs, () => {
    if (child.exitCode !== null) throw new Error(output)
    return /ctrl-c/i.test(output)
  })
  secrets = output.match(/\bcln_[ka]_(?:live|test)_\w{46,}/g) ?? []
})

afterAll(async () => {
  if (child.exitCode === null) {
    child.kill('SIGINT')
    await once(child, 'exit')
  }
  rmSync(dataDirectory, { recursive: true, force: true })
})

test('the banner names the API, a key, the documentation and how to stop', () => {
  expect(output).toMatch(/http:\/\/127\.0\.0\.1:\d+\/v1/)
  expect(output).toMatch(/docs/i)
  expect(secrets.length).toBeGreaterThan(0)
})

test('the curl line works as printed', async () => {
  const command = block(output, /^\s*curl\b/)
  const { stdout } = await run('bash', ['-c', command], { timeout: commandTimeoutMs })
  expect(stdout).toContain('Paris')
})

test('the SDK snippet works as printed', async () => {
  const snippet = block(output, /^\s*(?:from openai import|import OpenAI)/)
  const isPython = snippet.startsWith('from ')
  const folder = mkdtempSync(join(isPython ? tmpdir() : root, '.snippet-'))
  try {
    const file = join(folder, isPython ? 'snippet.py' : 'snippet.mjs')
    writeFileSync(file, `${snippet}\n`)
    const program = isPython ? await pythonWithSdk() : process.execPath
    const { stdout } = await run(program, [file], { timeout: commandTimeoutMs })
    expect(stdout).toContain('Paris')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('Ctrl-C stops cleanly', async () => {
  child.kill('SIGINT')
  await once(child, 'exit')
  expect(child.exitCode).toBe(0)
})

test('a second start is quick, needs no network, prints no secret, and the key still works: Paris within 10 s', async () => {
  const startedMs = performance.now()
  const deadProxy = 'http://127.0.0.1:9'
  const platform = await startPlatform({
    dataDirectory,
    environment: { HTTP_PROXY: deadProxy, HTTPS_PROXY: deadProxy, PIP_INDEX_URL: deadProxy },
  })
  try {
    expect(performance.now() - startedMs).toBeLessThan(secondStartMaxMs)
    for (const secret of secrets) {
      expect(JSON.stringify(platform.events)).not.toContain(secret)
      expect(platform.errorOutput()).not.toContain(secret)
    }
    const readyMs = performance.now()
    const text = await until('a streamed answer', parisMaxMs, () =>
      streamedAnswer(platform.ready.apiUrl),
    )
    expect(text).toContain('Paris')
    expect(performance.now() - readyMs).toBeLessThan(parisMaxMs)
  } finally {
    await platform.stop()
  }
}, 60_000)

/** The printed lines from the first that matches up to an empty one, without their indentation. */
function block(text: string, first: RegExp): string {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => first.test(line))
  expect(start, `the banner has no line ${first}:\n${text}`).toBeGreaterThanOrEqual(0)
  const indent = /^\s*/.exec(lines[start] ?? '')?.[0].length ?? 0
  const rest = lines.slice(start)
  const end = rest.findIndex((line) => line.trim() === '')
  return rest
    .slice(0, end < 0 ? rest.length : end)
    .map((line) => line.slice(indent))
    .join('\n')
}

/** `undefined` while the model is still starting. */
async function streamedAnswer(apiUrl: string): Promise<string | undefined> {
  const key = secrets.find((secret) => secret.startsWith('cln_k_')) ?? ''
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const models = await (await fetch(`${apiUrl}/models`, { headers })).text()
  const model = /"id":"([^"]*smollm2[^"]*)"/i.exec(models)?.[1]
  const response = await fetch(`${apiUrl}/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify({
      model,
      stream: true,
      temperature: 0,
      max_completion_tokens: 32,
      messages: [{ role: 'user', content: 'What is the capital of France?' }],
    }),
  })
  const text = await response.text()
  if (response.status !== 200) return undefined
  return [...text.matchAll(/"content":"([^"]*)"/g)].map((match) => match[1]).join('')
}
