/** Live transcription. Sessions that also answer by voice are not offered. */
import { runLiveSession } from '../audio/live/session.ts'
import { realtimeDoc } from '../openapi/operations/realtime.ts'
import type { SocketRoute } from '../sockets/socket-route.ts'

const path = '/v1/realtime'

export const realtime: SocketRoute = {
  path,
  doc: realtimeDoc,
  // More than a minute of sound in one event. A larger one would hold up everybody else while it is decoded.
  messageBytesMax: 6 * 1024 * 1024,
  open: (socket, deps) => runLiveSession(socket, path, deps),
}
