import { assert } from '../../platform/assert.ts'
import { Fault } from '../../platform/fault.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint, type Answer } from '../endpoint.ts'
import { speechDoc } from '../openapi/operations/audio.ts'
import { streamAnswer } from '../stages/respond.ts'
import { keepAliveComment } from '../wire/openai/chat-stream.ts'
import {
  countCharacters,
  createSpeechStreamEncoder,
  parseSpeechRequest,
} from '../wire/openai/speech.ts'
import type { Work } from '../work.ts'

interface SpeechWork extends Work {
  readonly characters: number
  readonly asEvents: boolean
}

export const speech = defineEndpoint<SpeechWork>({
  path: '/v1/audio/speech',
  doc: speechDoc,

  parse: (bytes) => toSpeechWork(parseBoundedJson(bytes)),

  async respond(answer) {
    const { exchange, work, parts, deps } = answer
    if (!work.asEvents) return sendFile(answer)
    const encode = createSpeechStreamEncoder(work.characters)
    await streamAnswer({ exchange, parts, encode, keepAlive: keepAliveComment, clock: deps.clock })
  },
})

function toSpeechWork(value: unknown): SpeechWork {
  const { model, task, asEvents } = parseSpeechRequest(value)
  const characters = countCharacters(task.input)
  return {
    endpoint: '/v1/audio/speech',
    modelName: model,
    streamed: true,
    tasks: [task],
    estimatedInputTokens: 0,
    inputTokensMax: 0,
    longestTextBytes: Buffer.byteLength(task.input),
    choices: 0,
    maxOutputTokens: 0,
    units: { characters },
    characters,
    asEvents,
  }
}

/** The head waits for the first piece, so that an early failure has its true status. A file that was cut has no proper end. */
async function sendFile({ exchange, parts }: Answer<SpeechWork>): Promise<void> {
  try {
    for await (const part of parts) {
      if (part.type !== 'audio') continue
      if (!exchange.streamStarted) {
        exchange.startStream({ 'content-type': part.mediaType, 'cache-control': 'no-cache' })
      }
      const room = exchange.write(part.bytes)
      if (room) await room
      if (exchange.signal.aborted) throw gone()
    }
    assert(exchange.streamStarted, 'a spoken answer has bytes')
    exchange.endStream()
  } catch (error) {
    if (exchange.streamStarted) exchange.endStream('cut')
    throw error
  }
}

function gone(): Fault {
  return new Fault({ code: 'client.gone', public: 'The client closed the request.' })
}
