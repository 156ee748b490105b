import { defineEndpoint } from '../endpoint.ts'
import { sendTranscript, toTranscriptionWork, type TranscriptionWork } from '../audio/transcribe.ts'

const path = '/v1/audio/transcriptions'

export const transcriptions = defineEndpoint<TranscriptionWork>({
  path,
  body: 'multipart',
  parse: (body, { headers }) => toTranscriptionWork({ body, headers }, 'transcribe', path),
  respond: sendTranscript,
})
