/** Vectors of texts. */
import { z } from 'zod'
import { describeRefusal, isUnsupported, mustAnswer, readRefusal } from '../answer.ts'
import { fail, must, skip, type Api, type Check, type Subject } from '../check.ts'

const shared = { categories: ['embedding'], required: true } as const
const path = '/embeddings'
const overrunTokensMax = 262_144
const texts = [
  'The lighthouse stands on a rock.',
  'Interest rates fell in March.',
  'A cat.',
] as const

const answer = z.object({
  data: z.array(
    z.object({
      index: z.number().optional().catch(undefined),
      embedding: z.union([z.array(z.number()), z.string()]),
    }),
  ),
  usage: z
    .object({ prompt_tokens: z.number(), total_tokens: z.number() })
    .optional()
    .catch(undefined),
})
type Answer = z.infer<typeof answer>

async function embed(api: Api, subject: Subject, fields: object): Promise<Answer> {
  const body = { model: subject.model, encoding_format: 'float', ...fields }
  return read(mustAnswer(await api.send({ path, body })).body)
}

function read(body: unknown): Answer {
  return answer.safeParse(body).data ?? fail('the answer is no list of vectors')
}

/** Of each text, in the order of the list, whatever the indices say. */
function vectorsOf({ data }: Answer): readonly (readonly number[])[] {
  const vectors = data.map(({ embedding }) => (Array.isArray(embedding) ? embedding : []))
  must(
    vectors.every((vector) => vector.length > 0),
    'an embedding is no list of numbers',
  )
  return vectors
}

function cosine(a: readonly number[] = [], b: readonly number[] = []): number {
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, value, place) => sum + value * (y[place] ?? 0), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

export const embeddingsBase64: Check = {
  ...shared,
  id: 'embeddings.base64',
  title: 'base64 holds the same numbers as the list of floats',
  advice: "OpenAI's SDKs ask for base64: they get other vectors than clients that ask for floats.",
  async run(api, subject) {
    const input = texts[0]
    const [floats] = vectorsOf(await embed(api, subject, { input }))
    const { data } = await embed(api, subject, { input, encoding_format: 'base64' })
    const encoded = data[0]?.embedding
    if (typeof encoded !== 'string') fail('base64 was asked for, and is not there')
    const decoded = decode(encoded)
    must(decoded.length === floats?.length, `${decoded.length} numbers are not ${floats?.length}`)
    const off = Math.max(...decoded.map((value, place) => Math.abs(value - (floats[place] ?? 0))))
    must(off < 1e-4, 'the numbers differ')
  },
}

/** 32-bit floats, the lowest byte first. */
function decode(base64: string): readonly number[] {
  const bytes = Buffer.from(base64, 'base64')
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, place) =>
    bytes.readFloatLE(place * 4),
  )
}

export const embeddingsBatch: Check = {
  ...shared,
  id: 'embeddings.batch',
  title: 'a text has the same vector alone and among others',
  advice: 'Searches find other things depending on who asks beside. The engine pads batches.',
  async run(api, subject) {
    const together = vectorsOf(await embed(api, subject, { input: texts }))
    must(together.length === texts.length, `${together.length} vectors for ${texts.length} texts`)
    const alone = []
    for (const input of texts) alone.push(vectorsOf(await embed(api, subject, { input }))[0])
    // Neither order nor length of vectors is judged here.
    for (const vector of alone) {
      const best = Math.max(...together.map((other) => cosine(vector, other)))
      must(best > 0.999, `a vector is ${best.toFixed(4)} like itself`)
    }
  },
}

export const embeddingsOrder: Check = {
  ...shared,
  id: 'embeddings.order',
  title: 'vectors come in the order of their texts',
  advice: 'Clients store vectors with the wrong texts.',
  async run(api, subject) {
    const together = await embed(api, subject, { input: texts })
    must(
      together.data.every(({ index }, place) => index === place),
      'the indices do not count up from 0',
    )
    const vectors = vectorsOf(together)
    for (const [place, input] of texts.entries()) {
      const [alone] = vectorsOf(await embed(api, subject, { input }))
      const likeness = vectors.map((vector) => cosine(vector, alone))
      must(likeness.indexOf(Math.max(...likeness)) === place, 'a vector stands at another place')
    }
  },
}

