/** Multipart bodies, for the parser of every endpoint that takes one. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { endpoints } from '../../../src/gateway/routes.ts'
import { below } from '../../chaos/random.ts'
import { mutateBytes } from '../mutate.ts'
import { checkRefusal } from '../proper.ts'
import type { Target } from '../target.ts'
import { bodyContext } from './body-context.ts'

const parsers = endpoints.filter((endpoint) => endpoint.body === 'multipart')
const boundary = 'x-boundary-7'
const recordings = join(import.meta.dirname, '../../../src/gateway/audio/fixtures')

export function formsTarget(): Target {
  const files = readdirSync(recordings).filter((name) =>
    /\.(wav|mp3|ogg|flac|m4a|webm|opus)$/.test(name),
  )
  const seeds = files.map((name) => toForm(name, readFileSync(join(recordings, name))))
  if (seeds.length === 0) throw new Error('no recordings to start from')
  return {
    name: 'forms',
    prepare(random) {
      const endpoint = parsers[below(random, parsers.length)]
      const seed = seeds[below(random, seeds.length)]
      if (!endpoint || !seed) throw new Error('no endpoint takes a form')
      const header = below(random, 20) > 0 ? boundary : 'another'
      const context = bodyContext(`multipart/form-data; boundary=${header}`)
      const bytes = mutateBytes(random, seed)
      const cut = below(random, bytes.length + 1)
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)]
      return async () => {
        try {
          await endpoint.parse(pieces, context)
        } catch (error) {
          checkRefusal(error)
        }
      }
    },
  }
}

function toForm(name: string, file: Buffer): Buffer {
  const field = (key: string, value: string): string =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${key}"\r\n\r\n${value}\r\n`
  const head =
    field('model', 'm') +
    field('response_format', 'verbose_json') +
    field('timestamp_granularities[]', 'word') +
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: audio/wav\r\n\r\n`
  const tail = `\r\n${field('temperature', '0.5')}--${boundary}--\r\n`
  return Buffer.concat([Buffer.from(head), file, Buffer.from(tail)])
}
