/** LiteLLM's proxy: one worker, one master key, no database, so no budgets and no ledger. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { output, startPinned, treeOf } from '../process.ts'
import { answers, type Peer } from './peer.ts'

/** It imports for about 20 s. */
const startTimeoutMs = 180_000
const masterKey = 'sk-bench'

export const liteLlm: Peer = {
  name: 'LiteLLM',
  streamsMax: 20,
  async install(cacheDirectory) {
    const directory = environment(cacheDirectory)
    if (existsSync(join(directory, 'bin/litellm'))) return
    mkdirSync(cacheDirectory, { recursive: true })
    await output('python3', ['-m', 'venv', directory])
    await output(join(directory, 'bin/pip'), ['install', '--quiet', 'litellm[proxy]'], {
      timeoutMs: 900_000,
    })
  },
  async start(options) {
    const directory = environment(options.cacheDirectory)
    const file = join(options.workDirectory, 'litellm.yaml')
    writeFileSync(file, configuration(options.mockUrl))
    const port = String(options.port)
    const args = ['--config', file, '--host', '127.0.0.1', '--port', port, '--num_workers', '1']
    const started = startPinned([join(directory, 'bin/litellm'), ...args], {
      core: options.cores.proxy,
      cwd: options.workDirectory,
      env: { ...process.env, LITELLM_LOG: 'ERROR', LITELLM_LOCAL_MODEL_COST_MAP: 'True' },
    })
    const peer = {
      url: `http://127.0.0.1:${port}`,
      headers: { authorization: `Bearer ${masterKey}` },
      model: 'mock',
      version: await installedVersion(directory),
      pids: () => treeOf(started.pid),
      otherPids: () => [],
      stop: started.stop,
    }
    try {
      await answers(peer, startTimeoutMs, started.output)
    } catch (error) {
      await started.stop()
      throw error
    }
    return peer
  },
}

function environment(cacheDirectory: string): string {
  return join(cacheDirectory, 'litellm')
}

async function installedVersion(directory: string): Promise<string> {
  const code = "from importlib.metadata import version; print(version('litellm'))"
  return (await output(join(directory, 'bin/python'), ['-c', code])).trim()
}

/** JSON is YAML. */
function configuration(mockUrl: string): string {
  return JSON.stringify({
    model_list: [
      {
        model_name: 'mock',
        litellm_params: { model: 'openai/mock', api_base: `${mockUrl}/v1`, api_key: 'none' },
      },
    ],
    general_settings: { master_key: masterKey },
    litellm_settings: { telemetry: false, num_retries: 0 },
  })
}
