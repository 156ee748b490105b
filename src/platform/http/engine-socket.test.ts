import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createHttpClient, type HttpClient } from './client.ts'
import { toJsonBody } from './json-body.ts'

const post = async (client: HttpClient, body: string | Buffer): Promise<Buffer[]> => {
  const response = await client.open({
    method: 'POST',
    path: '/',
    headers: { 'content-type': 'application/json' },
    body,
    signal: new AbortController().signal,
    firstByteTimeoutMs: 20_000,
    idleTimeoutMs: 20_000,
  })
  return await Array.fromAsync(response.body)
}

/** Starts the server, and ends both when the work is done. */
async function withServer(
  server: net.Server,
  work: (client: HttpClient) => Promise<void>,
  { listen, host } = { listen: '127.0.0.1', host: '127.0.0.1' },
): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, listen, resolve))
  const { port } = server.address() as AddressInfo
  const client = createHttpClient(`http://${host}:${port}`)
  try {
    await work(client)
  } finally {
    await client.close()
    server.close()
  }
}

const digest = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

test('long bodies arrive as they were sent, many at once, to engines that read slowly', async () => {
  const server = http.createServer((request, response) => {
    const hash = createHash('sha256')
    request.pause()
    request.on('data', (piece: Buffer) => hash.update(piece))
    request.on('end', () => response.end(hash.digest('hex')))
    setTimeout(() => request.resume(), Math.random() * 30)
  })
  await withServer(server, async (client) => {
    const one = async (seed: number): Promise<void> => {
      // The longest is beyond what is lent, and beyond what the kernel takes at once.
      const length = [100, 70_000, 400_000, 1_000_000, 6_000_000][seed % 5] ?? 0
      // Every other one is written as a whole, because of its line ends.
      const value = { text: `${seed} é ${(seed % 2 ? 'text ' : 'text\n').repeat(length / 5)}` }
      const answer = Buffer.concat(await post(client, toJsonBody(value))).toString()
      expect(answer).toBe(digest(JSON.stringify(value)))
    }
    for (let round = 0; round < 3; round += 1)
      await Promise.all(Array.from({ length: 25 }, (_, seed) => one(round * 100 + seed)))
  })
})

test('what an engine leaves unread does not disturb the bodies that follow', async () => {
  const server = http.createServer((request, response) => {
    if (request.headers['content-length'] === '900002') {
      // Refused before it was read.
      response.writeHead(413, { connection: 'close' }).end('no')
      return
    }
    const hash = createHash('sha256')
    request.on('data', (piece: Buffer) => hash.update(piece))
    request.on('end', () => response.end(hash.digest('hex')))
  })
  await withServer(server, async (client) => {
    const work = Array.from({ length: 60 }, async (_, index) => {
      if (index % 2 === 0) await post(client, toJsonBody('r'.repeat(900_000))).catch(() => {})
      else {
        const text = `${index}`.repeat(200_000)
        const answer = Buffer.concat(await post(client, toJsonBody(text))).toString()
        expect(answer).toBe(digest(JSON.stringify(text)))
      }
    })
    await Promise.all(work)
  })
})

for (const framing of ['length', 'chunks', 'close'] as const) {
  test(`a long answer is whole for a reader that pauses, ended by ${framing}`, async () => {
    const bytes = Buffer.from('0123456789abcdef'.repeat(250_000))
    const server = http.createServer((request, response) => {
      request.resume()
      if (framing === 'length') response.setHeader('content-length', bytes.length)
      if (framing === 'close') {
        response.removeHeader('transfer-encoding')
        response.useChunkedEncodingByDefault = false
        response.setHeader('connection', 'close')
      }
      response.end(bytes)
    })
    await withServer(server, async (client) => {
      const response = await client.open({
        method: 'POST',
        path: '/',
        headers: {},
        body: '{}',
        signal: new AbortController().signal,
        firstByteTimeoutMs: 20_000,
        idleTimeoutMs: 20_000,
      })
      const hash = createHash('sha256')
      let pieces = 0
      for await (const piece of response.body) {
        hash.update(piece)
        pieces += 1
        // Longer than the kernel needs to fill what may wait here.
        if (pieces % 16 === 1) await sleep(20)
      }
      expect(hash.digest('hex')).toBe(digest(bytes))
    })
  })
}

test('an engine that breaks off is told from one that ended', async () => {
  const server = net.createServer((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')
      setTimeout(() => socket.destroy(), 20)
    })
    socket.on('error', () => {})
  })
  await withServer(server, async (client) => {
    await expect(post(client, '{}')).rejects.toMatchObject({ code: 'upstream.truncated' })
  })
})

const addresses = new Set(
  Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []),
)
for (const at of [
  { listen: '::1', host: '[::1]' },
  { listen: '127.0.0.1', host: 'localhost' },
]) {
  // Some machines are set up without IPv6.
  test.skipIf(!addresses.has(at.listen))(`an engine at ${at.host} is reached`, async () => {
    const server = http.createServer((_request, response) => response.end('here'))
    await withServer(
      server,
      async (client) => {
        expect(Buffer.concat(await post(client, '{}')).toString()).toBe('here')
      },
      at,
    )
  })
}

test('where nobody listens, an engine is unreachable', async () => {
  const closed = net.createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const { port } = closed.address() as AddressInfo
  await new Promise((resolve) => closed.close(resolve))
  const client = createHttpClient(`http://127.0.0.1:${port}`)
  await expect(post(client, '{}')).rejects.toMatchObject({ code: 'upstream.unreachable' })
  await client.close()
})

/** A process that is stopped accepts nothing, and the kernel lets only so many wait. */
const stopped = `require('node:net').createServer().listen(0, '127.0.0.1', 1, function () {
  console.log(this.address().port)
  process.kill(process.pid, 'SIGSTOP')
})`

test('where nobody takes a connection, an engine is unreachable in time', async () => {
  const listener = spawn(process.execPath, ['-e', stopped])
  const [line] = (await once(listener.stdout, 'data')) as [Buffer]
  const port = Number(line)
  const waiting = Array.from({ length: 4 }, () => net.connect(port, '127.0.0.1'))
  const client = createHttpClient(`http://127.0.0.1:${port}`, { connectTimeoutMs: 100 })
  try {
    const refusal = { code: 'upstream.unreachable', internal: expect.stringContaining('100 ms') }
    await sleep(100)
    await expect(post(client, '{}')).rejects.toMatchObject(refusal)
  } finally {
    await client.close()
    for (const socket of waiting) socket.on('error', () => {}).destroy()
    listener.kill('SIGKILL')
  }
})
