import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { addressesToLookAt, findLocalEngines, usualAddresses } from './local-engines.ts'

/** As Ollama answers. */
async function startOllama(): Promise<{ url: string; asked: string[] }> {
  const answers: Readonly<Record<string, unknown>> = {
    '/api/version': { version: '0.17.4' },
    '/api/tags': { models: [{ name: 'smol:latest' }] },
  }
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.method ?? '')
    const answer = answers[request.url ?? '']
    response.writeHead(answer === undefined ? 404 : 200).end(JSON.stringify(answer ?? {}))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, asked }
}

const unending = new AbortController().signal

test('an engine that answers is found, with its kind and models; nobody at an address is no news', async () => {
  const { url, asked } = await startOllama()
  const found = await findLocalEngines(['http://127.0.0.1:9', url], [], unending)
  expect(found).toEqual([{ url, kind: 'ollama', models: ['smol:latest'] }])
  expect(new Set(asked)).toEqual(new Set(['GET']))
})

test('an engine that is connected already is not even looked at', async () => {
  const { url, asked } = await startOllama()
  expect(await findLocalEngines([url], [null, url], unending)).toEqual([])
  expect(asked).toEqual([])
})

test('the configuration says where to look: at the usual ports, nowhere, or at addresses of its own', () => {
  expect(addressesToLookAt(true)).toBe(usualAddresses)
  expect(usualAddresses).toContain('http://127.0.0.1:11434')
  expect(addressesToLookAt(false)).toEqual([])
  expect(addressesToLookAt(['http://127.0.0.1:9000/v1/'])).toEqual(['http://127.0.0.1:9000'])
})
