/** Legacy completions: text that goes on. */
import { hold, yes, type Check } from './check.ts'

export const completionChecks: readonly Check[] = [
  {
    name: 'completions',
    task: 'chat',
    async run({ client, offer }) {
      const body = { model: offer.model, prompt: 'Paris is the capital of', temperature: 0 }
      const { choices, usage } = await client.completions.create({ ...body, max_tokens: 8 })
      hold((choices[0]?.text ?? '') !== '', 'no text')
      hold((usage?.completion_tokens ?? 0) > 0, 'no usage')
      const stream = await client.completions.create({ ...body, max_tokens: 8, stream: true })
      let text = ''
      for await (const chunk of stream) text += chunk.choices[0]?.text ?? ''
      hold(text === choices[0]?.text, 'another text when it is streamed')
      return yes
    },
  },
]
