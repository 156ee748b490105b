/** `colonnade chat`: a small streamed conversation in the terminal, through the API like any other client. */
import { createInterface } from 'node:readline/promises'
import { createParser } from 'eventsource-parser'
import { z } from 'zod'
import { readConfig } from '../app/config.ts'
import { CliError, type CliCommand } from './command.ts'
import type { GlobalOptions } from './cli.ts'
import { readLocalEndpoints } from './control-client.ts'

interface ChatOptions {
  readonly model: string
  readonly key?: string
  readonly url?: string
  readonly system?: string
}
interface Message {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

const chunk = z.object({
  choices: z.array(z.object({ delta: z.object({ content: z.string().nullish() }) })).default([]),
  error: z.object({ message: z.string() }).optional(),
})
/** Older turns are dropped, so that a long evening does not outgrow the context. */
const messagesMax = 40

export const chatCommand: CliCommand = {
  register(program) {
    program
      .command('chat')
      .description('talk to a model in the terminal')
      .option('--model <id>', 'model or alias', 'default')
      .option('--key <key>', 'API key (COLONNADE_API_KEY)')
      .option('--url <url>', 'address of the API (default: the local one)')
      .option('--system <text>', 'system message')
      .action((options: ChatOptions) => converse(program.opts<GlobalOptions>(), options))
  },
}

async function converse(globals: GlobalOptions, options: ChatOptions): Promise<void> {
  const { dataDirectory, apiKey } = readConfig({
    dataDirectory: globals.data,
    configFile: globals.config,
  })
  const key = options.key ?? apiKey
  if (key === undefined)
    throw new CliError(
      'Give an API key with --key or COLONNADE_API_KEY. A new one: colonnade key create --name chat',
    )
  const url =
    options.url ?? (await readLocalEndpoints(dataDirectory))?.apiUrl ?? 'http://127.0.0.1:8080'
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const messages: Message[] =
    options.system === undefined ? [] : [{ role: 'system', content: options.system }]
  process.stdout.write(`Talking to ${options.model} at ${url}. An empty line or Ctrl-D ends.\n`)
  let ended = false
  terminal.on('close', () => {
    ended = true
  })
  for (;;) {
    const question = ended ? '' : await terminal.question('\n> ').catch(() => '')
    if (question.trim() === '') break
    messages.push({ role: 'user', content: question })
    const answer = await stream({
      url,
      key,
      model: options.model,
      messages: messages.slice(-messagesMax),
    })
    messages.push({ role: 'assistant', content: answer })
    process.stdout.write('\n')
  }
  terminal.close()
}

async function stream(request: {
  readonly url: string
  readonly key: string
  readonly model: string
  readonly messages: readonly Message[]
}): Promise<string> {
  const { url, key, model, messages } = request
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages, stream: true }),
  }).catch(() => {
    throw new CliError(`The API does not answer at ${url}. Is 'colonnade serve' running?`)
  })
  if (!response.ok || !response.body) {
    const failure = z
      .object({ error: z.object({ message: z.string() }) })
      .safeParse(await response.json().catch(() => undefined))
    throw new CliError(
      failure.success ? failure.data.error.message : `The API answered ${response.status}.`,
    )
  }
  let answer = ''
  const parser = createParser({
    onEvent(event) {
      if (event.data === '[DONE]') return
      const parsed = chunk.parse(JSON.parse(event.data))
      if (parsed.error) throw new CliError(parsed.error.message)
      const text = parsed.choices[0]?.delta.content ?? ''
      answer += text
      process.stdout.write(text)
    },
  })
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) parser.feed(piece)
  return answer
}
