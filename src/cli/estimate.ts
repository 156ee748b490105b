/** `colonnade estimate`: what a prompt would probably cost and how long its answer would take, asked of the API like any other client. */
import { z } from 'zod'
import { readConfig } from '../app/config.ts'
import { readEndpoints } from '../app/leftovers.ts'
import { CliError, type Cli, type CliCommand } from './command.ts'
import type { GlobalOptions } from './global-options.ts'
import { renderMoney } from './money.ts'

const timeoutMs = 10_000
const tokens = z.object({
  low: z.number(),
  expected: z.number(),
  high: z.number(),
  basis: z.string(),
})
const money = z.object({ nanos: z.string() })
const wait = z.object({ expected: z.number(), high: z.number() }).optional()
const estimate = z.looseObject({
  model: z.string(),
  input_tokens: tokens,
  output_tokens: tokens,
  price: z.looseObject({
    currency: z.string(),
    low: money,
    expected: money,
    high: money,
    max: money,
  }),
  time_to_first_token_ms: wait,
  total_ms: wait,
  would_be_admitted: z.boolean(),
  limit: z.looseObject({ measure: z.string(), window: z.string() }).optional(),
})
const refusal = z.object({ error: z.object({ message: z.string() }) })

interface EstimateOptions {
  readonly model: string
  readonly maxTokens?: string
  readonly key?: string
  readonly url?: string
}

export const estimateCommand: CliCommand = {
  register(program, cli) {
    program
      .command('estimate')
      .description('what a prompt would cost, before it is sent')
      .argument('<prompt>', 'the text of the message')
      .option('--model <id>', 'model or alias', 'default')
      .option('--max-tokens <count>', 'the longest answer that is wanted')
      .option('--key <key>', 'API key (COLONNADE_API_KEY)')
      .option('--url <url>', "the API's base URL (default: the local one)")
      .action((prompt: string, options: EstimateOptions) =>
        run(cli, prompt, { ...program.opts<GlobalOptions>(), ...options }),
      )
  },
}

async function run(
  cli: Cli,
  prompt: string,
  options: EstimateOptions & GlobalOptions,
): Promise<void> {
  const config = readConfig({ dataDirectory: options.data, configFile: options.config })
  const local = readEndpoints(config.dataDirectory)?.apiUrl
  const url = (options.url ?? local ?? `http://127.0.0.1:${config.gateway.port}/v1`).replace(
    /\/+$/,
    '',
  )
  const key = options.key ?? config.apiKey
  if (key === undefined) throw new CliError('Give an API key with --key or COLONNADE_API_KEY.')
  const body = {
    model: options.model,
    messages: [{ role: 'user', content: prompt }],
    ...(options.maxTokens === undefined ? {} : { max_tokens: Number(options.maxTokens) }),
  }
  const answer = await ask(`${url}/estimate`, key, body)
  cli.result(answer, () => render(cli, answer))
}

async function ask(url: string, key: string, body: unknown): Promise<z.infer<typeof estimate>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  }).catch(() => {
    throw new CliError(`The API does not answer at ${url}. Is 'colonnade serve' running?`)
  })
  const value: unknown = await response.json().catch(() => undefined)
  if (response.ok) return estimate.parse(value)
  throw new CliError(
    refusal.safeParse(value).data?.error.message ?? `The API answered ${response.status}.`,
  )
}

function render(cli: Cli, answer: z.infer<typeof estimate>): string {
  const { price } = answer
  const counted = ({ low, expected, high, basis }: z.infer<typeof tokens>): string[] => [
    String(low),
    String(expected),
    String(high),
    basis === 'learned' ? '' : 'nothing learned yet',
  ]
  const waited = (name: string, ms: z.infer<typeof wait>): string[][] =>
    ms === undefined ? [] : [[name, '', `${ms.expected} ms`, `${ms.high} ms`, '']]
  const paid = ({ nanos }: z.infer<typeof money>): string => renderMoney(nanos, price.currency)
  const { limit } = answer
  const verdict = limit
    ? `It would be refused now: the limit of ${limit.measure} (${limit.window}) has no room for it.`
    : 'It would be admitted now.'
  const table = cli.table(
    ['', 'LOW', 'EXPECTED', 'HIGH', ''],
    [
      ['input tokens', ...counted(answer.input_tokens)],
      ['output tokens', ...counted(answer.output_tokens)],
      [
        'price',
        paid(price.low),
        paid(price.expected),
        paid(price.high),
        `at most ${paid(price.max)}`,
      ],
      ...waited('first token', answer.time_to_first_token_ms),
      ...waited('whole answer', answer.total_ms),
    ],
  )
  return `${table}\n\n${verdict}`
}
