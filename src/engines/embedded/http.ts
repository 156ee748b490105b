/** Reading bodies and writing answers, for the few routes of this server. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fault } from '../../platform/fault.ts'

/** A context of a million tokens fits, with JSON's escapes. */
const bodyBytesMax = 32 * 1024 * 1024

export async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    // A request without an encoding yields Buffers.
    const buffer = chunk as Buffer
    bytes += buffer.length
    if (bytes > bodyBytesMax) {
      throw new Fault({
        code: 'client.body_too_large',
        public: `The body is larger than ${bodyBytesMax} bytes.`,
      })
    }
    chunks.push(buffer)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new Fault({ code: 'client.invalid_json', public: 'The body is not valid JSON.' })
  }
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...headers,
  })
  response.end(text)
}

/** OpenAI's error body. After the first byte of a stream only an error event can be sent, which says the same. */
export function sendFault(response: ServerResponse, fault: Fault): void {
  const body = wireError(fault)
  if (response.headersSent) {
    response.end(`data: ${JSON.stringify(body)}\n\n`)
    return
  }
  const headers: Record<string, string> = {}
  if (fault.retryAfterMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(fault.retryAfterMs / 1_000)))
  }
  // An unread body would be taken for the next request.
  if (fault.code === 'client.body_too_large') headers['connection'] = 'close'
  sendJson(response, fault.status, body, headers)
}

function wireError(fault: Fault) {
  const isOurs = fault.status >= 500
  return {
    error: {
      message: fault.public,
      type: isOurs ? 'server_error' : 'invalid_request_error',
      param: fault.param ?? null,
      code: fault.code.split('.')[1] ?? null,
    },
  }
}

/** Aborts when the client is gone before the answer is complete. */
export function departure(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort()
  })
  return controller.signal
}
