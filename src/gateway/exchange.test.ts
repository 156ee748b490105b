/** The bounds of one exchange over a real connection, with limits so short that a test can wait for them. */
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { generate } from 'selfsigned'
import { afterEach, expect, test } from 'vitest'
import { openExchange, type Exchange } from './exchange.ts'

let closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing) close()
  closing = []
})

const limits = {
  bodyBytesMax: 1024 * 1024,
  bodyTimeoutMs: 100,
  stalledReaderMs: 100,
  totalTimeoutMs: 60_000,
}

const certificate = await generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec' })

/** A client that sends `bytes` and then reads only when it is told to; and the exchange that it began. */
async function begin(
  bytes: string,
  changes: Partial<typeof limits> = {},
  protocol: 'http' | 'https' = 'http',
): Promise<{ readonly exchange: Exchange; readonly client: Socket }> {
  const begun = Promise.withResolvers<Exchange>()
  const answer: RequestListener = (request, response) => {
    const exchange = openExchange({
      request,
      response,
      requestId: 'req_1',
      ip: '127.0.0.1',
      startedMs: 0,
      elapsedMs: () => 0,
      commonHeaders: {},
      limits: { ...limits, ...changes },
    })
    closing.push(() => exchange.close())
    begun.resolve(exchange)
  }
  const { cert, private: key } = certificate
  const server = protocol === 'http' ? createServer(answer) : createTlsServer({ cert, key }, answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, so the address is not a path.
  const { port } = server.address() as AddressInfo
  const client =
    protocol === 'http'
      ? connect(port, '127.0.0.1')
      : connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: cert })
  client.on('error', () => {})
  client.pause()
  client.write(bytes)
  closing.push(() => {
    client.destroy()
    server.closeAllConnections()
    server.close()
  })
  return { exchange: await begun.promise, client }
}

const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'

test('a client that has vanished without a word is given up once it takes nothing for too long', async () => {
  const { exchange } = await begin(`${head}content-length: 0\r\n\r\n`)
  exchange.startStream({})
  const piece = 'x'.repeat(64 * 1024)
  let written = 0
  // Until all buffers between here and there are full; then nobody waits for ever.
  while (!exchange.signal.aborted) {
    await exchange.write(piece)
    written += piece.length
    if (written > 256 * 1024 * 1024) throw new Error('nothing ever held the writer back')
  }
  expect(exchange.clientLeft).toBe(true)
})

test('a request that takes too long in all is ended, and its client has not left', async () => {
  const { exchange } = await begin(`${head}content-length: 0\r\n\r\n`, { totalTimeoutMs: 50 })
  await new Promise<void>((resolve) => exchange.signal.addEventListener('abort', () => resolve()))
  expect(exchange.clientLeft).toBe(false)
})

test('a body that does not come is a timeout in words, and one that is left half is a client that has gone', async () => {
  const slow = await begin(`${head}content-length: 10\r\n\r\n{`)
  await expect(slow.exchange.readBody('json')).rejects.toMatchObject({
    code: 'client.request_timeout',
  })
  const left = await begin(`${head}content-length: 10\r\n\r\n{`, { bodyTimeoutMs: 60_000 })
  const reading = left.exchange.readBody('json')
  left.client.destroy()
  await expect(reading).rejects.toMatchObject({ code: 'client.gone' })
})

test('a body in chunks is read, whatever its length says nothing about', async () => {
  const { exchange } = await begin(
    `${head}transfer-encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n`,
  )
  expect(Buffer.concat(await exchange.readBody('json')).toString()).toBe('{"a":1}')
})

/** The text of an answer in chunks (RFC 9112, section 7.1). */
function unchunk(bytes: Buffer): string {
  const pieces: Buffer[] = []
  let at = bytes.indexOf('\r\n\r\n') + 4
  for (;;) {
    const sizeEnd = bytes.indexOf('\r\n', at)
    const size = Number.parseInt(bytes.toString('latin1', at, sizeEnd), 16)
    if (size === 0) return Buffer.concat(pieces).toString()
    pieces.push(bytes.subarray(sizeEnd + 2, sizeEnd + 2 + size))
    at = sizeEnd + 2 + size
    expect(bytes.toString('latin1', at, at + 2)).toBe('\r\n')
    at += 2
  }
}

/** Says texts of many lengths until it was held back often enough, or has said enough; returns what it said. */
async function speak(
  exchange: Exchange,
  {
    index,
    lengths,
    turns,
  }: { readonly index: number; readonly lengths: readonly number[]; readonly turns: number },
  heldBack: () => void,
): Promise<string> {
  const said: string[] = []
  let waits = 0
  for (let turn = 0; turn < turns && waits < 5; turn += 1) {
    const width = ['a', 'é', '漢', '🎉'][(index + turn) % 4] ?? ''
    const length = lengths[(index * 7 + turn * 3) % lengths.length] ?? 1
    const text = `${index}:${turn} ${width.repeat(length / width.length)}\n`
    said.push(text)
    const room = exchange.write(text)
    if (room) {
      waits += 1
      heldBack()
      await room
    }
    if (turn % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return said.join('')
}

for (const protocol of ['http', 'https'] as const) {
  test(`many streams at once say each its own, to readers that are slow and to readers that are not, over ${protocol}`, async () => {
    const one = async (index: number): Promise<void> => {
      const { exchange, client } = await begin(
        `${head}content-length: 0\r\n\r\n`,
        { stalledReaderMs: 30_000 },
        protocol,
      )
      const received: Buffer[] = []
      client.on('data', (piece: Buffer) => received.push(piece))
      const isSlow = index % 3 === 0
      if (!isSlow) client.resume()
      exchange.startStream({})
      const said = await speak(
        exchange,
        // Short ones fill a slow reader's buffers to the last byte; the others lie around what is framed in shared memory, and far beyond it.
        isSlow
          ? { index, lengths: [400, 1_500, 4_000], turns: 20_000 }
          : { index, lengths: [1, 300, 5_458, 5_459, 5_460, 16_000, 300_000], turns: 40 },
        // Late enough for the others to write in the meantime.
        () => setTimeout(() => client.resume(), 20),
      )
      if (isSlow) client.resume()
      exchange.endStream()
      while (!Buffer.concat(received).subarray(-5).equals(Buffer.from('0\r\n\r\n')))
        await new Promise((resolve) => setTimeout(resolve, 20))
      expect(unchunk(Buffer.concat(received)) === said).toBe(true)
    }
    await Promise.all(Array.from({ length: 24 }, (_, index) => one(index)))
  })
}
