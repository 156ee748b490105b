/** `colonnade engine …`: the servers that run models, ours and those that you connect. */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { CliError, type Cli, type CliCommand } from './command.ts'

const engine = z.object({
  id: z.string(),
  modelId: z.string(),
  nodeName: z.string().nullable(),
  engineKind: z.string(),
  baseUrl: z.string().nullable(),
  state: z.string(),
  detail: z.string().nullable(),
  progress: z.number().nullable(),
  stale: z.boolean(),
})
type Engine = z.infer<typeof engine>
const enginePage = z.object({ data: z.array(engine), hasMore: z.boolean() })
const added = z.object({
  data: z.array(z.object({ id: z.string(), modelId: z.string(), engineModel: z.string() })),
})

const pageSize = 500
const pagesMax = 1_000
const keyBytesMax = 4_000

interface AddOptions {
  readonly model?: readonly string[]
  readonly name?: string
  readonly keyFile?: string
  readonly embeddings?: boolean
  readonly unpriced?: boolean
}

export const engineCommand: CliCommand = {
  register(program, cli) {
    const engines = program.command('engine').description('engines: connect, list, remove')
    engines
      .command('add')
      .argument('<url>', 'such as http://127.0.0.1:8000')
      .description('connect a server that speaks the OpenAI API, and offer its models')
      .option('--model <name...>', 'only these models of it')
      .option('--name <id>', 'the id that its one model gets here')
      .option('--key-file <file>', 'file with the key that the server wants')
      .option('--embeddings', 'its models make embeddings')
      .option('--unpriced', 'take no price over; the models are refused until one is set')
      .action((url: string, options: AddOptions) => add(cli, url, options))
    engines
      .command('list')
      .description('list the engines and their states')
      .action(() => list(cli))
    engines
      .command('remove')
      .argument('<id>', 'as listed: rep_…')
      .description('forget an engine that you connected')
      .action((id: string) => remove(cli, id))
  },
}

async function add(cli: Cli, url: string, options: AddOptions): Promise<void> {
  const key = options.keyFile === undefined ? undefined : await readKey(options.keyFile)
  const control = await cli.control()
  const answer = added.parse(
    await control.call('POST', '/api/v1/engines', {
      url,
      key,
      models: options.model,
      name: options.name,
      category: options.embeddings ? 'embedding' : undefined,
      unpriced: options.unpriced ?? false,
    }),
  )
  cli.result(answer, () => {
    const rows = answer.data.map((entry) => [entry.id, entry.modelId])
    const hint = options.unpriced
      ? 'They are refused until they have a price: colonnade model price <id> --list standard --input 0.9 --output 4'
      : 'They are offered at the prices of their class: colonnade model list --enabled'
    return `${cli.table(['engine', 'model'], rows)}\n${hint}`
  })
}

/** From a file, so that it is in no shell history and no process list. */
async function readKey(path: string): Promise<string> {
  let text: string
  try {
    text = (await readFile(path, 'utf8')).trim()
  } catch {
    throw new CliError(`Cannot read the key file ${path}. Check the name and its rights.`)
  }
  if (text === '' || text.length > keyBytesMax || /\s/.test(text)) {
    throw new CliError(`${path} must hold one key and nothing else.`)
  }
  return text
}

async function list(cli: Cli): Promise<void> {
  const control = await cli.control()
  const found: Engine[] = []
  for (let page = 0; page < pagesMax; page += 1) {
    const query = new URLSearchParams({ limit: String(pageSize) })
    const last = found.at(-1)
    if (last) query.set('after', last.id)
    const answer = enginePage.parse(
      await control.call('GET', `/api/v1/engines?${query.toString()}`),
    )
    found.push(...answer.data)
    if (!answer.hasMore) break
  }
  cli.result(found, () => {
    if (found.length === 0) {
      return 'No engine yet. Run a model: colonnade model pull <id>, or connect a server: colonnade engine add http://host:port'
    }
    const rows = found.map((entry) => [
      entry.id,
      entry.modelId,
      entry.engineKind,
      entry.nodeName ?? 'external',
      stateOf(entry),
      entry.baseUrl ?? '-',
      entry.detail ?? '',
    ])
    return cli.table(['id', 'model', 'kind', 'node', 'state', 'address', 'detail'], rows)
  })
}

function stateOf(entry: Engine): string {
  const progress = entry.progress === null ? '' : ` ${Math.floor(entry.progress * 100)} %`
  return `${entry.state}${progress}${entry.stale ? ' (node silent)' : ''}`
}

async function remove(cli: Cli, id: string): Promise<void> {
  const control = await cli.control()
  const answer = z
    .object({ modelId: z.string() })
    .parse(await control.call('DELETE', `/api/v1/engines/${encodeURIComponent(id)}`))
  cli.result(answer, () => `${id} is forgotten. ${answer.modelId} stays in the catalogue.`)
}
