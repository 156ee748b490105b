/** `colonnade audit …`: list, export and verify the log of who did what. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import {
  genesis,
  verifyChain,
  verifyHead,
  type AuditRow,
  type Head,
  type Verification,
} from '../audit/audit.ts'
import { CliError, type Cli, type CliCommand, type ControlClient } from './command.ts'
import { chooseTenant } from './identity-rows.ts'

const entry = z.object({
  sequence: z.number(),
  payload: z.string(),
  previousHash: z.string(),
  hash: z.string(),
})
const headShape = z.object({ sequence: z.int().min(0), hash: z.string() })
const page = z.object({ data: z.array(entry), hasMore: z.boolean(), head: headShape.optional() })
const facts = z.object({
  occurredAt: z.string(),
  actor: z.string(),
  role: z.string(),
  action: z.string(),
  resource: z.string(),
  outcome: z.string(),
})
const pageRows = 1_000

/** Some rows in order; the last part also tells the head that the log must contain. */
export interface LogPart {
  readonly rows: readonly AuditRow[]
  readonly head?: Head | undefined
}

export const auditCommand: CliCommand = {
  register(program, cli) {
    const audit = program.command('audit').description('the audit log: list, export, verify')
    audit
      .command('list')
      .option('--last <n>', 'how many of the newest entries', '20')
      .option('--tenant <tenant>', 'id or name; the whole platform when left out')
      .description('show the newest entries')
      .action((options: { last: string; tenant?: string }) => list(cli, options))
    audit
      .command('export')
      .argument('<file>', 'JSON lines, one an entry; the last line is the head')
      .description('copy the log to a new file that anyone can verify')
      .action((file: string) => exportTo(cli, file))
    audit
      .command('verify')
      .option('--file <file>', 'an exported copy, verified offline; the live log when left out')
      .option('--head <sequence:hash>', 'a head that you kept: the log must contain it')
      .description('recompute the chain, and say where it breaks')
      .action((options: { file?: string; head?: string }) => verify(cli, options))
  },
}

async function list(cli: Cli, options: { last: string; tenant?: string }): Promise<void> {
  const last = Number(options.last)
  if (!Number.isInteger(last) || last < 1) throw new CliError('--last takes a number from 1 on.')
  const client = await cli.control()
  const path = options.tenant
    ? `/api/v1/tenants/${(await chooseTenant(client, options.tenant)).id}/audit`
    : '/api/v1/audit'
  // The platform's log has no gaps, so its newest entries are found from its head; a tenant's is read through.
  const first = page.parse(await client.call('GET', `${path}?limit=1`))
  const start = first.head ? Math.max(first.head.sequence - last, 0) : 0
  let newest: readonly AuditRow[] = []
  for await (const part of readLog(client, path, start)) {
    newest = [...newest, ...part.rows].slice(-last)
  }
  const entries = newest.map((row) => ({
    sequence: row.sequence,
    ...facts.parse(JSON.parse(row.payload)),
  }))
  const cells = entries.map((row) => [
    String(row.sequence),
    row.occurredAt,
    row.actor,
    row.role,
    row.action,
    row.resource,
    row.outcome,
  ])
  cli.result(entries, () =>
    cli.table(['SEQ', 'WHEN', 'WHO', 'ROLE', 'ACTION', 'RESOURCE', 'OUTCOME'], cells),
  )
}

/** Page by page. Each head was read before its entries, so the last one lies within what has been read. */
async function* readLog(
  client: ControlClient,
  path: string,
  after: number,
): AsyncGenerator<LogPart> {
  for (;;) {
    const answer = page.parse(await client.call('GET', `${path}?limit=${pageRows}&after=${after}`))
    const last = answer.data.at(-1)
    if (!answer.hasMore || !last) {
      yield { rows: answer.data, head: answer.head }
      return
    }
    yield { rows: answer.data }
    after = last.sequence
  }
}

