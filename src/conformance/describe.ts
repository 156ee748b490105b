/** Finds out about a model what the public API tells: its window, what it is declared to do, and of which kind it is. Pure. */
import { z } from 'zod'
import { describeRefusal } from './answer.ts'
import { fail, type Api, type Subject, type SubjectCategory } from './check.ts'

const entry = z.object({
  id: z.string(),
  context_window: z.number().nullish().catch(undefined),
  capabilities: z.array(z.string()).optional().catch(undefined),
})

/** `name` may be an alias: what is checked, and named, is the model behind it. */
export async function describeModel(
  api: Api,
  name: string,
  category: SubjectCategory | undefined,
): Promise<Subject> {
  const answer = await api.send({ method: 'GET', path: `/models/${encodeURIComponent(name)}` })
  if (answer.status !== 200) fail(`GET /models/${name} was ${describeRefusal(answer)}`)
  const found = entry.safeParse(answer.body).data ?? fail('the answer describes no model')
  return {
    model: found.id,
    category: category ?? (await tryCategories(api, found.id)),
    contextWindowTokens: found.context_window ?? undefined,
    capabilities: found.capabilities ?? [],
  }
}

/** The first thing that the model does. One that does none is taken for a chat model, and fails as one. */
async function tryCategories(api: Api, model: string): Promise<SubjectCategory> {
  const attempts = [
    ['chat', '/chat/completions', { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1 }],
    ['embedding', '/embeddings', { input: 'a' }],
    ['rerank', '/rerank', { query: 'a', documents: ['a'] }],
  ] as const
  for (const [category, path, fields] of attempts) {
    const { status } = await api.send({ path, body: { model, ...fields } })
    if (status === 200) return category
  }
  return 'chat'
}
