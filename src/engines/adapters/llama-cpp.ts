/** Our own engine: llama.cpp in a process of its own, which speaks OpenAI's dialect over HTTP (embedded/main.ts). */
import { join } from 'node:path'
import { Fault } from '../../platform/fault.ts'
import { createHttpClient, type HttpClient } from '../../platform/http/client.ts'
import type { Engine, EngineAdapter, EngineAddress, LaunchSpec, ProcessSpec } from '../engine.ts'
import { connectOpenAiEngine } from '../protocol/openai.ts'

const mainPath = join(import.meta.dirname, '../embedded/main.ts')

const healthTimeoutMs = 5_000

export const llamaCpp: EngineAdapter = { kind: 'llama-cpp', connect, launch }

function connect(address: EngineAddress): Engine {
  const engine = connectOpenAiEngine(address, {
    kind: 'llama-cpp',
    capabilities: { chat: true, embeddings: true, continuousUsage: true, cacheSalt: true },
    relaysErrorTexts: true,
  })
  const client = createHttpClient(new URL(address.baseUrl).origin)
  return {
    ...engine,
    checkHealth: (signal) => checkHealth(client, signal),
    async close() {
      await engine.close()
      await client.close()
    },
  }
}

/** The list of models is there before the weights are loaded; health is not. */
async function checkHealth(client: HttpClient, signal: AbortSignal): Promise<void> {
  const response = await client.open({
    method: 'GET',
    path: '/health',
    headers: {},
    signal,
    firstByteTimeoutMs: healthTimeoutMs,
    idleTimeoutMs: healthTimeoutMs,
  })
  await response.body[Symbol.asyncIterator]().return?.()
  if (response.status === 200) return
  throw new Fault({
    code: 'capacity.overloaded',
    public: 'The model is still being loaded. Try again shortly.',
    internal: `/health answered ${response.status}`,
    retryAfterMs: 1_000,
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
