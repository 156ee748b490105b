/** `colonnade conformance`: checks a model through the public API, like any other client, and keeps the result as the model's badge. */
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { readConfig } from '../app/config.ts'
import { readEndpoints } from '../app/leftovers.ts'
import {
  isFailure,
  judgedCategories,
  subjectCategories,
  type Subject,
  type SubjectCategory,
} from '../conformance/check.ts'
import { connectApi, type ConnectedApi } from '../conformance/conformance.ts'
import { describeModel } from '../conformance/describe.ts'
import {
  countOf,
  suiteVersion,
  verdictOf,
  type CheckOutcome,
  type Verdict,
} from '../conformance/run.ts'
import { adviceFor, checksFor, groups, runSuite } from '../conformance/suite.ts'
import { systemClock } from '../platform/clock.ts'
import { CliError, type Cli, type CliCommand, type ControlClient } from './command.ts'
import type { GlobalOptions } from './global-options.ts'

interface ConformanceOptions {
  readonly key?: string
  readonly url?: string
  readonly only?: string
  readonly category?: string
  readonly store: boolean
}

interface Report extends ReturnType<typeof countOf> {
  readonly model: string
  readonly category: SubjectCategory
  readonly suiteVersion: string
  readonly programVersion: string
  readonly startedAt: string
  readonly finishedAt: string
  readonly verdict: Verdict
  readonly stored: boolean
  readonly checks: readonly CheckOutcome[]
}

/** A model that is loaded for its first request keeps one waiting. */
const describeLimitMs = 120_000
const barWidth = 24
/** What fills the bar of speed. */
const fastTokensPerSecond = 120

export const conformanceCommand: CliCommand = {
  register(program, cli) {
    program
      .command('conformance')
      .description('check a model through the API, and show the result in the catalogue')
      .argument('<model>', 'id or alias')
      .option('--only <names>', `some checks, which leaves the badge as it is: ${groups().join()}`)
      .option('--category <name>', 'of the model; found out when left out')
      .option('--no-store', 'keep nothing; needs no access token')
      .option('--key <key>', 'API key (COLONNADE_API_KEY), or - to read it from standard input')
      .option('--url <url>', "the API's base URL (default: the local one)")
      .action((model: string, options: ConformanceOptions) =>
        run(cli, model, {
          ...program.opts<GlobalOptions>(),
          ...options,
          version: program.version() ?? 'unknown',
        }),
      )
  },
}

type RunOptions = ConformanceOptions & GlobalOptions & { readonly version: string }

async function run(cli: Cli, model: string, options: RunOptions): Promise<void> {
  const { url, key } = await findApi(options)
  const only = parseNames(options.only)
  // Whoever may not store it learns so before the run.
  const control = options.store && only.length === 0 ? await cli.control() : undefined
  const api = connectApi({ url, key, clock: systemClock })
  try {
    const subject = await describe(api, control, model, parseCategory(options.category))
    if (checksFor(subject, only).length === 0) {
      throw new CliError(`None of these concerns a model of the category ${subject.category}.`)
    }
    const report = await check(cli, api, subject, only, options.version)
    const isStored = control !== undefined && (await store(control, report))
    const told = { ...report, stored: isStored }
    cli.result(told, () => render(cli, told))
    if (report.verdict === 'failed') process.exitCode = 1
  } finally {
    await api.close()
  }
}

async function findApi(options: RunOptions): Promise<{ url: string; key: string }> {
  const config = readConfig({ dataDirectory: options.data, configFile: options.config })
  const local = readEndpoints(config.dataDirectory)?.apiUrl
  const url = options.url ?? local ?? `http://127.0.0.1:${config.gateway.port}/v1`
  const key = options.key === '-' ? await readLine() : (options.key ?? config.apiKey)
  if (key === undefined || key === '') {
    throw new CliError(
      'Give an API key with --key or COLONNADE_API_KEY. A new one: colonnade key create --name conformance',
    )
  }
  return { url, key }
}

async function readLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line.trim()
  return ''
}

function parseNames(text: string | undefined): readonly string[] {
  const names = text?.split(',').map((name) => name.trim()) ?? []
  const unknown = names.find((name) => !groups().includes(name) && adviceFor(name) === undefined)
  if (unknown === undefined) return names
  throw new CliError(`No check is called "${unknown}". There are: ${groups().join(', ')}.`)
}

