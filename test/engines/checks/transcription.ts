/** Transcription of a spoken sentence. */
import { createReadStream } from 'node:fs'
import { hold, spokenText, yes, type Check } from './check.ts'

const words = (text: string): readonly string[] => text.toLowerCase().match(/[a-z]+/g) ?? []

export const transcriptionChecks: readonly Check[] = [
  {
    name: 'transcription',
    task: 'transcription',
    async run({ client, offer, speechPath }) {
      const { text } = await client.audio.transcriptions.create({
        model: offer.model,
        file: createReadStream(speechPath),
        language: 'en',
      })
      const heard = new Set(words(text))
      const wanted = words(spokenText)
      const share = wanted.filter((word) => heard.has(word)).length / wanted.length
      hold(share >= 0.6, `only ${Math.round(share * 100)} % of the words were heard`)
      return yes
    },
  },
  {
    name: 'translation',
    task: 'transcription',
    async run({ client, offer, speechPath }) {
      const { text } = await client.audio.translations.create({
        model: offer.model,
        file: createReadStream(speechPath),
      })
      hold(words(text).includes('fox'), 'English did not stay English')
      return yes
    },
  },
  {
    name: 'segments with times',
    task: 'transcription',
    async run({ client, offer, speechPath }) {
      const { duration, segments = [] } = await client.audio.transcriptions.create({
        model: offer.model,
        file: createReadStream(speechPath),
        response_format: 'verbose_json',
        timestamp_granularities: ['segment'],
      })
      hold(segments.length > 0, 'no segments')
      hold(duration > 2 && duration < 5, `the audio would last ${duration} s`)
      const ends = segments.every(({ start, end }) => start >= 0 && end >= start)
      hold(ends, 'a segment that ends before it begins')
      return yes
    },
  },
]
