/**
 * `npm run test:clients [-- name …]`: runs real clients against a running Colonnade with its own engine, prints each check as it comes, and writes
 * docs/clients.md. The exit code is 0 only when all are green.
 */
import { spawn } from 'node:child_process'
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root, startPlatform, type Platform } from '../e2e/platform.ts'
import { keepWeights, seedWeights } from '../e2e/seed-weights.ts'
import { say } from '../harness/lane.ts'
import { clients, type Client } from './clients.ts'
import { installClients, type Toolchain } from './install.ts'
import { isGreen, renderPage, type CheckLine, type ClientResult } from './table.ts'

const clientTimeoutMs = 10 * 60_000
const errorBytesMax = 4 * 1024
const page = join(root, 'docs/clients.md')

async function main(names: readonly string[]): Promise<void> {
  const wanted = clients.filter(
    ({ name, language }) =>
      names.length === 0 ||
      names.some((part) => `${name} ${language}`.toLowerCase().includes(part.toLowerCase())),
  )
  if (wanted.length === 0) {
    say(`No client is called so. There are: ${clients.map(({ name }) => name).join(', ')}.`)
    process.exitCode = 2
    return
  }
  const toolchain = await installClients(wanted, say)
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-clients-'))
  seedWeights(dataDirectory)
  say('starting Colonnade')
  const platform = await startPlatform({ dataDirectory })
  const results: ClientResult[] = []
  try {
    const models = await readyModels(platform)
    keepWeights(dataDirectory)
    for (const client of wanted) {
      say(`\n${client.name} (${client.language})`)
      results.push(await runClient(client, toolchain, { platform, models }))
    }
  } finally {
    await platform.stop()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
  // Part of the list says nothing of the whole.
  if (names.length === 0) writeFileSync(page, renderPage(results, facts()))
  const green = results.filter(isGreen).length
  say(`\n${green} of ${results.length} clients are green.`)
  process.exitCode = green === results.length ? 0 : 1
}

function facts(): Parameters<typeof renderPage>[1] {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest
      ? String(manifest.version)
      : 'unknown'
  const cores = cpus()
  const machine = `${cores.length} cores of ${cores[0]?.model ?? 'unknown'}, Node ${process.versions.node}`
  return { date: new Date().toISOString().slice(0, 10), version, machine }
}

interface Models {
  readonly chat: string
  readonly embedding: string
}

/** The default models, once both answer to the key that the first start prints. */
async function readyModels(platform: Platform): Promise<Models> {
  const { apiUrl, apiKey = '' } = platform.ready
  for (let attempt = 0; attempt < 240; attempt += 1) {
    const response = await fetch(`${apiUrl}/models`, {
      headers: { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.timeout(5_000),
    })
    const list = (await response.json()) as { data?: { id: string }[] }
    const ids = (list.data ?? []).map((model) => model.id)
    const embedding = ids.find((id) => /minilm|embed/i.test(id))
    const chat = ids.find((id) => id !== embedding)
    if (
      chat !== undefined &&
      embedding !== undefined &&
      (await answers(platform, { chat, embedding }))
    )
      return { chat, embedding }
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
  throw new Error('the default models were not ready within four minutes')
}

async function answers(platform: Platform, models: Models): Promise<boolean> {
  const post = async (path: string, body: unknown): Promise<boolean> => {
    const response = await fetch(`${platform.ready.apiUrl}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${platform.ready.apiKey ?? ''}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    })
    await response.arrayBuffer()
    return response.ok
  }
  const messages = [{ role: 'user', content: 'Hi' }]
  return (
    (await post('/chat/completions', { model: models.chat, messages, max_tokens: 1 })) &&
    (await post('/embeddings', { model: models.embedding, input: 'Hi' }))
  )
}

async function runClient(
  client: Client,
  toolchain: Toolchain,
  at: { readonly platform: Platform; readonly models: Models },
): Promise<ClientResult> {
  const { program, args } = commandOf(client, toolchain)
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: clientTimeoutMs,
    killSignal: 'SIGKILL',
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      // Compiled files name the machine's paths.
      PYTHONDONTWRITEBYTECODE: '1',
      COLONNADE_BASE_URL: at.platform.ready.apiUrl,
      COLONNADE_API_KEY: at.platform.ready.apiKey,
      COLONNADE_CHAT_MODEL: at.models.chat,
      COLONNADE_EMBEDDING_MODEL: at.models.embedding,
      COLONNADE_NODE_MODULES: join(toolchain.nodeFolder, 'node_modules'),
      // Nothing leaves the machine, and nothing asks.
      STREAMLIT_BROWSER_GATHER_USAGE_STATS: 'false',
      GRADIO_ANALYTICS_ENABLED: 'False',
      HAYSTACK_TELEMETRY_ENABLED: 'False',
      LITELLM_LOCAL_MODEL_COST_MAP: 'True',
      ANONYMIZED_TELEMETRY: 'False',
    },
  })
  let version: string | undefined
  const checks: CheckLine[] = []
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = parseLine(text)
    if (!line) return
    if ('version' in line) version = line.version
    else {
      checks.push(line)
      say(
        `  ${line.outcome === 'passed' ? '✓' : '✗'} ${line.check}${line.detail && `: ${line.detail}`}`,
      )
    }
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString('utf8')).slice(-errorBytesMax)
  })
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', resolve)
  })
  const hasFailed = checks.some((check) => check.outcome === 'failed')
  const broken = code === 0 || hasFailed ? undefined : `ended with ${code}`
  if (broken) say(`  ✗ ${broken}\n${errors}`)
  return { name: client.name, language: client.language, version, checks, broken }
}

function commandOf(
  client: Client,
  toolchain: Toolchain,
): { readonly program: string; readonly args: readonly string[] } {
  const path = join(import.meta.dirname, client.program)
  switch (client.language) {
    case 'Python':
      return { program: toolchain.python(client), args: [path] }
    case 'Node': {
      // Node looks for packages beside the program.
      const folder = join(import.meta.dirname, 'node')
      for (const file of readdirSync(folder).filter((name) => name.endsWith('.mjs')))
        copyFileSync(join(folder, file), join(toolchain.nodeFolder, file))
      return {
        program: process.execPath,
        args: [join(toolchain.nodeFolder, client.program.replace('node/', ''))],
      }
    }
    case 'Go':
      return { program: toolchain.goProgram, args: [] }
    case 'shell':
      return { program: 'sh', args: [path] }
  }
}

/** Libraries print things of their own; only our lines count. */
function parseLine(text: string): CheckLine | { readonly version: string } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    if ('version' in value) return { version: String(value.version) }
    if (!('check' in value) || !('outcome' in value)) return undefined
    return {
      check: String(value.check),
      outcome: value.outcome === 'passed' ? 'passed' : 'failed',
      detail: 'detail' in value ? String(value.detail) : '',
    }
  } catch {
    return undefined
  }
}

await main(process.argv.slice(2))
