/**
 * Servers of Whisper in OpenAI's manner: speaches, faster-whisper-server, whisper.cpp's server with `--inference-path /v1/audio/transcriptions`.
 * Some of them serve one model under any name and list none; then it is called as OpenAI calls it.
 */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine, listOpenAiModels, type EngineGet } from '../protocol/connection.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { Fault } from '../../platform/fault.ts'

const anyWhisperModel = 'whisper-1'

export const whisper: EngineAdapter = {
  kind: 'whisper',
  connect: (address) =>
    connectEngine(address, {
      kind: 'whisper',
      dialects: { transcription: openAiTranscription },
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
      listModels,
      healthPath: '/health',
    }),
}

async function listModels(get: EngineGet, signal: AbortSignal): Promise<readonly string[]> {
  try {
    return await listOpenAiModels(get, signal)
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'upstream.failed') throw error
    // No list; a server that is not there at all fails here.
    await get('/health', signal)
    return [anyWhisperModel]
  }
}
