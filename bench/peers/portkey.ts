/** Portkey's gateway: the nearest relative in language. It checks no keys, limits or budgets in this setup. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { output, startPinned, treeOf } from '../process.ts'
import { answers, type Peer } from './peer.ts'

const version = '1.15.2'
const startTimeoutMs = 30_000
/** Newer versions of its HTTP server turn every stream into a 500. */
const manifest = {
  private: true,
  dependencies: { '@portkey-ai/gateway': version },
  overrides: { '@hono/node-server': '1.14.1' },
}

export const portkey: Peer = {
  name: 'Portkey',
  streamsMax: 200,
  async install(cacheDirectory) {
    const directory = join(cacheDirectory, 'portkey')
    if (existsSync(serverFile(cacheDirectory))) return
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'package.json'), JSON.stringify(manifest))
    await output('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: directory,
    })
  },
  async start(options) {
    const file = serverFile(options.cacheDirectory)
    const started = startPinned([process.execPath, file, '--headless', `--port=${options.port}`], {
      core: options.cores.proxy,
      cwd: options.workDirectory,
      env: { ...process.env, TRUSTED_CUSTOM_HOSTS: '127.0.0.1', NODE_ENV: 'production' },
    })
    const peer = {
      url: `http://127.0.0.1:${options.port}`,
      headers: {
        authorization: 'Bearer none',
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': `${options.mockUrl}/v1`,
      },
      model: 'mock',
      version: installedVersion(options.cacheDirectory),
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

function packageDirectory(cacheDirectory: string): string {
  return join(cacheDirectory, 'portkey/node_modules/@portkey-ai/gateway')
}

function serverFile(cacheDirectory: string): string {
  return join(packageDirectory(cacheDirectory), 'build/start-server.js')
}

function installedVersion(cacheDirectory: string): string {
  const text = readFileSync(join(packageDirectory(cacheDirectory), 'package.json'), 'utf8')
  return String(JSON.parse(text).version)
}
