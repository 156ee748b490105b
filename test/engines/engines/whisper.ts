/** A server of Whisper with a small multilingual model. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../e2e/platform.ts'
import { installWhisper, whisperServerVersion } from '../install/whisper.ts'
import { startProcess } from '../process.ts'
import type { StartedEngine } from './started.ts'

const loopback = ['--host', '127.0.0.1']

export async function startWhisper(
  folder: string,
  say: (line: string) => void,
): Promise<StartedEngine> {
  const { python, modelFolder } = await installWhisper(say)
  const port = await freePort()
  const baseUrl = `http://127.0.0.1:${port}`
  mkdirSync(folder, { recursive: true })
  const config = join(folder, 'whisper.json')
  // YAML, of which JSON is a part. The server takes a model's name from another field than OpenAI's, so there is one, called by its default.
  const options = { device: 'cpu', compute_type: 'int8', cpu_threads: 1 }
  const model = { name: 'whisper-1', path: modelFolder, model_options: options }
  writeFileSync(config, JSON.stringify({ models: [model] }))
  const running = await startProcess({
    command: python,
    args: ['-m', 'faster_whisper_server', '--config', config, '--port', String(port), ...loopback],
    environment: { HF_HUB_OFFLINE: '1', HF_HOME: folder },
    readyUrl: `${baseUrl}/health`,
  })
  return {
    kind: 'whisper',
    name: 'faster-whisper-server',
    version: whisperServerVersion,
    models: [
      { task: 'transcription', engineModel: 'whisper-1', baseUrl, processId: running.processId },
    ],
    stop: running.stop,
  }
}
