/** `colonnade audit …`: list, export and verify the log of who did what. */
import { createReadStream, createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { z } from 'zod'
import { verifyChain, type AuditRow, type Verification } from '../audit/audit.ts'
import type { Cli, CliCommand } from './command.ts'

const entry = z.object({
  sequence: z.number(),
  payload: z.string(),
  previousHash: z.string(),
  hash: z.string(),
})
const page = z.object({
  data: z.array(entry),
  hasMore: z.boolean(),
  head: z.object({ sequence: z.number(), hash: z.string() }),
})
const facts = z.object({
  occurredAt: z.string(),
  actor: z.string(),
  role: z.string(),
  action: z.string(),
  resource: z.string(),
  outcome: z.string(),
})
const pageSize = 1_000

export const auditCommand: CliCommand = {
  register(program, cli) {
    const audit = program.command('audit').description('the audit log: list, export, verify')
    audit
      .command('list')
      .option('--last <n>', 'how many of the newest entries', '20')
      .description('show the newest entries')
      .action((options: { last: string }) => list(cli, Number(options.last)))
    audit
      .command('export')
      .argument('<file>', 'JSON lines, one an entry; the last line is the head')
      .description('copy the log to a file that anyone can verify')
      .action((file: string) => exportTo(cli, file))
    audit
      .command('verify')
      .option('--file <file>', 'an exported copy, verified offline; the live log when left out')
      .description('recompute the chain, and say where it breaks')
      .action((options: { file?: string }) => verify(cli, options.file))
  },
}

async function readAll(
  cli: Cli,
): Promise<{ rows: AuditRow[]; head: z.infer<typeof page>['head'] }> {
  const client = await cli.control()
  const rows: AuditRow[] = []
  for (;;) {
    const answer = page.parse(
      await client.call(
        'GET',
        `/api/v1/audit?limit=${pageSize}&after=${rows.at(-1)?.sequence ?? 0}`,
      ),
    )
    rows.push(...answer.data)
    // Entries may be added while we read; the head that came with the last page is the one to hold them against.
    if (!answer.hasMore) return { rows, head: answer.head }
  }
}

async function list(cli: Cli, last: number): Promise<void> {
  const { rows } = await readAll(cli)
  const entries = rows
    .slice(-last)
    .map((row) => ({ sequence: row.sequence, ...facts.parse(JSON.parse(row.payload)) }))
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

async function exportTo(cli: Cli, file: string): Promise<void> {
  const { rows, head } = await readAll(cli)
  const out = createWriteStream(file, { mode: 0o600 })
  for (const row of rows) out.write(`${JSON.stringify(row)}\n`)
  out.end(`${JSON.stringify({ head })}\n`)
  await once(out, 'finish')
  cli.result(
    { file, entries: rows.length, head },
    () =>
      `${rows.length} entries are in ${file}. Keep the head apart: ${head.sequence} ${head.hash}`,
  )
}

async function verify(cli: Cli, file: string | undefined): Promise<void> {
  const { rows, head } = file === undefined ? await readAll(cli) : await readFileRows(file)
  const result = verifyChain(rows, head)
  if (result.outcome === 'broken') process.exitCode = 1
  cli.result(result, () => describe(result))
}

async function readFileRows(
  file: string,
): Promise<{ rows: AuditRow[]; head: { sequence: number; hash: string } | undefined }> {
  const rows: AuditRow[] = []
  let head: { sequence: number; hash: string } | undefined
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const value: unknown = JSON.parse(line)
    const last = z.object({ head: page.shape.head }).safeParse(value)
    if (last.success) head = last.data.head
    else rows.push(entry.parse(value))
  }
  return { rows, head }
}

function describe(result: Verification): string {
  return result.outcome === 'intact'
    ? `The log is intact: ${result.entries} entries, head ${result.head}`
    : `The log is BROKEN at entry ${result.sequence}: ${result.reason}.`
}
