/** What a successful start shows: addresses, and lines that work as they stand. Pure. */
import type { FirstSecrets } from '../app/bootstrap.ts'
import type { LocalEngine } from '../app/local-engines.ts'
import { addArguments, describeEngine } from './local-engine.ts'

export interface BannerFacts {
  readonly apiUrl: string
  readonly controlUrl: string
  readonly dataDirectory: string
  /** How the reader calls this program, from where he stands. */
  readonly program: string
  readonly firstSecrets: FirstSecrets | undefined
  /** The chat model that answers; `undefined` when there is none yet. */
  readonly model: string | undefined
  /** On this machine, and not connected. */
  readonly localEngines: readonly LocalEngine[]
}

export function renderBanner(facts: BannerFacts): string {
  return [
    '',
    'Colonnade is up.',
    '',
    ...renderRows(rowsOf(facts)),
    '',
    ...renderOffers(facts),
    ...(facts.model === undefined ? noModel(facts.program) : renderUse(facts, facts.model)),
    'Stop with Ctrl-C: running answers end first. A second Ctrl-C stops at once.',
  ].join('\n')
}

function rowsOf(facts: BannerFacts): readonly (readonly [string, string])[] {
  const { firstSecrets, program } = facts
  return [
    ['API', facts.apiUrl],
    ...(firstSecrets
      ? ([
          ['API key', `${firstSecrets.apiKey}  (shown this once)`],
          ['Admin token', `${firstSecrets.adminToken}  (shown this once; kept for commands here)`],
        ] as const)
      : ([['API key', `as shown at the first start; a new one: ${program} key create`]] as const)),
    ['Control API', `${facts.controlUrl}/docs`],
    ['Data', facts.dataDirectory],
  ]
}

function renderRows(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)
}

function renderOffers({ localEngines, program }: BannerFacts): string[] {
  if (localEngines.length === 0) return []
  const offers = localEngines.flatMap((engine) => [
    `  ${describeEngine(engine)}`,
    `    ${program} engine add ${addArguments(engine)}`,
  ])
  return ['Found on this machine; to offer its models:', ...offers, '']
}

function noModel(program: string): string[] {
  return [
    `No model answers yet. Give it one: ${program} model add ./file.gguf   or an engine: ${program} engine add http://host:port`,
    '',
  ]
}

function renderUse(facts: BannerFacts, model: string): string[] {
  if (!facts.firstSecrets) return [`Talk to ${model}: ${facts.program} chat --key KEY`, '']
  const { apiUrl, firstSecrets } = facts
  const question = 'What is the capital of France?'
  const body = JSON.stringify({
    model,
    messages: [{ role: 'user', content: question }],
    temperature: 0,
  })
  return [
    `  curl ${apiUrl}/chat/completions \\`,
    `    -H 'Authorization: Bearer ${firstSecrets.apiKey}' -H 'Content-Type: application/json' \\`,
    `    -d '${body}'`,
    '',
    '  import OpenAI from "openai"',
    `  const client = new OpenAI({ baseURL: "${apiUrl}", apiKey: "${firstSecrets.apiKey}" })`,
    `  const answer = await client.chat.completions.create({ model: "${model}", messages: [{ role: "user", content: "${question}" }], temperature: 0 })`,
    '  console.log(answer.choices[0].message.content)',
    '',
  ]
}
