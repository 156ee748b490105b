/** Sessions over real sockets on loopback; only the clock is ours. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { manualClock } from '../../platform/clock.ts'
import { openSession, type Session } from './session.ts'

const servers: Server[] = []
const clients: WebSocket[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.terminate()
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

interface Pair {
  readonly session: Session
  readonly client: WebSocket
  readonly transport: Socket
  readonly clock: ReturnType<typeof manualClock>
  readonly closed: Promise<readonly [code: number, reason: string]>
}

async function connected(
  options: { readonly messageBytesMax?: number; readonly autoPong?: boolean } = {},
): Promise<Pair> {
  const { messageBytesMax = 1_000_000, autoPong = true } = options
  const clock = manualClock()
  const server = createServer()
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const door = new WebSocketServer({ noServer: true })
  const accepted = new Promise<{ webSocket: WebSocket; transport: Socket }>((resolve) => {
    server.once('upgrade', (request, transport, head) => {
      door.handleUpgrade(request, transport, head, (webSocket) =>
        resolve({ webSocket, transport: request.socket }),
      )
    })
  })
  const client = new WebSocket(`ws://127.0.0.1:${port}/`, { autoPong })
  clients.push(client)
  const closed = new Promise<readonly [number, string]>((resolve) =>
    client.once('close', (code, reason) => resolve([code, reason.toString()])),
  )
  client.on('error', () => {})
  const { webSocket, transport } = await accepted
  if (client.readyState !== client.OPEN)
    await new Promise((resolve) => client.once('open', resolve))
  const caller = {
    tenantId: 'ten_a',
    projectId: 'prj_a',
    apiKeyId: 'key_a',
    currency: 'EUR',
    priceListId: 'standard',
    allowedModels: undefined,
    allowedLocations: [],
  }
  const session = openSession(
    {
      caller,
      identify: () => caller,
      requestId: 'req_test',
      ip: '127.0.0.1',
      headers: {},
      query: new URLSearchParams(),
    },
    { webSocket, transport, messageBytesMax, stalledReaderMs: 50 },
    clock,
  )
  return { session, client, transport, clock, closed }
}

async function hear(session: Session): Promise<(string | Buffer)[]> {
  const heard: (string | Buffer)[] = []
  for await (const message of session.socket.messages) heard.push(message)
  return heard
}

/** Twenty seconds pass, in which the client answers the ping: what it says afterwards is heard after its pong. */
async function beat({ session, client, clock }: Pair): Promise<void> {
  const pinged = new Promise((resolve) => client.once('ping', resolve))
  clock.advance(20_000)
  await pinged
  client.send('here')
  const { value } = await session.socket.messages[Symbol.asyncIterator]().next()
  expect(value).toBe('here')
}

test('text is heard as text, bytes as bytes, in order, until the client leaves', async () => {
  const { session, client } = await connected()
  client.send('one')
  client.send(Buffer.from([1, 2]))
  client.send('drei €')
  const heard = hear(session)
  client.close()
  // What a client that has left said last is of no use to it any more, so some of it may be dropped.
  const all = await heard
  expect(['one', Buffer.from([1, 2]), 'drei €'].slice(0, all.length)).toEqual(all)
  expect(session.socket.ending).toBe('client-left')
  expect(session.socket.signal.aborted).toBe(true)
})

test('a client that answers pings stays, and one that does not is given up', async () => {
  const lively = await connected()
  for (let times = 0; times < 3; times += 1) await beat(lively)
  expect(lively.session.socket.ending).toBeUndefined()

  const silent = await connected({ autoPong: false })
  silent.clock.advance(20_000)
  expect(silent.session.socket.ending).toBeUndefined()
  silent.clock.advance(20_000)
  expect(silent.session.socket.ending).toBe('client-left')
  expect((await silent.closed)[0]).toBe(1006)
})

test('after 60 minutes no message is taken, and what is under way has half a minute', async () => {
  const pair = await connected()
  const { session, client, clock, closed } = pair
  for (let times = 1; times < 180; times += 1) await beat(pair)
  expect(session.socket.ending).toBeUndefined()
  clock.advance(20_000)
  expect(await hear(session)).toEqual([])
  expect(session.socket.ending).toBe('session-limit')
  expect(session.socket.signal.aborted).toBe(false)
  void session.socket.send('the rest')
  const rest = new Promise((resolve) =>
    client.once('message', (bytes: Buffer) => resolve(bytes.toString())),
  )
  expect(await rest).toBe('the rest')
  // When this is answered, the client's own pong has arrived too.
  const answered = new Promise((resolve) => client.once('pong', resolve))
  client.ping()
  await answered
  clock.advance(30_000)
  expect(session.socket.signal.aborted).toBe(true)
  expect(await closed).toEqual([1001, 'A session lasts 60 minutes. Connect again.'])
})

test('a drain ends the messages, and the goodbye says that the gateway restarts', async () => {
  const { session, closed } = await connected()
  const heard = hear(session)
  session.drain()
  await heard
  expect(session.socket.signal.aborted).toBe(false)
  await session.finish('done')
  expect(await closed).toEqual([1012, 'This gateway restarts. Connect again.'])
})

test('a route that fails closes its socket as an error of ours', async () => {
  const { session, closed } = await connected()
  await session.finish('failed')
  expect(await closed).toEqual([1011, 'The server had an error.'])
})

test('messages that nobody reads make the client wait, and all of them arrive in the end', async () => {
  const { session, client } = await connected({ messageBytesMax: 100_000 })
  const count = 1_000
  const message = 'x'.repeat(10_000)
  for (let index = 0; index < count; index += 1) client.send(message)
  // As long as it moves, the client still has room: then it stands still with most of it unsent.
  let waiting = client.bufferedAmount
  for (let before = Infinity; before !== waiting;) {
    before = waiting
    await new Promise((resolve) => setTimeout(resolve, 50))
    waiting = client.bufferedAmount
  }
  expect(waiting).toBeGreaterThan(1_000_000)
  let heard = 0
  for await (const each of session.socket.messages) {
    expect(each.length).toBe(message.length)
    heard += 1
    if (heard === count) break
  }
  expect(client.bufferedAmount).toBe(0)
})

test('a client that reads nothing is given up', async () => {
  const { session, client } = await connected()
  client.pause()
  const piece = 'x'.repeat(1_000_000)
  while (!session.socket.signal.aborted) await session.socket.send(piece)
  expect(session.socket.ending).toBe('stalled-reader')
})
