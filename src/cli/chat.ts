/** `colonnade chat`: a small streamed conversation in the terminal, through the API like any other client. */
import { createInterface, type Interface } from 'node:readline/promises'
import { createParser } from 'eventsource-parser'
import { z } from 'zod'
import { readConfig } from '../app/config.ts'
import { readEndpoints } from '../app/leftovers.ts'
import { CliError, type CliCommand } from './command.ts'
import type { GlobalOptions } from './global-options.ts'

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
interface Conversation {
  /** The base URL, with `/v1`. */
  readonly url: string
  readonly key: string
  readonly model: string
  readonly terminal: Interface
}

const chunk = z.object({
  choices: z.array(z.object({ delta: z.object({ content: z.string().nullish() }) })).default([]),
  error: z.object({ message: z.string() }).optional(),
})
const refusal = z.object({ error: z.object({ message: z.string() }) })
/** Older turns are dropped, so that a long evening does not outgrow the context. */
const messagesMax = 40
/** A loaded engine may keep one waiting; one that says nothing for so long is gone. */
const firstByteTimeoutMs = 120_000

export const chatCommand: CliCommand = {
  register(program) {
    program
      .command('chat')
      .description('talk to a model in the terminal')
      .option('--model <id>', 'model or alias', 'default')
      .option('--key <key>', 'API key (COLONNADE_API_KEY)')
      .option('--url <url>', "the API's base URL (default: the local one)")
      .option('--system <text>', 'system message')
      .action((options: ChatOptions) => start(program.opts<GlobalOptions>(), options))
  },
}

async function start(globals: GlobalOptions, options: ChatOptions): Promise<void> {
  const config = readConfig({ dataDirectory: globals.data, configFile: globals.config })
  const local = readEndpoints(config.dataDirectory)?.apiUrl
  const url = (options.url ?? local ?? `http://127.0.0.1:${config.gateway.port}/v1`).replace(
    /\/+$/,
    '',
  )
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const key = options.key ?? config.apiKey ?? (await askKey(terminal))
    await converse({ url, key, model: options.model, terminal }, options.system)
  } finally {
    terminal.close()
  }
}

async function askKey(terminal: Interface): Promise<string> {
  const advice =
    'Give an API key with --key or COLONNADE_API_KEY. A new one: colonnade key create --name chat'
  if (!process.stdin.isTTY) throw new CliError(advice)
  const key = (await terminal.question('API key: ').catch(() => '')).trim()
  if (key === '') throw new CliError(advice)
  return key
}

async function converse(conversation: Conversation, system: string | undefined): Promise<void> {
  const { terminal, model, url } = conversation
  const opening: Message[] = system === undefined ? [] : [{ role: 'system', content: system }]
  let turns: Message[] = []
  // Ctrl-C ends an answer; between answers it ends the conversation.
  let answering: AbortController | undefined
  terminal.on('SIGINT', () => (answering ? answering.abort() : terminal.close()))
  if (process.stdin.isTTY) {
    process.stdout.write(`Talking to ${model} at ${url}. Ctrl-C stops an answer, Ctrl-D ends.\n\n`)
  }
  let open = true
  terminal.once('close', () => {
    open = false
  })
  terminal.setPrompt(process.stdin.isTTY ? '> ' : '')
  terminal.prompt()
  for await (const line of terminal) {
    if (line.trim() !== '') {
      turns = [...turns, { role: 'user', content: line } as const].slice(-messagesMax)
      answering = new AbortController()
      const answer = await stream(conversation, [...opening, ...turns], answering)
      answering = undefined
      turns.push({ role: 'assistant', content: answer })
      process.stdout.write('\n\n')
    }
    // Input from a pipe ends before its last answer.
    if (open) terminal.prompt()
  }
}

/** Writes the answer as it comes, and returns it; what came so far when it was stopped. */
async function stream(
  { url, key, model }: Conversation,
  messages: readonly Message[],
  stopping: AbortController,
): Promise<string> {
  const patience = setTimeout(() => stopping.abort(), firstByteTimeoutMs)
  let answer = ''
  try {
    const response = await fetch(`${url}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages, stream: true }),
      signal: stopping.signal,
    })
    if (!response.ok || !response.body) throw await refused(response)
    const parser = createParser({
      onEvent({ data }) {
        if (data === '[DONE]') return
        const { choices, error } = chunk.parse(JSON.parse(data))
        if (error) throw new CliError(error.message)
        const text = choices[0]?.delta.content ?? ''
        answer += text
        process.stdout.write(withoutControls(text))
      },
    })
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      patience.refresh()
      parser.feed(piece)
    }
  } catch (error) {
    if (error instanceof CliError) throw error
    if (!stopping.signal.aborted)
      throw new CliError(`The API does not answer at ${url}. Is 'colonnade serve' running?`)
  } finally {
    clearTimeout(patience)
  }
  return answer
}

async function refused(response: Response): Promise<CliError> {
  const parsed = refusal.safeParse(await response.json().catch(() => undefined))
  return new CliError(
    parsed.success ? parsed.data.error.message : `The API answered ${response.status}.`,
  )
}

/** What a model says must not steer the terminal; lines and tabs may stay. */
function withoutControls(text: string): string {
  return text.replaceAll(/(?![\n\t])\p{Cc}/gu, '')
}
