/** One live transcription: what the client says, in order. Beside it the segments are transcribed, one after the other. */
import { Fault, toFault } from '../../../platform/fault.ts'
import { randomBase62 } from '../../../platform/ids.ts'
import type { GatewayDeps } from '../../deps.ts'
import type { ClientSocket } from '../../sockets/socket-route.ts'
import {
  committedEvents,
  errorEvent,
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
import { createLiveInput, type InputEvent, type LiveInput } from './input.ts'
import { createSegmentQueue } from './segment-queue.ts'
import { samplesPerSecondOf, turnDetectionDefault, type LiveSettings } from './settings.ts'

const sessionSecondsMax = 3_600

export async function runLiveSession(
  socket: ClientSocket,
  path: string,
  deps: GatewayDeps,
): Promise<void> {
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
  let input = openInput(settings, 0)
  let itemId = newItemId()
  let previousItemId: string | null = null
  let room: Promise<void> | undefined

  const say = (event: ServerEvent): void => {
    room = socket.send(renderEvent(event)) ?? room
  }

  const segments = createSegmentQueue({ socket, path, say }, deps)

  const transcribe = (samples: Buffer): void => {
    for (const event of committedEvents(form, { itemId, previousItemId })) say(event)
    // Segments that wait for their turn keep what the session was set to when they ended.
    segments.add({ itemId, samples, settings })
    previousItemId = itemId
    itemId = newItemId()
  }

  const update = (change: SettingsChange): void => {
    const next = { ...settings, ...change }
    const isNewInput = 'format' in change || 'turnDetection' in change
    if (next.format !== settings.format && !input.isEmpty) throw formatInUse()
    settings = next
    if (!isNewInput) return
    // What was said before is not lost by the change.
    const { positionMs } = input
    const kept = input.commit() ?? Buffer.alloc(0)
    const keptMs = Math.floor((kept.length / 2 / samplesPerSecondOf[next.format]) * 1_000)
    input = openInput(settings, positionMs - keptMs)
    hear(input.append(kept))
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
    if (segments.isFull) await segments.done
  }
  // What was committed is answered, as long as there is somebody to hear it.
  await segments.done
}

function openInput({ format, turnDetection }: LiveSettings, startMs: number): LiveInput {
  return createLiveInput(samplesPerSecondOf[format], turnDetection, startMs)
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
