/** The whole data plane in one process for tests of audio and images, with an engine that answers as Whisper's servers and their like do. */
import fs from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { readConfig } from '../src/app/config.ts'
import { loadSecrets, secretPath } from '../src/app/secrets.ts'
import { startGateway } from '../src/app/wire-gateway.ts'
import { addModel, importShippedCatalogue, setPrice } from '../src/catalog/catalog.ts'
import type { ModelCategory, PriceUnit } from '../src/catalog/catalogue.ts'
import { addExternalEngine } from '../src/fleet/fleet.ts'
import { readForm, type Form } from '../src/gateway/wire/multipart.ts'
import { createApiKey, createProject, createTenant } from '../src/identity/identity.ts'
import { createRule, type NewRule } from '../src/limits/rules.ts'
import { openDatabase, platformScope } from '../src/platform/postgres/database.ts'
import { postgresForTests } from './postgres-for-tests.ts'

const models: readonly {
  id: string
  category: ModelCategory
  capabilities: readonly string[]
  prices: Partial<Record<PriceUnit, bigint>>
}[] = [
  {
    id: 'hearer',
    category: 'audio',
    capabilities: ['transcription'],
    prices: { audio_minute: 10_000_000n },
  },
  {
    id: 'broken-hearer',
    category: 'audio',
    capabilities: ['transcription'],
    prices: { audio_minute: 10_000_000n },
  },
  {
    id: 'endless-hearer',
    category: 'audio',
    capabilities: ['transcription'],
    prices: { audio_minute: 10_000_000n },
  },
  {
    id: 'wordless-hearer',
    category: 'audio',
    capabilities: ['transcription'],
    prices: { audio_minute: 10_000_000n },
  },
  { id: 'speaker', category: 'audio', capabilities: ['speech'], prices: { character: 15_000n } },
  {
    id: 'broken-speaker',
    category: 'audio',
    capabilities: ['speech'],
    prices: { character: 15_000n },
  },
  {
    id: 'unpriced-speaker',
    category: 'audio',
    capabilities: ['speech'],
    prices: { audio_minute: 1n },
  },
  { id: 'painter', category: 'image', capabilities: [], prices: { image: 40_000_000n } },
  { id: 'broken-painter', category: 'image', capabilities: [], prices: { image: 40_000_000n } },
]

const spareKeyCount = 5

export interface AudioPlatform {
  readonly url: string
  readonly key: string
  readonly engine: ScriptedEngine
  /** The ledger's own row of a request, once it has arrived. */
  billed(requestId: string | null | undefined): Promise<Billed>
  /** Keys that nothing was asked with yet, for tests that look at all rows of one. */
  readonly spareKeys: readonly { readonly id: string; readonly secret: string }[]
  /** A key with the money for a minute of audio. */
  readonly poorKey: string
  /** The first so many rows of a key, in order, once they have arrived. */
  billedOf(apiKeyId: string, count: number): Promise<readonly Billed[]>
  close(): Promise<void>
}

export interface Billed {
  readonly outcome: string
  readonly endpoint: string
  readonly amount_nanos: bigint
  readonly units: Record<string, number> | null
}

function poorRule(apiKeyId: string): NewRule {
  return {
    per: 'key',
    apiKeyId,
    measure: 'amount',
    window: 'lifetime',
    limit: 10_000_000n,
    enforcement: 'hard',
    onOutage: 'closed',
  }
}

