import { defineEndpoint } from '../endpoint.ts'
import { translationsDoc } from '../openapi/operations/audio.ts'
import { sendTranscript, toTranscriptionWork, type TranscriptionWork } from '../audio/transcribe.ts'

const path = '/v1/audio/translations'

export const translations = defineEndpoint<TranscriptionWork>({
  path,
  body: 'multipart',
  doc: translationsDoc,
  parse: (body, { headers }) => toTranscriptionWork({ body, headers }, 'translate', path),
  respond: sendTranscript,
})
