/** A whole Colonnade with its own engine and the default models, to which the other engines are connected as an operator does it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { z } from 'zod'
import { control, root, startPlatform, type Platform } from '../e2e/platform.ts'
import { keepWeights, seedWeights } from '../e2e/seed-weights.ts'
import { until } from '../e2e/until.ts'
import type { Offer, RealEngine } from './engine.ts'
import type { StartedEngine } from './engines/started.ts'

const readyTimeoutMs = 120_000
const requestTimeoutMs = 120_000

const engineList = z.object({
  data: z.array(
    z.object({
      modelId: z.string(),
      engineKind: z.string(),
      state: z.string(),
      baseUrl: z.string().nullable(),
    }),
  ),
})
const added = z.object({
  data: z.array(z.object({ modelId: z.string(), engineKind: z.string() })).min(1),
})

export interface Colonnade {
  readonly client: OpenAI
  /** Colonnade's own engine. */
  readonly embedded: RealEngine
  /** Adds the engine's models by its address alone; throws when its kind is not found out. */
  connect(engine: StartedEngine): Promise<RealEngine>
  stop(): Promise<void>
}

export async function startColonnade(): Promise<Colonnade> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-engines-'))
  seedWeights(dataDirectory)
  const platform = await start(dataDirectory)
  const { apiUrl, controlUrl, apiKey = '', adminToken = '' } = platform.ready
  const call = (method: string, path: string, body?: unknown): Promise<unknown> =>
    control({ controlUrl, adminToken }, method, `/api/v1${path}`, body)
  const stop = async (): Promise<void> => {
    await platform.stop()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
  try {
    const embedded = await findEmbedded(call)
    keepWeights(dataDirectory)
    const client = new OpenAI({
      baseURL: apiUrl,
      apiKey,
      maxRetries: 0,
      timeout: requestTimeoutMs,
    })
    return {
      client,
      embedded,
      async connect(engine) {
        const offers: Offer[] = []
        for (const model of engine.models) {
          const id = `${engine.kind}/${model.engineModel}`
          const body = { url: model.baseUrl, models: [model.engineModel], name: id }
          const [entry] = added.parse(await call('POST', '/engines', body)).data
          if (entry?.engineKind !== engine.kind) {
            throw new Error(`${engine.name} was taken for ${entry?.engineKind}`)
          }
          if (model.task === 'transcription') await call('POST', '/prices', audioPrice(id))
          await untilOffered(client, id)
          offers.push({ ...model, model: id })
        }
        const { kind, name, version } = engine
        return { kind, name, version, offers }
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function start(dataDirectory: string): Promise<Platform> {
  try {
    return await startPlatform({ dataDirectory, environment: { COLONNADE_DISCOVERY: 'false' } })
  } catch (error) {
    rmSync(dataDirectory, { recursive: true, force: true })
    throw error
  }
}

async function findEmbedded(
  call: (method: string, path: string) => Promise<unknown>,
): Promise<RealEngine> {
  const ready = await until('both default models are ready', readyTimeoutMs, async () => {
    const { data } = engineList.parse(await call('GET', '/engines'))
    return data.length >= 2 && data.every(({ state }) => state === 'ready') ? data : undefined
  })
  const offers = ready.map(({ modelId, baseUrl }) => ({
    task: /minilm/i.test(modelId) ? ('embedding' as const) : ('chat' as const),
    model: modelId,
    baseUrl: baseUrl ?? '',
    processId: undefined,
  }))
  return { kind: 'llama-cpp', name: 'embedded', version: ownVersion(), offers }
}

function ownVersion(): string {
  const { version, dependencies } = z
    .object({ version: z.string(), dependencies: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')))
  return `${version}, node-llama-cpp ${dependencies['node-llama-cpp']}`
}

/** The standard list has no price for audio: an operator sets one. */
function audioPrice(modelId: string) {
  return { modelId, priceListId: 'standard', amounts: { audio_minute: '10000000' } }
}

/** Gateways hear of a new model at once; a look makes sure. */
async function untilOffered(client: OpenAI, model: string): Promise<void> {
  await until(`${model} is offered`, 10_000, async () => {
    const { data } = await client.models.list()
    return data.some(({ id }) => id === model)
  })
}