export async function startAudioPlatform(): Promise<AudioPlatform> {
  const place = await (await postgresForTests()).createDatabase()
  const directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-audio-'))
  const engine = await startScriptedEngine()
  const config = readConfig(
    {
      dataDirectory: directory,
      logLevel: 'silent',
      gateway: { port: 0, bodyBytesMax: 32 * 1024 * 1024 },
      database: { appUrl: place.appUrl },
    },
    {},
  )
  const pepper = {
    version: 1,
    key: loadSecrets(secretPath(config)).peppers.get(1) ?? Buffer.alloc(0),
  }
  const database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  const [first, ...spareKeys] = await database.transaction(platformScope, async (tx) => {
    await importShippedCatalogue(tx, [])
    const tenant = await createTenant(tx, { name: 'A', priceListId: 'standard' })
    const project = await createProject(tx, tenant.id, 'p')
    const nowMs = Date.now()
    for (const { id, category, capabilities, prices } of models) {
      const fixed = { contextWindowTokens: null, weightSources: [], weightSha256: null }
      await addModel(tx, { id, category, capabilities, ...fixed }, { unpriced: true })
      for (const [unit, amountNanos] of Object.entries(prices)) {
        const price = { priceListId: 'standard', modelId: id, unit: unit as PriceUnit, amountNanos }
        await setPrice(tx, { ...price, effectiveFromMs: nowMs }, nowMs)
      }
      await addExternalEngine(tx, {
        modelId: id,
        engineKind: 'openai-compatible',
        baseUrl: engine.url,
        engineModel: id,
        sealKey: undefined,
      })
    }
    const owner = { tenantId: tenant.id, projectId: project.id, name: 'k' }
    const keys = []
    for (let count = 0; count <= spareKeyCount; count += 1) {
      const { key, secret } = await createApiKey(tx, owner, pepper)
      keys.push({ id: key.id, secret })
    }
    const poor = keys.at(-1)
    if (poor) await createRule(tx, { tenantId: tenant.id }, poorRule(poor.id), 'platform')
    return keys
  })
  const gateway = await startGateway(config)

  const rows = async (condition: ReturnType<typeof sql>): Promise<readonly Billed[]> => {
    const found = await database.transaction(platformScope, (tx) =>
      sql<Billed>`SELECT outcome, endpoint, amount_nanos, units FROM usage_events WHERE ${condition} ORDER BY journal_sequence`.execute(
        tx,
      ),
    )
    return found.rows
  }
  const arrived = async (
    condition: ReturnType<typeof sql>,
    count: number,
  ): Promise<readonly Billed[]> => {
    for (let tries = 0; tries < 200; tries += 1) {
      const found = await rows(condition)
      if (found.length >= count) return found
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error('not billed')
  }
  return {
    url: gateway.url ?? '',
    key: first?.secret ?? '',
    engine,
    spareKeys,
    poorKey: spareKeys.at(-1)?.secret ?? '',
    async billed(requestId) {
      const [only, second] = await arrived(sql`request_id = ${requestId}`, 1)
      if (!only || second) throw new Error(`${requestId} was not billed once`)
      return only
    },
    billedOf: (apiKeyId, count) => arrived(sql`api_key_id = ${apiKeyId}`, count),
    async close() {
      await gateway.drain()
      await gateway.stop()
      await engine.close()
      await database.close()
      await place.close()
      fs.rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** What the engine was asked. */
export interface Heard {
  readonly path: string
  readonly form?: Form
  readonly json?: Record<string, unknown>
}

export interface ScriptedEngine {
  readonly url: string
  readonly heard: Heard[]
  close(): Promise<void>
}

const whole = { text: ' Hello there. General Kenobi.', language: 'en', duration: 1 }
const segments = [
  {
    id: 0,
    start: 0,
    end: 1.5,
    text: ' Hello there.',
    avg_logprob: -0.25,
    no_speech_prob: 0.01,
    compression_ratio: 1.1,
    temperature: 0,
  },
  { id: 1, start: 1.5, end: 3_601.25, text: ' General --> Kenobi.' },
]
export const words = [
  { word: 'Hello', start: 0, end: 0.5 },
  { word: 'there.', start: 0.5, end: 1.5 },
  { word: 'General', start: 1.5, end: 2 },
  { word: 'Kenobi.', start: 2, end: 3 },
]
export const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(64, 7)])

async function startScriptedEngine(): Promise<ScriptedEngine> {
  const heard: Heard[] = []
  const server: Server = createServer((request, response) => void answer(request, response, heard))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    heard,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  heard: Heard[],
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const path = request.url ?? ''
  if (request.headers['content-type']?.startsWith('multipart/') === true) {
    const form = await readForm(body, request.headers, { fileBytesMax: 2 ** 25, filesMax: 1 })
    heard.push({ path, form })
    transcribe(form, response)
    return
  }
  if (body.length === 0) {
    response.setHeader('content-type', 'application/json').end('{"data":[]}')
    return
  }
  const json = JSON.parse(body.toString()) as Record<string, unknown>
  heard.push({ path, json })
  if (path === '/v1/audio/speech') await speak(json, response)
  else paint(json, response)
}

function transcribe(form: Form, response: ServerResponse): void {
  const field = (name: string): string | undefined => form.fields.get(name)?.[0]
  if (field('stream') === 'true') {
    response.setHeader('content-type', 'text/event-stream')
    const say = (value: unknown): boolean => response.write(`data: ${JSON.stringify(value)}\n\n`)
    say({ type: 'transcript.text.delta', delta: 'Hello' })
    if (field('model') === 'endless-hearer') return
    say({ type: 'transcript.text.delta', delta: ' there.' })
    if (field('model') !== 'broken-hearer') {
      say({ type: 'transcript.text.done', text: 'Hello there.' })
    }
    response.end()
    return
  }
  response.setHeader('content-type', 'application/json')
  const isVerbose = field('response_format') === 'verbose_json'
  const asked = form.fields.get('timestamp_granularities') ?? []
  const withWords = asked.includes('word') && field('model') !== 'wordless-hearer'
  response.end(
    JSON.stringify(
      isVerbose ? { ...whole, segments, ...(withWords && { words }) } : { text: whole.text },
    ),
  )
}

async function speak(json: Record<string, unknown>, response: ServerResponse): Promise<void> {
  response.setHeader(
    'content-type',
    json['response_format'] === 'wav' ? 'audio/x-wav' : 'audio/mpeg',
  )
  response.write(Buffer.alloc(1_000, 1))
  await new Promise((resolve) => setImmediate(resolve))
  response.write(Buffer.alloc(500, 2))
  await new Promise((resolve) => setImmediate(resolve))
  if (json['model'] === 'broken-speaker') response.destroy()
  else response.end()
}

function paint(json: Record<string, unknown>, response: ServerResponse): void {
  const bytes = json['model'] === 'broken-painter' ? Buffer.from('<html>') : png
  const data = Array.from({ length: Number(json['n']) }, () => ({
    b64_json: bytes.toString('base64'),
    revised_prompt: 'a better prompt',
  }))
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ created: 1, data }))
}
