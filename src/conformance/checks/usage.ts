/** Whether tokens are counted the same way however they are asked for. */
import { askChat, streamChat, textOf } from '../answer.ts'
import { must, type Check } from '../check.ts'
import { chatBody, counting } from '../prompt.ts'

const categories = ['chat'] as const

export const usageSums: Check = {
  id: 'usage.sums',
  title: 'usage counts prompt and answer, and its total is their sum',
  advice: 'Bills and budgets of clients are wrong. The engine counts otherwise than it says.',
  categories,
  required: true,
  async run(api, subject) {
    const { usage } = await askChat(api, chatBody(subject, counting))
    must(usage, 'the answer has no usage')
    const { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total } = usage
    must(Number.isInteger(prompt) && Number.isInteger(completion), 'counts are missing')
    must((prompt ?? 0) > 0 && (completion ?? 0) > 0, `counts are ${prompt} and ${completion}`)
    must(
      total === (prompt ?? 0) + (completion ?? 0),
      `the total is ${total}, not ${prompt} + ${completion}`,
    )
  },
}

export const usageEqual: Check = {
  id: 'usage.equal',
  title: 'the same request costs the same, streamed and whole',
  advice: 'One of the two ways is billed wrongly. Compare the usage that the engine itself sends.',
  categories,
  required: true,
  async run(api, subject) {
    const fields = chatBody(subject, counting)
    const whole = await askChat(api, fields)
    const stream = await streamChat(api, { ...fields, stream_options: { include_usage: true } })
    const streamed = stream.chunks.find((chunk) => chunk?.usage !== undefined)?.usage
    must(streamed && whole.usage, 'one of the two answers has no usage')
    const [prompt, streamedPrompt] = [whole.usage.prompt_tokens, streamed.prompt_tokens]
    must(
      prompt === streamedPrompt,
      `the prompt is ${prompt} tokens whole, ${streamedPrompt} streamed`,
    )
    const isSame = whole.choices[0]?.message.content === textOf(stream)
    if (!isSame) return { note: 'the two answers differ, so only their prompts were compared' }
    const [tokens, streamedTokens] = [whole.usage.completion_tokens, streamed.completion_tokens]
    must(
      tokens === streamedTokens,
      `the same answer is ${tokens} tokens whole, ${streamedTokens} streamed`,
    )
  },
}
