/** A stream under way, for tests that do something to the platform meanwhile. */
import type { StubbedPlatform } from './stubbed-platform.ts'
import { until } from './until.ts'

export interface OpenStream {
  readonly requestId: string
  /** The text so far, after the last event that came. */
  text(): string
  readonly ended: Promise<string>
}

/** Opens a stream of `tokens` at 50 ms each, and resolves once its first events are there. */
export async function openStream(at: StubbedPlatform, tokens: number): Promise<OpenStream> {
  const response = await fetch(`${at.apiUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${at.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'stub/steady:1',
      stream: true,
      max_completion_tokens: tokens,
      messages: [{ role: 'user', content: 'tick' }],
    }),
  })
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
  let text = ''
  const read = async (): Promise<string> => {
    const decoder = new TextDecoder()
    try {
      for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true })
    } catch {
      // The connection was cut; what came before is what matters.
    }
    return text
  }
  const ended = read()
  await until('the first events', 5_000, () => text.includes('tick'))
  return { requestId: response.headers.get('x-request-id') ?? '', text: () => text, ended }
}
