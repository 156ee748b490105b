/** Our own engine: llama.cpp in a process of its own, which speaks OpenAI's dialect over HTTP (embedded/main.ts). */
import { join } from 'node:path'
import type { Engine, EngineAdapter, EngineAddress, LaunchSpec, ProcessSpec } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'

const mainPath = join(import.meta.dirname, '../embedded/main.ts')

export const llamaCpp: EngineAdapter = { kind: 'llama-cpp', connect, launch }

function connect(address: EngineAddress): Engine {
  return connectEngine(address, {
    kind: 'llama-cpp',
    dialects: { chat: openAiChat, embedding: openAiEmbedding },
    continuousUsage: true,
    cacheSalt: true,
    relaysErrorTexts: true,
    // The list of models is there before the weights are loaded; health is not.
    healthPath: '/health',
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
