/** A gateway as a process of its own, which can be killed as a power cut would. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

export interface GatewayProcess {
  readonly url: string
  kill(): Promise<void>
}

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const ready = z.object({ url: z.string() })

export async function startGatewayProcess(options: {
  readonly index: number
  readonly directory: string
  readonly appUrl: string
}): Promise<GatewayProcess> {
  const child = fork(main, ['gateway'], {
    env: {
      PATH: process.env['PATH'],
      COLONNADE_DATA: options.directory,
      COLONNADE_PORT: '0',
      COLONNADE_GATEWAY_INDEX: String(options.index),
      COLONNADE_LOG_LEVEL: 'silent',
      COLONNADE_APP_DATABASE_URL: options.appUrl,
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const [message] = await once(child, 'message')
  return {
    url: ready.parse(message).url,
    async kill() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}
