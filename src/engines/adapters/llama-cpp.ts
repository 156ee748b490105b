/** Our own engine: llama.cpp in a process of its own, which speaks OpenAI's dialect over HTTP (embedded/main.ts). */
import { join } from 'node:path'
import type { EngineAdapter, LaunchSpec, ProcessSpec } from '../engine.ts'
import { connectOpenAiEngine } from '../protocol/openai.ts'

const mainPath = join(import.meta.dirname, '../embedded/main.ts')

export const llamaCpp: EngineAdapter = {
  kind: 'llama-cpp',
  connect: (address) =>
    connectOpenAiEngine(address, {
      kind: 'llama-cpp',
      capabilities: { chat: true, embeddings: true, continuousUsage: true },
      relaysErrorTexts: true,
    }),
  launch,
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
