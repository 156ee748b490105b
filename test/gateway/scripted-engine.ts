/** An engine that answers as a test says, piece by piece where it wants, and keeps what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readForm, type Form } from '../../src/gateway/wire/multipart.ts'

export interface EngineHears {
  readonly path: string
  /** Empty where a form came instead. */
  readonly body: Record<string, unknown>
  readonly form?: Form
  /** Resolves when the answer has gone, or whoever asked. */
  readonly closed: Promise<void>
}

export type EngineSays = WholeAnswer | PiecedAnswer

export interface WholeAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body: unknown
}

export interface PiecedAnswer {
  readonly status?: number
  /** Of an event stream, where they say nothing else. */
  readonly headers?: Readonly<Record<string, string>>
  /** Each leaves by itself, once the connection has taken the one before. */
  readonly pieces: Iterable<Piece> | AsyncIterable<Piece>
  /** `whole`, the default, ends as HTTP does, `cut` closes the connection before that, `held` leaves it open. */
  readonly ending?: 'whole' | 'cut' | 'held'
}

type Piece = string | Uint8Array

/** May take its time. */
export type Script = (request: EngineHears) => EngineSays | Promise<EngineSays>

export interface ScriptedEngine {
  readonly url: string
  /** What was asked since the last call. Looks of the gateway after the engine's health are not told. */
  heard(): readonly EngineHears[]
  close(): Promise<void>
}

const formLimits = { fileBytesMax: 32 * 1024 * 1024, filesMax: 1 }

export const toEvent = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
/** The end of OpenAI's streams. */
export const doneEvent = 'data: [DONE]\n\n'

export async function startScriptedEngine(script: Script): Promise<ScriptedEngine> {
  let heard: EngineHears[] = []
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.method !== 'POST') {
      send(response, { body: { data: [] } })
      return
    }
    const asked = await hear(request, response)
    heard.push(asked)
    const says = await script(asked)
    if ('pieces' in says) await sendPieces(response, says, asked.closed)
    else send(response, says)
  }
  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, it has a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    heard() {
      const all = heard
      heard = []
      return all
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function hear(request: IncomingMessage, response: ServerResponse): Promise<EngineHears> {
  const closed = new Promise<void>((resolve) => response.once('close', resolve))
  const chunks: Buffer[] = []
  // A request without an encoding yields Buffers.
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  const path = request.url ?? ''
  if (request.headers['content-type']?.startsWith('multipart/') === true) {
    return { path, body: {}, form: await readForm([bytes], request.headers, formLimits), closed }
  }
  const body = bytes.length === 0 ? {} : (JSON.parse(bytes.toString()) as Record<string, unknown>)
  return { path, body, closed }
}

function send(response: ServerResponse, { status = 200, headers, body }: WholeAnswer): void {
  response
    .writeHead(status, { 'content-type': 'application/json', ...headers })
    .end(JSON.stringify(body))
}

async function sendPieces(
  response: ServerResponse,
  { status = 200, headers, pieces, ending = 'whole' }: PiecedAnswer,
  closed: Promise<void>,
): Promise<void> {
  response.writeHead(status, { 'content-type': 'text/event-stream', ...headers })
  for await (const piece of pieces) {
    const taken = new Promise((resolve) => response.write(piece, resolve))
    await Promise.race([taken, closed])
    if (response.destroyed) return
  }
  if (ending === 'whole') response.end()
  else if (ending === 'cut') response.destroy()
}
