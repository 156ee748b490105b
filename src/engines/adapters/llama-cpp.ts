/** Our own engine: llama.cpp in a process of its own, which speaks OpenAI's dialect over HTTP (embedded/main.ts). */
import { join } from 'node:path'
import type { Engine, EngineAdapter, EngineAddress, LaunchSpec, ProcessSpec } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { readPublishedLoad } from '../protocol/metrics.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { countByTokenize } from '../protocol/token-count.ts'

const mainPath = join(import.meta.dirname, '../embedded/main.ts')

const readLoad = readPublishedLoad({
  running: ['colonnade_engine_sequences_running'],
  waiting: ['colonnade_engine_sequences_waiting'],
  kvCacheUsage: ['colonnade_engine_kv_cache_usage_ratio'],
})

export const llamaCpp: EngineAdapter = { kind: 'llama-cpp', connect, launch }

function connect(address: EngineAddress): Engine {
  return connectEngine(address, {
    kind: 'llama-cpp',
    dialects: { chat: openAiChat, completion: openAiCompletion, embedding: openAiEmbedding },
    continuousUsage: true,
    cacheSalt: true,
    relaysErrorTexts: true,
    // The list of models is there before the weights are loaded; health is not.
    healthPath: '/health',
    readLoad,
    countTokens: countByTokenize,
  })
}

/** The same Node that runs the agent runs the engine. */
function launch(spec: LaunchSpec): ProcessSpec {
  const options = {
    'model-id': spec.modelId,
    weights: spec.weightsPath,
    host: spec.host,
    port: spec.port,
    threads: spec.threads,
    parallel: spec.parallel,
    ...(spec.contextWindowTokens === undefined ? {} : { context: spec.contextWindowTokens }),
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  return {
    command: process.execPath,
    args: [mainPath, ...args, ...(spec.embeddings ? ['--embeddings'] : [])],
    env: {},
  }
}
