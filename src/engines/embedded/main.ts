/**
 * The engine process: one GGUF model behind OpenAI's dialect. Prints `{"event":"ready","port":N}` on standard output once it serves,
 * and logs JSON on standard error. `COLONNADE_ENGINE_KEY`, when set, is asked for as a bearer token.
 */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { systemClock } from '../../platform/clock.ts'
import { createLogger, type Logger } from '../../platform/log.ts'
import { createChatTemplate } from './chat-template.ts'
import { createEngineMetrics, type EngineMetrics } from './metrics.ts'
import { openModel, type OpenModel } from './native.ts'
import { createScheduler } from './scheduler.ts'
import { createEngineServer, type LoadedModel } from './server.ts'
import { nativeToolFormat } from './tool-format.ts'
import { createVocabulary } from './vocabulary.ts'

const parallelMax = 256
const windowTokensDefault = 4_096
/** An input is computed in one batch, whose memory grows with the square of its length. */
const embeddingTokensDefault = 2_048
const batchTokensMax = 512
const stopMsMax = 2_000
const seedsMax = 2 ** 32

interface Settings {
  readonly weightsPath: string
  readonly modelId: string
  readonly host: string
  readonly port: number
  readonly threads: number
  readonly parallel: number
  readonly windowTokens: number | undefined
  readonly embeddings: boolean
}

function readSettings(argv: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      weights: { type: 'string' },
      model: { type: 'string' },
      'model-id': { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string', default: '0' },
      threads: { type: 'string' },
      parallel: { type: 'string', default: '4' },
      context: { type: 'string' },
      embeddings: { type: 'boolean', default: false },
    },
  })
  const weightsPath = values.weights ?? values.model
  if (!weightsPath) throw new Error('--weights FILE is missing')
  const cores = availableParallelism()
  return {
    weightsPath,
    modelId: values['model-id'] ?? 'model',
    host: values.host,
    port: integer('--port', values.port, { min: 0, max: 65_535 }),
    // Threads beyond the cores wait for each other, and a token takes seconds.
    threads: Math.min(
      cores,
      integer('--threads', values.threads ?? String(Math.max(1, cores - 1)), {
        min: 1,
        max: 1_024,
      }),
    ),
    parallel: integer('--parallel', values.parallel, { min: 1, max: parallelMax }),
    windowTokens:
      values.context === undefined
        ? undefined
        : integer('--context', values.context, { min: 32, max: 16_777_216 }),
    embeddings: values.embeddings,
  }
}

function integer(name: string, text: string, range: { min: number; max: number }): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= range.min && value <= range.max) return value
  throw new Error(`${name} must be a whole number from ${range.min} to ${range.max}`)
}

async function serve(settings: Settings, logger: Logger): Promise<void> {
  const metrics = createEngineMetrics()
  const state: { loaded: LoadedModel | undefined } = { loaded: undefined }
  const server = createEngineServer({
    modelId: settings.modelId,
    apiKey: process.env['COLONNADE_ENGINE_KEY'],
    createdSeconds: Math.floor(systemClock.nowMs() / 1_000),
    metrics,
    logger,
    loaded: () => state.loaded,
  })
  // It listens before it loads, so that /health can say what it is doing.
  server.listen(settings.port, settings.host)
  await once(server, 'listening')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void stop(server, state.loaded))
  }
  const model = await openModel({ ...settings, logger })
  const load = settings.embeddings ? loadEmbeddings : loadChat
  state.loaded = await load(model, settings, metrics)
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : settings.port
  const { windowTokens } = state.loaded
  logger.info({ modelId: settings.modelId, port, windowTokens }, 'ready')
  process.stdout.write(`${JSON.stringify({ event: 'ready', port })}\n`)
}

async function loadChat(
  model: OpenModel,
  { modelId, parallel, windowTokens: wanted }: Settings,
  metrics: EngineMetrics,
): Promise<LoadedModel> {
  const windowTokens = wanted ?? Math.min(model.trainedContextTokens, windowTokensDefault)
  const batchTokens = Math.max(parallel, Math.min(batchTokensMax, windowTokens))
  const vocabulary = createVocabulary(model.native, model.vocabularySize)
  const template = createChatTemplate(model.chatTemplate, vocabulary)
  const scheduler = createScheduler({
    model,
    context: await model.createContext({ sequences: parallel, windowTokens, batchTokens }),
    isEndToken: vocabulary.isEnd,
    sequences: parallel,
    windowTokens,
    batchTokens,
    clock: systemClock,
  })
  const chat = {
    modelId,
    windowTokens,
    vocabulary,
    template,
    nativeToolFormat: nativeToolFormat(template),
    scheduler,
    metrics,
    clock: systemClock,
    randomSeed: () => randomInt(seedsMax),
  }
  return { windowTokens, chat, embeddings: undefined }
}

async function loadEmbeddings(
  model: OpenModel,
  { modelId, windowTokens: wanted }: Settings,
  metrics: EngineMetrics,
): Promise<LoadedModel> {
  const windowTokens = Math.min(model.trainedContextTokens, wanted ?? embeddingTokensDefault)
  const context = await model.createEmbeddingContext(windowTokens)
  const embeddings = { modelId, model, context, windowTokens, metrics }
  return { windowTokens, chat: undefined, embeddings }
}

/** Ends running answers, then the process: the weights and the cache go with it. */
async function stop(server: Server, loaded: LoadedModel | undefined): Promise<void> {
  server.close()
  setTimeout(() => process.exit(0), stopMsMax).unref()
  await loaded?.chat?.scheduler.stop()
  server.closeAllConnections()
  process.exit(0)
}

const logger = createLogger('engine', 'info')
try {
  await serve(readSettings(process.argv.slice(2)), logger)
} catch (error) {
  logger.fatal({ error }, 'the engine cannot start')
  process.exit(1)
}
