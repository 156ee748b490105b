/** One segment of a live session as billable work. */
import { Fault } from '../../../platform/fault.ts'
import { defineEndpoint, type Endpoint } from '../../endpoint.ts'
import {
  completedEvent,
  deltaEvent,
  renderEvent,
  type ServerEvent,
} from '../../wire/openai/realtime-events.ts'
import type { Work } from '../../work.ts'
import { toWav } from '../wav-writer.ts'
import type { MinuteMeter } from './minutes.ts'
import { samplesPerSecondOf, type LiveSettings } from './settings.ts'

export interface LiveSegment {
  readonly itemId: string
  /** 16-bit samples. */
  readonly samples: Buffer
  readonly settings: LiveSettings
}

interface SegmentJob {
  readonly path: string
  readonly segment: LiveSegment
  readonly minutes: MinuteMeter
  readonly say: (text: string) => Promise<void> | undefined
}

export function segmentEndpoint({ path, segment, minutes, say }: SegmentJob): Endpoint {
  const { itemId, samples, settings } = segment
  const audioMs = (samples.length / 2 / samplesPerSecondOf[settings.format]) * 1_000
  const tell = async (event: ServerEvent): Promise<void> => {
    await say(renderEvent(event))
  }
  return defineEndpoint({
    path,
    parse: () => toWork(path, segment, minutes.billedMs(audioMs)),
    async respond({ parts }) {
      let transcript = ''
      for await (const part of parts) {
        if (part.type !== 'text-delta') continue
        transcript += part.text
        await tell(deltaEvent(itemId, part.text))
      }
      minutes.served(audioMs)
      await tell(completedEvent(itemId, transcript.trim(), audioMs))
    },
  })
}

function toWork(path: string, { samples, settings }: LiveSegment, billedMs: number): Work {
  if (settings.model === undefined) throw modelMissing()
  const { language, prompt } = settings
  return {
    endpoint: path,
    modelName: settings.model,
    streamed: true,
    tasks: [
      {
        kind: 'transcription',
        goal: 'transcribe',
        audio: {
          bytes: toWav(samples, samplesPerSecondOf[settings.format]),
          mediaType: 'audio/wav',
          fileName: 'audio.wav',
        },
        language,
        prompt,
        temperature: undefined,
        timestamps: 'none',
      },
    ],
    estimatedInputTokens: 0,
    inputTokensMax: 0,
    longestTextBytes: Buffer.byteLength(prompt ?? ''),
    choices: 0,
    maxOutputTokens: 0,
    units: { audioMs: billedMs },
  }
}

function modelMissing(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'No model is set. Name one in session.update, as audio.input.transcription.model.',
    param: 'session.audio.input.transcription.model',
  })
}
