/** Documents in the order of their relevance. */
import { z } from 'zod'
import { isUnsupported, mustAnswer } from '../answer.ts'
import { fail, must, skip, type Api, type Check, type Subject } from '../check.ts'

const shared = { categories: ['rerank'], required: true } as const
const query = 'How tall is the lighthouse?'
const documents = [
  'Interest rates fell in March.',
  'The lighthouse is forty metres tall.',
  'Cats sleep for most of the day.',
  'The harbour was built in 1870.',
]

const answer = z.object({
  results: z.array(z.object({ index: z.number(), relevance_score: z.number() })),
})
type Results = z.infer<typeof answer>['results']

async function rerank(
  api: Api,
  { model }: Subject,
  fields: object = {},
  path = '/rerank',
): Promise<Results> {
  const body = { model, query, documents, ...fields }
  const { body: answered } = mustAnswer(await api.send({ path, body }))
  return answer.safeParse(answered).data?.results ?? fail('the answer is no list of results')
}

export const rerankSorted: Check = {
  ...shared,
  id: 'rerank.sorted',
  title: 'results come with the most relevant first',
  advice: 'Clients that take the first results take the wrong ones.',
  async run(api, subject) {
    const scores = (await rerank(api, subject)).map(({ relevance_score: score }) => score)
    must(
      scores.every((score, place) => place === 0 || score <= (scores[place - 1] ?? score)),
      'a score is above the one before it',
    )
  },
}

export const rerankComplete: Check = {
  ...shared,
  id: 'rerank.complete',
  title: 'each document comes back once',
  advice: 'Documents are lost, or found twice.',
  async run(api, subject) {
    const places = (await rerank(api, subject)).map(({ index }) => index).toSorted((a, b) => a - b)
    must(places.join() === documents.map((_, place) => place).join(), 'indices are wrong')
  },
}

export const rerankRange: Check = {
  ...shared,
  id: 'rerank.range',
  title: 'relevance lies between 0 and 1',
  advice: 'Thresholds of clients mean nothing. The engine gives raw scores.',
  async run(api, subject) {
    const scores = (await rerank(api, subject)).map(({ relevance_score: score }) => score)
    must(
      scores.every((score) => score >= 0 && score <= 1),
      'a score is below 0 or above 1',
    )
  },
}

export const rerankTop: Check = {
  ...shared,
  id: 'rerank.top-n',
  title: 'top_n results are as many, and the best ones',
  advice: 'Clients get more than they asked for, or not the best.',
  async run(api, subject) {
    const all = await rerank(api, subject)
    const two = await rerank(api, subject, { top_n: 2 })
    must(two.length === 2, `${two.length} results, not 2`)
    const best = Math.max(...all.map(({ relevance_score: score }) => score))
    must(
      two.some(({ relevance_score: score }) => Math.abs(score - best) < 1e-3),
      'the best result is missing',
    )
  },
}

export const rerankSense: Check = {
  ...shared,
  id: 'rerank.sense',
  title: 'the one document that answers the question is the most relevant',
  advice:
    'The model does not judge what it is asked. Look whether the engine runs it as a reranker.',
  required: false,
  async run(api, subject) {
    const [best] = (await rerank(api, subject)).toSorted(
      (a, b) => b.relevance_score - a.relevance_score,
    )
    must(best?.index === 1, 'another document is')
  },
}

export const rerankSecond: Check = {
  ...shared,
  id: 'rerank.v2',
  title: "Cohere's second version of the request is answered, too",
  advice: "Cohere's SDK cannot use this model.",
  async run(api, subject) {
    // Beside `/v1`, not under it.
    const { model } = subject
    const path = '/../v2/rerank'
    const second = await api.send({ path, body: { model, query, documents } })
    if (second.status === 404 && isUnsupported(second)) skip('this server does not have it')
    const results = answer.safeParse(mustAnswer(second).body).data?.results ?? []
    must(results.length === documents.length, `${results.length} results of ${documents.length}`)
  },
}
