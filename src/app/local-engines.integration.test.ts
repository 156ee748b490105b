/** `serve` beside an engine that runs on the machine already: it is offered, nothing more, until somebody adds it. As processes. */
import { execFile } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root, startPlatform, type Platform } from '../../test/e2e/platform.ts'

const run = promisify(execFile)
const commandTimeoutMs = 30_000
const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-discovery-'))
const answers: Readonly<Record<string, unknown>> = {
  '/api/version': { version: '0.17.4' },
  '/api/tags': { models: [{ name: 'smollm2:135m' }] },
}
let ollama: Server
let url = ''
let platform: Platform

beforeAll(async () => {
  ollama = createServer((request, response) => {
    const answer = answers[request.url ?? '']
    response.writeHead(answer === undefined ? 404 : 200).end(JSON.stringify(answer ?? {}))
  })
  ollama.listen(0, '127.0.0.1')
  await once(ollama, 'listening')
  // A listening TCP server has an address with a port.
  url = `http://127.0.0.1:${(ollama.address() as AddressInfo).port}`
  writeFileSync(join(dataDirectory, 'colonnade.yaml'), JSON.stringify({ discovery: [url] }))
  platform = await startPlatform({ dataDirectory, args: ['--no-default-models'] })
})

afterAll(async () => {
  await platform?.stop()
  ollama.closeAllConnections()
  ollama.close()
  rmSync(dataDirectory, { recursive: true, force: true })
})

/** Without the environment of whoever runs the tests. */
async function colonnade(...args: readonly string[]): Promise<string> {
  const launcher = join(root, 'bin/colonnade.mjs')
  const { stdout } = await run(
    process.execPath,
    [launcher, 'engine', ...args, '--data', dataDirectory],
    { cwd: root, timeout: commandTimeoutMs, env: { PATH: process.env['PATH'] } },
  )
  return stdout
}

test('the first start offers the engine and connects nothing; the command finds and adds it', async () => {
  const found = [{ url, kind: 'ollama', models: ['smollm2:135m'] }]
  expect(platform.ready['localEngines']).toEqual(found)
  expect(JSON.parse(await colonnade('list', '--json'))).toEqual([])

  expect(JSON.parse(await colonnade('discover', '--json'))).toEqual(found)
  const told = await colonnade('discover')
  expect(told).toContain(`ollama at ${url}: smollm2:135m\n`)
  expect(told).toContain(`colonnade engine add ${url}\n`)
  expect(JSON.parse(await colonnade('list', '--json'))).toEqual([])

  await colonnade('discover', '--adopt')
  expect(JSON.parse(await colonnade('list', '--json'))).toMatchObject([
    { modelId: 'smollm2:135m', engineKind: 'ollama', baseUrl: url },
  ])
  expect(await colonnade('discover')).toMatch(/^No engine that is not connected/)
})
