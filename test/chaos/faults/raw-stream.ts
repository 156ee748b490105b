/** A client of one stream on a bare socket, which may hang up, or read as slowly as it likes. */
import { connect, type Socket } from 'node:net'
import type { Scene } from '../scene.ts'

export interface RawStream {
  readonly socket: Socket
  /** What was read so far. */
  text(): string
  readonly requestId: string | undefined
}

export function openRawStream(scene: Scene, modelName: string, tokens: number): RawStream {
  const { apiUrl, apiKey } = scene.platform
  const url = new URL(apiUrl)
  const body = JSON.stringify({
    model: modelName,
    stream: true,
    stream_options: { include_usage: true },
    max_completion_tokens: tokens,
    messages: [{ role: 'user', content: 'tick' }],
  })
  let text = ''
  const socket = connect(Number(url.port), url.hostname)
  // It is cut on purpose.
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.write(
    `POST ${url.pathname}/chat/completions HTTP/1.1\r\nhost: ${url.host}\r\nauthorization: Bearer ${apiKey}\r\n` +
      `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  return {
    socket,
    text: () => text,
    get requestId() {
      return /\r\nx-request-id: ([^\r]+)/i.exec(text)?.[1]
    },
  }
}
