/** Whether an engine can tell the length of a prompt before it runs, exactly. */
import { findAdapter } from '../../../src/engines/registry.ts'
import { hold, no, yes, type Check } from './check.ts'

const messages = [{ role: 'user' as const, content: 'What is the capital of France?' }]

export const countingChecks: readonly Check[] = [
  {
    name: 'prompt counted before it runs',
    task: 'chat',
    async run({ client, offer, kind }) {
      const engine = findAdapter(kind)?.connect({ baseUrl: offer.baseUrl })
      try {
        if (!engine?.countTokens) return no('the engine has no way to tell')
        const [model = ''] = await engine.listModels(AbortSignal.timeout(5_000))
        const request = {
          model,
          task: { kind: 'chat', body: { messages } },
          stream: false,
          cacheSalt: undefined,
        } as const
        const call = { signal: AbortSignal.timeout(5_000), requestId: 'count' }
        const counted = await engine.countTokens(request, call)
        const body = { model: offer.model, messages, max_tokens: 1 }
        const { usage } = await client.chat.completions.create(body)
        hold(
          counted === usage?.prompt_tokens,
          `${counted} counted, ${usage?.prompt_tokens} when it ran`,
        )
        return yes
      } finally {
        await engine?.close()
      }
    },
  },
]
