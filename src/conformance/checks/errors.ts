/** What a client is told when something is wrong, and by which id a request can be asked about. The same for all kinds of models. */
import { describeRefusal, readRefusal } from '../answer.ts'
import { fail, judgedCategories, must, skip, type Check, type Subject } from '../check.ts'

const shared = { categories: judgedCategories, required: true } as const

interface Sample {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  /** A field of the body, and what it must not be. */
  readonly wrong: Readonly<Record<string, unknown>>
}

/** The shortest request that a model of each kind can answer. */
function sampleOf({ category, model }: Subject): Sample {
  const { path, body, wrong } = samples[category] ?? fail(`there is no sample for ${category}`)
  return { path, body: { ...body, model }, wrong }
}

const samples: Readonly<Partial<Record<Subject['category'], Sample>>> = {
  chat: {
    path: '/chat/completions',
    body: { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1 },
    wrong: { temperature: 'warm' },
  },
  embedding: { path: '/embeddings', body: { input: 'a' }, wrong: { input: 1.5 } },
  rerank: {
    path: '/rerank',
    body: { query: 'a', documents: ['a', 'b'] },
    wrong: { documents: 'a' },
  },
}

export const errorsModel: Check = {
  ...shared,
  id: 'errors.unknown-model',
  title: 'an unknown model is a 404 with the code model_not_found',
  advice: 'SDKs raise the wrong error. Look for a proxy that rewrites statuses.',
  async run(api, subject) {
    const { path, body } = sampleOf(subject)
    const answer = await api.send({ path, body: { ...body, model: 'no-such-model-0' } })
    must(answer.status === 404, `it was ${describeRefusal(answer)}`)
    must(readRefusal(answer).code === 'model_not_found', `it was ${describeRefusal(answer)}`)
  },
}

export const errorsField: Check = {
  ...shared,
  id: 'errors.bad-request',
  title: 'a wrong field is a 400 that names the field',
  advice: 'Users cannot see what they did wrong. Look for a proxy that rewrites error bodies.',
  async run(api, subject) {
    const { path, body, wrong } = sampleOf(subject)
    const answer = await api.send({ path, body: { ...body, ...wrong } })
    must(answer.status === 400, `it was ${describeRefusal(answer)}`)
    const { type, param } = readRefusal(answer)
    must(type === 'invalid_request_error', 'the type is not invalid_request_error')
    const [field = ''] = Object.keys(wrong)
    must(param?.startsWith(field), `the param does not name ${field}`)
  },
}

export const errorsJson: Check = {
  ...shared,
  id: 'errors.bad-json',
  title: 'a body that is no JSON is a 400',
  advice: 'SDKs raise the wrong error. Look for a proxy that answers by itself.',
  async run(api, subject) {
    const answer = await api.send({ path: sampleOf(subject).path, body: '{"model":' })
    must(answer.status === 400, `it was ${describeRefusal(answer)}`)
    must(readRefusal(answer).message, 'there is no error with a message')
  },
}

export const errorsKey: Check = {
  ...shared,
  id: 'errors.bad-key',
  title: 'a wrong API key is a 401',
  advice: 'The API may be open to everybody. Look for a proxy that adds a key of its own.',
  async run(api, subject) {
    const { path, body } = sampleOf(subject)
    const headers = { authorization: 'Bearer not-a-key' }
    const answer = await api.send({ path, body, headers })
    must(answer.status === 401, `it was ${describeRefusal(answer)}`)
    must(readRefusal(answer).message, 'there is no error with a message')
  },
}

export const headersRequestId: Check = {
  ...shared,
  id: 'headers.request-id',
  title: 'each answer, good or bad, has a request id of its own',
  advice: 'Nobody can ask about a failed request. Look for a proxy that drops x-request-id.',
  async run(api, subject) {
    const { path, body } = sampleOf(subject)
    const answers = [
      await api.send({ path, body }),
      await api.send({ path, body: { ...body, model: 'no-such-model-0' } }),
      await api.send({ method: 'GET', path: '/models' }),
      ...(subject.category === 'chat'
        ? [await api.stream({ path, body: { ...body, stream: true } })]
        : []),
    ]
    const ids = answers.map(({ headers }) => headers['x-request-id'])
    must(ids.every(Boolean), 'an answer has no x-request-id')
    must(new Set(ids).size === ids.length, 'two answers have the same x-request-id')
  },
}

export const headersRateLimit: Check = {
  ...shared,
  id: 'headers.rate-limit',
  title: 'x-ratelimit headers agree with each other',
  advice: 'Clients that pace themselves by these headers wait too long, or are refused.',
  async run(api, subject) {
    const { path, body } = sampleOf(subject)
    const { headers } = await api.send({ path, body })
    const kinds = ['requests', 'tokens'].filter((kind) => `x-ratelimit-limit-${kind}` in headers)
    if (kinds.length === 0) skip('no limit concerns this key')
    for (const kind of kinds) {
      const limit = Number(headers[`x-ratelimit-limit-${kind}`])
      const remaining = Number(headers[`x-ratelimit-remaining-${kind}`])
      must(limit >= 0 && remaining >= 0, `the limit of ${kind} is no number`)
      must(remaining <= limit, `${remaining} ${kind} remain of ${limit}`)
      const reset = headers[`x-ratelimit-reset-${kind}`]
      must(
        reset === undefined || /^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(reset),
        `the reset of ${kind} is no duration`,
      )
    }
  },
}

export const modelListed: Check = {
  ...shared,
  id: 'models.listed',
  title: 'the model is in the list of models, and can be looked up',
  advice: 'Clients that offer a choice of models do not show it. Look at what the key may use.',
  async run(api, subject) {
    const path = `/models/${encodeURIComponent(subject.model)}`
    const one = await api.send({ method: 'GET', path })
    must(one.status === 200, `it was ${describeRefusal(one)}`)
    const list = await api.send({ method: 'GET', path: '/models' })
    must(idsOf(list.body).includes(idOf(one.body)), 'it is not in the list')
  },
}

function idsOf(body: unknown): readonly unknown[] {
  const isList = typeof body === 'object' && body !== null && 'data' in body
  return isList && Array.isArray(body.data) ? body.data.map(idOf) : []
}

function idOf(body: unknown): unknown {
  return typeof body === 'object' && body !== null && 'id' in body ? body.id : undefined
}
