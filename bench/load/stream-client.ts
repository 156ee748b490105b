/** Holds many streams at once over bare sockets. A process of its own, so that it can be pinned to a core (streams.ts starts it). */
import { connect } from 'node:net'
import { createEventCounter } from './event-counter.ts'
import type { FromClient, StreamOrder, ToClient } from './stream-messages.ts'

/** All sockets read into one buffer: nothing is kept of what was counted. */
const readBuffer = Buffer.allocUnsafe(256 * 1024)
const gapBinMs = 0.25
/** The last bin holds all gaps of 10 s and more. */
const gapBins = new Uint32Array(40_000)
const complaintsMax = 5
const complaintCharacters = 200

const firstEventMs: number[] = []
const complaints: string[] = []
let events = 0
let begun = 0
let heldMax = 0
let complete = 0
let lost = 0
let short = 0

process.on('message', (message: ToClient) => {
  if (message.type === 'start') start(message.order)
  else mark()
})
process.once('disconnect', () => process.exit(0))

function start(order: StreamOrder): void {
  const startedMs = performance.now()
  let opened = 0
  const timer = setInterval(() => {
    const share = Math.min(1, (performance.now() - startedMs) / order.rampMs)
    while (opened < Math.ceil(share * order.streams)) {
      opened += 1
      open(order)
    }
    if (opened === order.streams) clearInterval(timer)
  }, 1)
}

function open(order: StreamOrder): void {
  const counter = createEventCounter()
  const sentMs = performance.now()
  let lastMs = 0
  let head = ''
  const socket = connect({
    host: order.host,
    port: order.port,
    noDelay: true,
    onread: {
      buffer: readBuffer,
      callback: (bytes) => {
        read(readBuffer.subarray(0, bytes))
        return true
      },
    },
  })
  socket.write(request(order))
  socket.on('error', (error) => complain(error.message))
  socket.on('close', () => end(order))

  function read(chunk: Buffer): void {
    if (head === '') head = chunk.toString('latin1', 0, complaintCharacters)
    const count = counter.count(chunk)
    if (count === 0) return
    const nowMs = performance.now()
    events += count
    if (lastMs === 0) {
      firstEventMs.push(nowMs - sentMs)
      begun += 1
      heldMax = Math.max(heldMax, begun - complete - lost)
      if (begun === order.streams) send({ type: 'holding' })
    } else {
      const bin = Math.min(gapBins.length - 1, Math.floor((nowMs - lastMs) / gapBinMs))
      gapBins[bin] = (gapBins[bin] ?? 0) + 1
    }
    lastMs = nowMs
  }
  function end({ streams, tokens }: StreamOrder): void {
    if (!counter.complete) {
      lost += 1
      complain(`${counter.events} events, then the end, after: ${head}`)
    } else {
      complete += 1
      if (counter.events < tokens) short += 1
    }
    if (complete + lost === streams) report()
  }
}

function request(order: StreamOrder): string {
  const body = JSON.stringify({
    model: order.model,
    max_tokens: order.tokens,
    stream: true,
    stream_options: { include_usage: true },
    messages: [{ role: 'user', content: 'Count.' }],
  })
  const headers = {
    host: `${order.host}:${order.port}`,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    // The end of the answer is the end of the connection.
    connection: 'close',
    ...order.headers,
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

function mark(): void {
  const gaps = { gapP50Ms: gapPercentile(0.5), gapP99Ms: gapPercentile(0.99) }
  send({ type: 'marked', atMs: performance.now(), events, ...gaps })
  gapBins.fill(0)
}

function report(): void {
  firstEventMs.sort((a, b) => a - b)
  const firstEvent = (share: number): number =>
    firstEventMs[Math.floor((firstEventMs.length - 1) * share)] ?? 0
  send({
    type: 'ended',
    complete,
    lost,
    heldMax,
    short,
    firstEventP50Ms: firstEvent(0.5),
    firstEventP99Ms: firstEvent(0.99),
    complaints,
  })
}

function gapPercentile(share: number): number {
  const total = gapBins.reduce((sum, count) => sum + count, 0)
  let seen = 0
  for (const [bin, count] of gapBins.entries()) {
    seen += count
    if (seen >= total * share) return bin * gapBinMs
  }
  return 0
}

function complain(text: string): void {
  if (complaints.length < complaintsMax) complaints.push(text)
}

function send(message: FromClient): void {
  process.send?.(message)
}
