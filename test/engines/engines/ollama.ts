/** Ollama, with both default models made from their files; everything that it keeps is in the folder given. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../e2e/platform.ts'
import { weightsForTests } from '../../weights-for-tests.ts'
import { runProgram } from '../install/cache.ts'
import { installOllama, ollamaVersion } from '../install/ollama.ts'
import { startProcess } from '../process.ts'
import type { StartedEngine } from './started.ts'

const templateText = readFileSync(join(import.meta.dirname, 'chat-with-tools.gotmpl'), 'utf8')
/** The default model's own template knows no tools. */
const chatTemplate = `TEMPLATE """${templateText}"""\nPARAMETER stop <|im_end|>\n`

export async function startOllama(
  folder: string,
  say: (line: string) => void,
): Promise<StartedEngine> {
  const program = await installOllama(say)
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  mkdirSync(folder, { recursive: true })
  const environment = {
    HOME: folder,
    OLLAMA_HOST: `127.0.0.1:${port}`,
    OLLAMA_MODELS: join(folder, 'models'),
    OLLAMA_CONTEXT_LENGTH: '4096',
    OLLAMA_NUM_PARALLEL: '2',
  }
  const running = await startProcess({
    command: program,
    args: ['serve'],
    environment,
    readyUrl: `${baseUrl}/api/version`,
  })
  try {
    for (const [name, weights] of [
      ['smollm2', await weightsForTests('chat')],
      ['minilm', await weightsForTests('embeddings')],
    ] as const) {
      const file = join(folder, `${name}.Modelfile`)
      const template = name === 'smollm2' ? chatTemplate : ''
      writeFileSync(file, `FROM ${weights}\nPARAMETER num_thread 1\n${template}`)
      await runProgram(program, ['create', name, '-f', file], { cwd: folder, environment })
    }
  } catch (error) {
    await running.stop()
    throw error
  }
  const { processId, stop } = running
  return {
    kind: 'ollama',
    name: 'Ollama',
    version: ollamaVersion,
    models: [
      { task: 'chat', engineModel: 'smollm2:latest', baseUrl, processId },
      { task: 'embedding', engineModel: 'minilm:latest', baseUrl, processId },
    ],
    stop,
  }
}
