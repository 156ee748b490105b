/**
 * One live transcription: what the client says, in order; and beside it the segments, one after the other, each a request of its own through the
 * pipeline, so that it is held, limited and billed like any other, whatever becomes of the socket.
 */
import { Fault, toFault } from '../../../platform/fault.ts'
import { randomBase62 } from '../../../platform/ids.ts'
import type { GatewayDeps } from '../../deps.ts'
import { perform } from '../../pipeline.ts'
import { answerMessage } from '../../sockets/message.ts'
import type { ClientSocket } from '../../sockets/socket-route.ts'
import {
  committedEvents,
  errorEvent,
  failedEvent,
  renderEvent,
  sessionEvent,
  speechEvent,
  type ServerEvent,
} from '../../wire/openai/realtime-events.ts'
import {
  parseLiveRequest,
  readEventId,
  type LiveRequest,
  type SettingsChange,
} from '../../wire/openai/realtime-request.ts'
import { decodeG711 } from './g711.ts'
import { createLiveInput, type InputEvent } from './input.ts'
import { createMinuteMeter } from './minutes.ts'
import { segmentEndpoint } from './segment.ts'
import { samplesPerSecondOf, turnDetectionDefault, type LiveSettings } from './settings.ts'

/** Beyond it the client waits: a minute of sound each, at most. */
const segmentsWaitingMax = 4
const sessionSecondsMax = 3_600

export async function runLiveSession(
  socket: ClientSocket,
  path: string,
  deps: GatewayDeps,
): Promise<void> {
  const minutes = createMinuteMeter()
  const id = `sess_${randomBase62(21)}`
  const expiresAtSeconds = Math.floor(deps.clock.nowMs() / 1_000) + sessionSecondsMax
  let form =
    socket.headers['openai-beta'] === 'realtime=v1' ? ('older' as const) : ('newer' as const)
  let settings: LiveSettings = {
    format: 'pcm16',
    model: socket.query.get('model') ?? undefined,
    language: undefined,
    prompt: undefined,
    turnDetection: turnDetectionDefault,
  }
  let input = openInput(settings)
  let itemId = newItemId()
  let previousItemId: string | null = null
  let segmentsWaiting = 0
  let segmentsDone = Promise.resolve()
  let room: Promise<void> | undefined

  const say = (event: ServerEvent): void => {
    room = socket.send(renderEvent(event)) ?? room
  }

  /** Segments that wait for their turn keep what the session was set to when they ended. */
  const transcribe = (samples: Buffer): void => {
    const segment = { itemId, samples, settings }
    for (const event of committedEvents(form, { itemId, previousItemId })) say(event)
    previousItemId = itemId
    itemId = newItemId()
    segmentsWaiting += 1
    segmentsDone = segmentsDone.then(async () => {
      if (!socket.signal.aborted) {
        await answerMessage(
          { socket, path, fail: (fault) => say(failedEvent(segment.itemId, fault)) },
          deps,
          (exchange) => {
            const endpoint = segmentEndpoint({ path, segment, minutes, say: socket.send })
            const caller = socket.identify()
            return perform({ endpoint, exchange, caller, body: Buffer.alloc(0) }, deps)
          },
        )
      }
      segmentsWaiting -= 1
    })
  }

  const update = (change: SettingsChange): void => {
    const next = { ...settings, ...change }
    const isNewInput = 'format' in change || 'turnDetection' in change
    if (next.format !== settings.format && !input.isEmpty) throw formatInUse()
    settings = next
    if (!isNewInput) return
    // What was said before is not lost by the change.
    const kept = input.commit()
    input = openInput(settings)
    if (kept) hear(input.append(kept))
  }

  const hear = (events: readonly InputEvent[]): void => {
    for (const event of events) {
      if (event.type === 'segment') transcribe(event.samples)
      else say(speechEvent(event.type, itemId, event.atMs))
    }
  }

  const take = (request: LiveRequest): void => {
    if (request.type === 'update') {
      update(request.change)
      form = request.form
      say(sessionEvent('updated', form, { id, expiresAtSeconds, settings }))
    } else if (request.type === 'append') {
      const { format } = settings
      const { bytes } = request
      hear(input.append(format === 'pcm16' ? bytes : decodeG711(format, bytes)))
    } else if (request.type === 'clear') {
      input.clear()
      say({ type: 'input_audio_buffer.cleared' })
    } else {
      const samples = input.commit()
      if (!samples) throw nothingToCommit()
      transcribe(samples)
    }
  }

  say(sessionEvent('created', form, { id, expiresAtSeconds, settings }))
  for await (const message of socket.messages) {
    try {
      take(parseLiveRequest(message))
    } catch (error) {
      const fault = toFault(error)
      if (fault.code === 'platform.bug') throw error
      say(errorEvent(fault, readEventId(message)))
    }
    await room
    room = undefined
    if (segmentsWaiting >= segmentsWaitingMax) await segmentsDone
  }
  // What was committed is answered, as long as there is somebody to hear it.
  await segmentsDone
}

function openInput(settings: LiveSettings): ReturnType<typeof createLiveInput> {
  return createLiveInput(samplesPerSecondOf[settings.format], settings.turnDetection)
}

function newItemId(): string {
  return `item_${randomBase62(21)}`
}

function formatInUse(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'The format cannot change while sound waits in the buffer. Commit or clear it first.',
    param: 'session.audio.input.format',
  })
}

function nothingToCommit(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'The buffer is empty: there is nothing to commit.',
  })
}