export const embeddingsUsage: Check = {
  ...shared,
  id: 'embeddings.usage',
  title: 'usage of a batch is the sum of its texts',
  advice: 'Bills of clients are wrong. The engine counts otherwise than it says.',
  async run(api, subject) {
    const { usage } = await embed(api, subject, { input: texts })
    must(usage && usage.prompt_tokens > 0, 'there is no usage')
    must(usage.total_tokens === usage.prompt_tokens, 'the total is not the prompt')
    let sum = 0
    for (const input of texts)
      sum += (await embed(api, subject, { input })).usage?.prompt_tokens ?? 0
    must(sum === usage.prompt_tokens, `${usage.prompt_tokens} together, ${sum} one by one`)
  },
}

export const embeddingsLength: Check = {
  ...shared,
  id: 'embeddings.normalised',
  title: 'vectors have the length 1',
  advice: 'Clients that compare by the inner product must normalise by themselves.',
  required: false,
  async run(api, subject) {
    const [vector = []] = vectorsOf(await embed(api, subject, { input: texts[0] }))
    const length = Math.hypot(...vector)
    must(Math.abs(length - 1) < 1e-3, `the length is ${length.toFixed(4)}`)
    return { facts: { dimensions: vector.length } }
  },
}

export const embeddingsDimensions: Check = {
  ...shared,
  id: 'embeddings.dimensions',
  title: 'fewer dimensions are given, or refused by name',
  advice: 'Clients that ask for short vectors get long ones, and their index refuses them.',
  async run(api, subject) {
    const [full = []] = vectorsOf(await embed(api, subject, { input: texts[0] }))
    const dimensions = Math.floor(full.length / 2)
    const body = { model: subject.model, input: texts[0], encoding_format: 'float', dimensions }
    const short = await api.send({ path, body })
    const isTyped = short.status === 400 && readRefusal(short).param === 'dimensions'
    if (isTyped || isUnsupported(short)) skip('the model has one length, and says so')
    const [vector = []] = vectorsOf(read(mustAnswer(short).body))
    must(vector.length === dimensions, `${vector.length} dimensions, not ${dimensions}`)
  },
}

export const embeddingsTokens: Check = {
  ...shared,
  id: 'embeddings.tokens',
  title: 'tokens are taken in place of text',
  advice: 'LangChain sends tokens unless it is told otherwise: it cannot use this model.',
  async run(api, subject) {
    const body = { model: subject.model, input: [[100, 200, 300]], encoding_format: 'float' }
    const tokens = await api.send({ path, body })
    if (isUnsupported(tokens)) skip('the engine only takes text, and says so')
    must(vectorsOf(read(mustAnswer(tokens).body)).length === 1, 'there is not one vector')
  },
}

export const embeddingsTooLong: Check = {
  ...shared,
  id: 'embeddings.too-long',
  title: 'a text beyond the window is refused as `context_length_exceeded`',
  advice: 'Long texts are cut without a word, and their ends are never found.',
  async run(api, subject) {
    const window = subject.contextWindowTokens
    if (window === undefined) skip('the catalogue declares no context window')
    if (window > overrunTokensMax) skip(`the window is longer than ${overrunTokensMax} tokens`)
    const input = Array.from({ length: window + 1 }, (_, index) => 1_000 + ((index * 7) % 9_000))
    const body = { model: subject.model, input: input.join(' ') }
    const refused = await api.send({ path, body })
    must(refused.status === 400, `it was ${describeRefusal(refused)}`)
    must(
      readRefusal(refused).code === 'context_length_exceeded',
      `it was ${describeRefusal(refused)}`,
    )
  },
}
