/** `colonnade engine …`: the servers that run models, ours and those that you connect. */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { CliError, type Cli, type CliCommand } from './command.ts'
import type { GlobalOptions } from './global-options.ts'
import { addArguments, describeEngine, nameFor } from './local-engine.ts'

const engine = z.object({
  id: z.string(),
  modelId: z.string(),
  nodeName: z.string().nullable(),
  engineKind: z.string(),
  baseUrl: z.string().nullable(),
  location: z.string().nullable(),
  operator: z.string(),
  state: z.string(),
  detail: z.string().nullable(),
  progress: z.number().nullable(),
  stale: z.boolean(),
  load: z
    .object({
      runningRequests: z.number().nullable(),
      waitingRequests: z.number().nullable(),
      kvCacheUsage: z.number().nullable(),
    })
    .nullable(),
})
type Engine = z.infer<typeof engine>
const enginePage = z.object({ data: z.array(engine), hasMore: z.boolean() })
const added = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      modelId: z.string(),
      engineModel: z.string(),
      engineKind: z.string(),
      location: z.string(),
      operator: z.string(),
    }),
  ),
})

const pageSize = 500
const pagesMax = 1_000
const keyBytesMax = 16_000
/** For all looks together; each has a second or two. */
const discoverTimeoutMs = 10_000

const providers = ['openai', 'azure-openai', 'anthropic', 'vertex', 'bedrock', 'hugging-face']
const providerHelp = `
Providers run models on machines of their own. Nobody's prompts go there unless their tenant allows the place:
  colonnade engine add --provider anthropic --model claude-opus-4-8 --location US --key-file key.txt
  colonnade engine add --provider bedrock --region eu-west-3 --model eu.anthropic.claude-opus-4-8-v1:0 --as claude --location EU --key-file -
  colonnade tenant update NAME --allow-location EU`

interface AddOptions {
  readonly kind?: string
  readonly provider?: string
  readonly as?: string
  readonly location?: string
  readonly region?: string
  readonly project?: string
  readonly apiVersion?: string
  readonly set?: readonly string[]
  readonly model?: readonly string[]
  readonly name?: string
  readonly keyFile?: string
  readonly embeddings?: boolean
  readonly unpriced?: boolean
}

export const engineCommand: CliCommand = {
  register(program, cli) {
    const engines = program.command('engine').description('engines: connect, find, list, remove')
    engines
      .command('add')
      .argument('[url]', 'such as http://127.0.0.1:8000; a provider has its own')
      .description('connect a server or a provider that runs models, and offer them')
      .addHelpText('after', providerHelp)
      .option('--kind <kind>', 'such as vllm, ollama or openai-compatible; found out otherwise')
      .option('--provider <name>', providers.join(', '))
      .option('--model <name...>', 'only these models of it')
      .option('--name <id>', 'the id that its one model gets here')
      .option('--as <id>', 'the same as --name')
      .option('--key-file <file>', 'file with the key that the server wants; - is standard input')
      .option('--location <place>', 'where prompts go: local, or the country or region: FR, EU, US')
      .option('--region <name>', "of the provider's machines: eu-west-3, europe-west9")
      .option('--project <name>', "in the provider's own books")
      .option('--api-version <date>', 'of Azure')
      .option('--set <name=value...>', "another of the provider's settings")
      .option('--embeddings', 'its models make embeddings')
      .option('--unpriced', 'take no price over; the models are refused until one is set')
      .action((url: string | undefined, options: AddOptions) => add(cli, url, options))
    engines
      .command('discover')
      .description('find engines on this machine that are not connected yet')
      .option('--adopt', 'connect them all, and offer their models')
      .action((options: { readonly adopt?: boolean }) =>
        discover(cli, program.opts<GlobalOptions>(), options.adopt ?? false),
      )
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

async function add(cli: Cli, url: string | undefined, options: AddOptions): Promise<void> {
  const settings = settingsOf(options)
  const key = options.keyFile === undefined ? undefined : await readKey(options.keyFile)
  const control = await cli.control()
  const answer = added.parse(
    await control.call('POST', '/api/v1/engines', {
      url,
      kind: options.provider ?? options.kind,
      key,
      location: options.location,
      settings: Object.keys(settings).length > 0 ? settings : undefined,
      models: options.model,
      name: options.as ?? options.name,
      category: options.embeddings ? 'embedding' : undefined,
      unpriced: options.unpriced ?? false,
    }),
  )
  cli.result(answer, () => {
    const rows = answer.data.map((entry) => [
      entry.id,
      entry.modelId,
      entry.engineKind,
      placeOf(entry),
    ])
    const hint = options.unpriced
      ? 'They are refused until they have a price: colonnade model price <id> --list standard --input 0.9 --output 4'
      : 'They are offered at the prices of their class: colonnade model list --enabled'
    const table = cli.table(['engine', 'model', 'kind', 'place'], rows)
    return `${table}\n${hint}${residencyHint(answer.data)}`
  })
}

function settingsOf(options: AddOptions): Readonly<Record<string, string>> {
  const pairs = (options.set ?? []).map((pair) => {
    const [name = '', ...value] = pair.split('=')
    if (name === '' || value.length === 0)
      throw new CliError(`--set takes name=value, not '${pair}'.`)
    return [name, value.join('=')] as const
  })
  const { region, project, apiVersion } = options
  return {
    ...Object.fromEntries(pairs),
    ...(region !== undefined && { region }),
    ...(project !== undefined && { project }),
    ...(apiVersion !== undefined && { apiVersion }),
  }
}

/** Whoever connects a provider is told that nobody is served by it yet. */
function residencyHint(engines: z.infer<typeof added>['data']): string {
  const [place] = engines.map(({ location }) => location).filter((each) => each !== 'local')
  if (place === undefined) return ''
  return `\nOnly tenants that allow ${place} are served by it: colonnade tenant update NAME --allow-location ${place}`
}

function placeOf(entry: { readonly location: string | null; readonly operator: string }): string {
  const { location, operator } = entry
  if (location === null) return 'unknown: serves nobody'
  return operator === 'own' ? location : `${location}, ${operator}`
}

/** From a file or standard input, so that it is in no shell history and no process list. */
async function readKey(path: string): Promise<string> {
  const text = path === '-' ? await readInput() : await readKeyFile(path)
  // Google's key is a file of JSON.
  const isJson = text.startsWith('{')
  if (text === '' || text.length > keyBytesMax || (/\s/.test(text) && !isJson)) {
    throw new CliError(`${path} must hold one key and nothing else.`)
  }
  return text
}

async function readKeyFile(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch {
    throw new CliError(`Cannot read the key file ${path}. Check the name and its rights.`)
  }
}

async function readInput(): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of process.stdin) {
    bytes += piece.length
    if (bytes > keyBytesMax)
      throw new CliError('Standard input must hold one key and nothing else.')
    pieces.push(Buffer.from(piece))
  }
  return Buffer.concat(pieces).toString('utf8').trim()
}

