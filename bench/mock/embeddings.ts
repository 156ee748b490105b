/** Vectors that depend on the text alone, so that equal texts get equal vectors. Pure. */
import { createHash } from 'node:crypto'
import type { EmbeddingBody } from './validate.ts'

const defaultDimensions = 8
const dimensionsMax = 4_096

export function embeddingAnswer(body: EmbeddingBody): string {
  const inputs = listOfInputs(body.input)
  const dimensions = Math.min(body.dimensions ?? defaultDimensions, dimensionsMax)
  const data = inputs.map((input, index) => {
    const values = vector(input, dimensions)
    const embedding =
      body.encoding_format === 'base64'
        ? Buffer.from(Float32Array.from(values).buffer).toString('base64')
        : values
    return { object: 'embedding', index, embedding }
  })
  const tokens = inputs.reduce((sum, input) => sum + Math.ceil(input.length / 4), 0)
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return JSON.stringify({ object: 'list', model: body.model, data, usage })
}

/** A text, a list of texts, one list of tokens, or a list of those. */
function listOfInputs(input: EmbeddingBody['input']): readonly string[] {
  if (typeof input === 'string') return [input]
  if (typeof input[0] === 'number') return [JSON.stringify(input)]
  return input.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)))
}

/** Of length 1. */
function vector(text: string, dimensions: number): number[] {
  const bytes = createHash('shake256', { outputLength: dimensions * 2 })
    .update(text)
    .digest()
  const raw = Array.from(
    { length: dimensions },
    (_, at) => bytes.readInt16LE(at * 2) / 32_768 || 0.5,
  )
  const length = Math.hypot(...raw)
  return raw.map((value) => Math.fround(value / length))
}
