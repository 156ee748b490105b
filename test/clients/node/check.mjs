/** Runs the checks of one client, in order, and prints one JSON line for each: what it is, and whether it held. */
import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const baseUrl = process.env.COLONNADE_BASE_URL
export const rootUrl = baseUrl.replace(/\/v1$/, '')
export const apiKey = process.env.COLONNADE_API_KEY
export const chatModel = process.env.COLONNADE_CHAT_MODEL
export const embeddingModel = process.env.COLONNADE_EMBEDDING_MODEL
export { assert }

export const weatherSchema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
}
export const sentences = [
  'That is a happy person.',
  'That is a very happy person.',
  'Today is a sunny day.',
]

/** The vectors are of the three sentences, of which the first two are alike. Wrongly decoded vectors are not. */
export function sameDirection(vectors) {
  assert.equal(vectors.length, 3)
  assert.equal(vectors[0].length, 384)
  const near = cosine(vectors[0], vectors[1])
  const far = cosine(vectors[0], vectors[2])
  assert.ok(near > 0.8 && far < 0.5, `cosines ${near} and ${far}`)
}

function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, index) => sum + value * y[index], 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

/** `checks`: name → function. `packageName` is the one whose version the table names. */
export async function run(packageName, checks) {
  const manifest = join(process.env.COLONNADE_NODE_MODULES, packageName, 'package.json')
  print({ version: JSON.parse(readFileSync(manifest, 'utf8')).version })
  let failed = false
  for (const [name, check] of Object.entries(checks)) {
    const started = performance.now()
    let detail = ''
    try {
      await bounded(check())
    } catch (error) {
      failed = true
      detail = `${error?.name}: ${error?.message}`.slice(0, 600)
    }
    const seconds = Number(((performance.now() - started) / 1000).toFixed(2))
    print({ check: name, outcome: detail === '' ? 'passed' : 'failed', detail, seconds })
  }
  process.exit(failed ? 1 : 0)
}

function bounded(promise) {
  const limit = new Promise((_, reject) => {
    setTimeout(() => reject(new Error('took longer than 120 s')), 120_000).unref()
  })
  return Promise.race([promise, limit])
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