async function discover(cli: Cli, globals: GlobalOptions, adopt: boolean): Promise<void> {
  // The largest part of the program; other commands do without it.
  const { addressesToLookAt, findLocalEngines, usualAddresses } =
    await import('../app/local-engines.ts')
  const { readConfig } = await import('../app/config.ts')
  const config = readConfig({ dataDirectory: globals.data, configFile: globals.config })
  // Who asks for it wants to know, even where `serve` shall not look.
  const named = addressesToLookAt(config.discovery)
  const addresses = named.length > 0 ? named : usualAddresses
  const connected = (await fetchEngines(cli, false)).map(({ baseUrl }) => baseUrl)
  const signal = AbortSignal.timeout(discoverTimeoutMs)
  const found = await findLocalEngines(addresses, connected, signal)
  if (adopt) {
    for (const engine of found) {
      const name = nameFor(engine)
      await add(cli, engine.url, { kind: engine.kind, ...(name !== undefined && { name }) })
    }
    if (found.length > 0) return
  }
  cli.result(found, () => {
    if (found.length === 0) return `No engine that is not connected at ${addresses.join(', ')}.`
    const offers = found.flatMap((engine) => [
      describeEngine(engine),
      `  colonnade engine add ${addArguments(engine)}`,
    ])
    return [...offers, 'All of them: colonnade engine discover --adopt'].join('\n')
  })
}

/** All engines; with their load, which they are asked for, where it is wanted. */
async function fetchEngines(cli: Cli, load: boolean): Promise<readonly Engine[]> {
  const control = await cli.control()
  const found: Engine[] = []
  for (let page = 0; page < pagesMax; page += 1) {
    const query = new URLSearchParams({ limit: String(pageSize), load: String(load) })
    const last = found.at(-1)
    if (last) query.set('after', last.id)
    const answer = enginePage.parse(
      await control.call('GET', `/api/v1/engines?${query.toString()}`),
    )
    found.push(...answer.data)
    if (!answer.hasMore) break
  }
  return found
}

async function list(cli: Cli): Promise<void> {
  const found = await fetchEngines(cli, true)
  cli.result(found, () => {
    if (found.length === 0) {
      return 'No engine yet. Run a model: colonnade model pull <id>, or connect a server: colonnade engine add http://host:port'
    }
    const rows = found.map((entry) => [
      entry.id,
      entry.modelId,
      entry.engineKind,
      entry.nodeName ?? 'external',
      placeOf(entry),
      stateOf(entry),
      ...loadOf(entry),
      entry.baseUrl ?? '-',
      entry.detail ?? '',
    ])
    const load = ['running', 'waiting', 'cache']
    const columns = ['id', 'model', 'kind', 'node', 'place', 'state', ...load, 'address', 'detail']
    return cli.table(columns, rows)
  })
}

/** As the engine told it; a dash for what it does not tell. */
function loadOf({ load }: Engine): readonly string[] {
  const cache = load?.kvCacheUsage ?? undefined
  return [
    String(load?.runningRequests ?? '-'),
    String(load?.waitingRequests ?? '-'),
    cache === undefined ? '-' : `${Math.round(cache * 100)} %`,
  ]
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
