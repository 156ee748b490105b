/** What a successful start shows: addresses, and lines that work as they stand. */
import type { FirstSecrets } from '../app/bootstrap.ts'

export interface BannerFacts {
  readonly apiUrl: string
  readonly controlUrl: string
  readonly firstSecrets: FirstSecrets | undefined
  /** The chat model that answers; `undefined` when there is none yet. */
  readonly model: string | undefined
}

export function renderBanner(facts: BannerFacts): string {
  const key = facts.firstSecrets?.apiKey ?? '$COLONNADE_API_KEY'
  return [
    '',
    'Colonnade is up.',
    '',
    `  API            ${facts.apiUrl}/v1`,
    `  Control API    ${facts.controlUrl}/docs`,
    ...(facts.firstSecrets
      ? [
          `  API key        ${facts.firstSecrets.apiKey}   (shown only now)`,
          `  Admin token    ${facts.firstSecrets.adminToken}   (shown only now; the CLI on this machine finds it by itself)`,
        ]
      : [
          '  API key        as shown at the first start; a new one: colonnade key create --name NAME',
        ]),
    '',
    ...(facts.model === undefined ? noModel : snippets(facts.apiUrl, key, facts.model)),
    '',
    'Stop with Ctrl-C.',
  ].join('\n')
}

const noModel = [
  'No model answers yet. Give it one: colonnade model add ./file.gguf, or an engine: colonnade engine add http://host:port',
]

function snippets(apiUrl: string, key: string, model: string): string[] {
  const body = `{"model":"${model}","messages":[{"role":"user","content":"What is the capital of France?"}],"temperature":0}`
  return [
    'Try it:',
    '',
    `  curl ${apiUrl}/v1/chat/completions -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" -d '${body}'`,
    '',
    'From Python (pip install openai):',
    '',
    '  from openai import OpenAI',
    `  client = OpenAI(base_url="${apiUrl}/v1", api_key="${key}")`,
    `  answer = client.chat.completions.create(model="${model}", messages=[{"role": "user", "content": "What is the capital of France?"}], temperature=0)`,
    '  print(answer.choices[0].message.content)',
  ]
}
