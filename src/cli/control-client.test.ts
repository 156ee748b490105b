import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { connectControl } from './control-client.ts'

type Handle = (request: IncomingMessage, response: ServerResponse) => void
const servers: (() => void)[] = []
afterEach(() => {
  for (const close of servers.splice(0)) close()
})

interface Seen {
  readonly method: string | undefined
  readonly key: string | undefined
  readonly body: string
}

/** A control API that does with each call in turn what the list says; the last goes for all that follow. */
async function startControl(...handles: readonly Handle[]) {
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const key = request.headers['idempotency-key']
    const handle = handles[seen.length] ?? handles.at(-1)
    seen.push({ method: request.method, key: typeof key === 'string' ? key : undefined, body })
    handle?.(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(() => {
    server.close()
    server.closeAllConnections()
  })
  // Listening on TCP, it has a port.
  const { port } = server.address() as AddressInfo
  const client = await connectControl({ controlUrl: `http://127.0.0.1:${port}`, token: 't' })
  return { client, seen }
}

const answer =
  (status: number, value: unknown): Handle =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
const hangUp: Handle = (request) => request.socket.destroy()
const breakOff: Handle = (request, response) => {
  response.writeHead(200, { 'content-length': '100' }).write('{"id"')
  setImmediate(() => request.socket.destroy())
}
const inProgress = answer(409, {
  error: { message: 'under way', code: 'idempotency.in_progress' },
})

test.each([
  ['before its answer', hangUp],
  ['within its answer', breakOff],
])('a change whose connection broke %s is sent once more, with the same key', async (_, broken) => {
  const { client, seen } = await startControl(broken, answer(200, { id: 'x' }))
  expect(await client.call('POST', '/api/v1/things', { name: 'a' })).toEqual({ id: 'x' })
  expect(seen).toHaveLength(2)
  expect(seen[0]?.key).toMatch(/^\w{22}$/)
  expect(seen[1]).toEqual(seen[0])
})

test('a change whose first arrival is under way is awaited', async () => {
  const { client, seen } = await startControl(hangUp, inProgress, answer(200, { id: 'x' }))
  expect(await client.call('POST', '/api/v1/things', {})).toEqual({ id: 'x' })
  expect(new Set(seen.map(({ key }) => key)).size).toBe(1)
})

test('two changes have two keys, and a read has none', async () => {
  const { client, seen } = await startControl(answer(200, {}))
  await client.call('POST', '/api/v1/things', {})
  await client.call('DELETE', '/api/v1/things/x')
  await client.call('GET', '/api/v1/things')
  expect(seen[0]?.key).not.toBe(seen[1]?.key)
  expect(seen[2]?.key).toBeUndefined()
})

test('a refusal is told at once, in its own words', async () => {
  const { client, seen } = await startControl(
    answer(409, { error: { message: 'The name is taken.', code: 'client.conflict' } }),
  )
  await expect(client.call('POST', '/api/v1/things', {})).rejects.toThrow('The name is taken.')
  expect(seen).toHaveLength(1)
})

test('a connection that breaks twice is told as one that does not answer', async () => {
  const { client, seen } = await startControl(hangUp)
  await expect(client.call('POST', '/api/v1/things', {})).rejects.toThrow('does not answer at')
  expect(seen).toHaveLength(2)
})
