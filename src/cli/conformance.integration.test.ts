/** The command as a program, against an API that does everything right, and one thing wrong. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import {
  apiKey,
  modelName,
  startApi,
  type Faults,
  type ScriptedApi,
} from '../../test/conformance-api.ts'

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-conformance-'))
const mainPath = join(import.meta.dirname, '../main.ts')
afterAll(() => rmSync(dataDirectory, { recursive: true }))

let api: ScriptedApi | undefined
afterEach(() => api?.close())

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

async function run(args: readonly string[], input = '', faults: Faults = {}): Promise<Ended> {
  api = await startApi(faults)
  const child = spawn(
    process.execPath,
    [mainPath, 'conformance', modelName, '--url', api.url, ...args],
    { env: { PATH: process.env['PATH'], COLONNADE_DATA: dataDirectory } },
  )
  const told = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (piece: Buffer) => {
      told[name] += piece.toString()
    })
  }
  child.stdin.end(input)
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { status, ...told }
}

const withKey = ['--no-store', '--key', apiKey]

test('a model that does everything right ends with 0 and a table, and the kind is found out', async () => {
  const { status, stdout, stderr } = await run(withKey)
  expect(status, stderr).toBe(0)
  expect(stdout).toMatch(/^ok +stream\.order +\d+\.\d s +the role comes first/m)
  expect(stdout).toMatch(/^skipped +vision\.image .* the model does not see|^ok +vision\.image/m)
  expect(stdout).toMatch(
    /^counter: passed \(\d+ passed, 0 failed, \d+ skipped; suite .*Nothing was kept\.$/m,
  )
})

test('a failed check ends with 1, says why, and what to do', async () => {
  const faults: Faults = { accepts: 'any key' }
  const { status, stdout } = await run([...withKey, '--only', 'errors'], '', faults)
  expect(status).toBe(1)
  expect(stdout).toContain('FAILED  errors.bad-key: it was answered with status 200.')
  expect(stdout).toContain('The API may be open to everybody.')
  expect(stdout).toContain('counter: FAILED')
})

test('a check that is not required leaves a gap, and ends with 0', async () => {
  const faults: Faults = {
    whole: (answer, { tools }) => (tools ? { ...answer, choices: [] } : answer),
  }
  const { status, stdout } = await run([...withKey, '--only', 'chat,tools'], '', faults)
  expect(status).toBe(0)
  expect(stdout).toMatch(/^gap +tools\.named /m)
  expect(stdout).toContain('counter: passed, with gaps')
})

test('under --json the run is one object; the key may come from standard input', async () => {
  const args = ['--no-store', '--key', '-', '--only', 'chat.n,models', '--json']
  const { status, stdout, stderr } = await run(args, `${apiKey}\n`)
  expect(status, stderr).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    model: modelName,
    category: 'chat',
    verdict: 'passed',
    stored: false,
    passed: 2,
    checks: [
      { id: 'models.listed', required: true, result: 'passed' },
      { id: 'chat.n', required: true, result: 'passed' },
    ],
  })
})

test.each([
  ['a key is missing', ['--no-store'], /^Give an API key with --key/],
  [
    'a check is misspelt',
    [...withKey, '--only', 'chats'],
    /^No check is called "chats"\. There are: /,
  ],
  ['a category is misspelt', [...withKey, '--category', 'x'], /^--category takes one of chat, /],
  [
    'a kind is not judged',
    [...withKey, '--category', 'audio'],
    /^Skipped: .* of audio\. Nothing was kept/,
  ],
  [
    'a check is for other models',
    [...withKey, '--only', 'rerank'],
    /^None of these concerns a model/,
  ],
  ['the token to keep it is missing', ['--key', apiKey], /^There is no access token/],
  [
    'the key is wrong',
    ['--no-store', '--key', 'x'],
    /^counter cannot be checked: .*status 401 \(invalid_api_key\)/,
  ],
])('when %s, one sentence says so', async (_what, args, sentence) => {
  const { status, stdout, stderr } = await run(args)
  expect(status).toBe(1)
  expect(stderr).toMatch(sentence)
  expect(stdout).toBe('')
})
