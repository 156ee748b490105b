import { defineEndpoint } from '../endpoint.ts'
import { transcriptionsDoc } from '../openapi/operations/audio.ts'
import { sendTranscript, toTranscriptionWork, type TranscriptionWork } from '../audio/transcribe.ts'

const path = '/v1/audio/transcriptions'

export const transcriptions = defineEndpoint<TranscriptionWork>({
  path,
  body: 'multipart',
  doc: transcriptionsDoc,
  parse: (body, { headers }) => toTranscriptionWork({ body, headers }, 'transcribe', path),
  respond: sendTranscript,
})