function parseCategory(text: string | undefined): SubjectCategory | undefined {
  const category = subjectCategories.find((name) => name === text)
  if (category !== undefined || text === undefined) return category
  throw new CliError(`--category takes one of ${subjectCategories.join(', ')}: not "${text}".`)
}

const catalogued = z.object({ category: z.enum(subjectCategories) })

async function describe(
  api: ConnectedApi,
  control: ControlClient | undefined,
  name: string,
  wished: SubjectCategory | undefined,
): Promise<Subject> {
  const subject = await api
    .within(describeLimitMs, (timed) => describeModel(timed, name, wished))
    .catch((error: unknown) => {
      if (!isFailure(error)) throw error
      throw new CliError(
        `${name} cannot be checked: ${error.message}. Is 'colonnade serve' running, and may the key use the model?`,
      )
    })
  const path = pathOf(subject.model)
  const known = control && catalogued.parse(await control.call('GET', path))
  const category = wished ?? known?.category ?? subject.category
  if (!judgedCategories.some((judged) => judged === category)) {
    throw new CliError(
      `Skipped: this version of the suite checks models of the categories ${judgedCategories.join(', ')}, and ${subject.model} is of ${category}. Nothing was kept.`,
    )
  }
  return { ...subject, category }
}

async function check(
  cli: Cli,
  api: ConnectedApi,
  subject: Subject,
  only: readonly string[],
  programVersion: string,
): Promise<Omit<Report, 'stored'>> {
  const startedAt = new Date().toISOString()
  const checks = await runSuite(api, subject, {
    only,
    onStart: ({ id }, place, count) => cli.progress(id, place / count),
  })
  cli.progress('done', 1)
  return {
    model: subject.model,
    category: subject.category,
    suiteVersion,
    programVersion,
    startedAt,
    finishedAt: new Date().toISOString(),
    verdict: verdictOf(checks),
    ...countOf(checks),
    checks,
  }
}

async function store(control: ControlClient, report: Omit<Report, 'stored'>): Promise<boolean> {
  const { programVersion, startedAt, finishedAt, checks } = report
  await control.call('POST', `${pathOf(report.model)}/conformance`, {
    suiteVersion: report.suiteVersion,
    programVersion,
    startedAt,
    finishedAt,
    checks,
  })
  return true
}

function pathOf(model: string): string {
  return `/api/v1/models/${encodeURIComponent(model)}`
}

function render(cli: Cli, report: Report): string {
  const rows = report.checks.map((outcome) => [
    mark(outcome),
    outcome.id,
    `${(outcome.durationMs / 1_000).toFixed(1)} s`,
    outcome.result === 'failed' ? outcome.title : (outcome.why ?? outcome.title),
  ])
  const failures = report.checks.filter(({ result }) => result === 'failed')
  return [
    cli.table(['', 'CHECK', 'TIME', ''], rows),
    ...renderSpeed(report.checks),
    ...failures.map(renderFailure),
    renderVerdict(report),
  ].join('\n\n')
}

function mark({ result, required }: CheckOutcome): string {
  if (result === 'failed') return required ? 'FAILED' : 'gap'
  return result === 'passed' ? 'ok' : 'skipped'
}

function renderFailure({ id, why = '', required }: CheckOutcome): string {
  const kind = required ? 'FAILED' : 'gap'
  return `${kind}  ${id}: ${why}.\n        ${adviceFor(id) ?? ''}`
}

function renderSpeed(checks: readonly CheckOutcome[]): readonly string[] {
  const facts = checks.find(({ id }) => id === 'speed.stream')?.facts
  const speed = facts?.['tokensPerSecond']
  if (!facts || speed === undefined) return []
  const filled = Math.min(barWidth, Math.round((speed / fastTokensPerSecond) * barWidth))
  const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled)
  return [`first token after ${facts['timeToFirstTokenMs']} ms, then ${speed} tokens/s  [${bar}]`]
}

const verdictTexts: Readonly<Record<Verdict, string>> = {
  passed: 'passed',
  partial: 'passed, with gaps',
  failed: 'FAILED',
}

function renderVerdict(report: Report): string {
  const { model, verdict, passed, failed, skipped } = report
  const seconds = (Date.parse(report.finishedAt) - Date.parse(report.startedAt)) / 1_000
  const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`
  const kept = report.stored ? 'The catalogue shows it.' : 'Nothing was kept.'
  return `${model}: ${verdictTexts[verdict]} (${counts}; suite ${report.suiteVersion}, ${seconds.toFixed(0)} s). ${kept}`
}