async function exportTo(cli: Cli, path: string): Promise<void> {
  const client = await cli.control()
  const file = await open(path, 'wx', 0o600).catch(() => {
    throw new CliError(`Cannot create ${path}. It must not exist yet, and its folder must.`)
  })
  let entries = 0
  let head: Head | undefined
  try {
    for await (const part of readLog(client, '/api/v1/audit', 0)) {
      for (const row of part.rows) await file.write(`${JSON.stringify(row)}\n`)
      entries += part.rows.length
      head = part.head
    }
    await file.write(`${JSON.stringify({ head })}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  cli.result(
    { file: path, entries, head },
    () => `${entries} entries are in ${path}. Keep the head apart: ${head ? renderHead(head) : ''}`,
  )
}

async function verify(cli: Cli, options: { file?: string; head?: string }): Promise<void> {
  const kept = options.head === undefined ? undefined : parseHead(options.head)
  const log =
    options.file === undefined
      ? readLog(await cli.control(), '/api/v1/audit', 0)
      : readFileLog(options.file)
  const result = await verifyLog(log, kept)
  if (result.outcome === 'broken' || !result.headKnown) process.exitCode = 1
  cli.result(result, () => describe(result))
}

export type LogVerification = Verification & {
  /** Whether a head told where the log must end; without one, a missing end goes unseen. */
  readonly headKnown: boolean
}

/** Verifies a log part by part, against the head that it brings and the one that was kept. */
export async function verifyLog(
  log: AsyncIterable<LogPart>,
  kept: Head | undefined,
): Promise<LogVerification> {
  let at = genesis
  let headKnown = kept !== undefined
  const heads = kept ? [kept] : []
  try {
    for await (const { rows, head } of log) {
      const before = at
      const result = verifyChain(rows, before)
      if (result.outcome === 'broken') return { ...result, headKnown }
      at = result.head
      if (head) heads.push(head)
      headKnown ||= head !== undefined
      const hashAt = (sequence: number): string | undefined =>
        sequence === before.sequence ? before.hash : rows[sequence - before.sequence - 1]?.hash
      const within = heads.filter(
        ({ sequence }) => sequence >= before.sequence && sequence <= result.head.sequence,
      )
      const wrong = within.map((each) => verifyHead(each, hashAt)).find((each) => each)
      if (wrong) return { ...wrong, headKnown }
    }
  } catch (error) {
    if (!(error instanceof UnreadableLine)) throw error
    const reason = 'the line cannot be read'
    return { outcome: 'broken', sequence: at.sequence + error.rowsBefore + 1, reason, headKnown }
  }
  const beyond = heads.find(({ sequence }) => sequence > at.sequence)
  const missing = beyond && verifyHead(beyond, () => undefined)
  if (missing) return { ...missing, sequence: at.sequence + 1, headKnown }
  return { outcome: 'intact', head: at, headKnown }
}

class UnreadableLine extends Error {
  readonly rowsBefore: number
  constructor(rowsBefore: number) {
    super('unreadable line')
    this.rowsBefore = rowsBefore
  }
}

async function* readFileLog(path: string): AsyncGenerator<LogPart> {
  const file = await open(path).catch(() => {
    throw new CliError(`Cannot read ${path}. Check the name and its rights.`)
  })
  await file.close()
  yield* parseLog(createInterface({ input: createReadStream(path), crlfDelay: Infinity }))
}

/** The lines of an export: entries, then the head. Anything else counts as a broken log. */
export async function* parseLog(lines: AsyncIterable<string>): AsyncGenerator<LogPart> {
  let rows: AuditRow[] = []
  let head: Head | undefined
  for await (const line of lines) {
    const value = parseLine(line)
    const row = entry.strict().safeParse(value)
    const last = z.strictObject({ head: headShape.strict() }).safeParse(value)
    if (head || (!row.success && !last.success)) throw new UnreadableLine(rows.length)
    if (last.success) head = last.data.head
    if (row.success) rows.push(row.data)
    if (rows.length < pageRows) continue
    yield { rows }
    rows = []
  }
  yield { rows, head }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    // Told as an unreadable line.
    return undefined
  }
}

function parseHead(text: string): Head {
  const match = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text)
  if (!match) throw new CliError('--head takes what export or verify printed, such as 1234:9f3c… .')
  return { sequence: Number(match[1]), hash: match[2] ?? '' }
}

function renderHead(head: Head): string {
  return `${head.sequence}:${head.hash}`
}

function describe(result: LogVerification): string {
  if (result.outcome === 'broken')
    return `The log is BROKEN at entry ${result.sequence}: ${result.reason}.`
  const end = result.headKnown
    ? ''
    : '\nBut the head that ends every export is missing: entries may have been cut off. Give --head.'
  return `The log is intact: ${result.head.sequence} entries, head ${renderHead(result.head)}${end}`
}
