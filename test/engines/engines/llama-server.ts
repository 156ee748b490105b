/** llama.cpp's server, twice: with the default chat model, and with the default embedder. */
import { join } from 'node:path'
import { weightsForTests } from '../../weights-for-tests.ts'
import { freePort } from '../../e2e/platform.ts'
import { installLlamaServer, llamaCppVersion } from '../install/llama-server.ts'
import { startProcess } from '../process.ts'
import type { StartedEngine } from './started.ts'

export async function startLlamaServer(say: (line: string) => void): Promise<StartedEngine> {
  const { program } = await installLlamaServer(say)
  const chat = await start(program, await weightsForTests('chat'), [
    '--alias',
    'smollm2-135m',
    '--ctx-size',
    '8192',
    '--jinja',
    '--chat-template-file',
    join(import.meta.dirname, 'chat-with-tools.jinja'),
    '--metrics',
  ])
  const embedding = await start(program, await weightsForTests('embeddings'), [
    '--alias',
    'all-minilm-l6-v2',
    '--embeddings',
    '--pooling',
    'mean',
  ])
  return {
    kind: 'llama-server',
    name: 'llama-server',
    version: `llama-cpp-python ${llamaCppVersion}`,
    models: [
      { task: 'chat', engineModel: 'smollm2-135m', ...chat },
      { task: 'embedding', engineModel: 'all-minilm-l6-v2', ...embedding },
    ],
    async stop() {
      await Promise.all([chat.stop(), embedding.stop()])
    },
  }
}

async function start(program: string, weights: string, more: readonly string[]) {
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  const bounds = ['--threads', '1', '--threads-batch', '1', '--parallel', '4']
  const running = await startProcess({
    command: program,
    args: ['--model', weights, '--host', '127.0.0.1', '--port', String(port), ...bounds, ...more],
    readyUrl: `${baseUrl}/health`,
  })
  return { baseUrl, ...running }
}
