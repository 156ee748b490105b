/** `colonnade batch`, against the real control API and a real batch. */
import { Command } from 'commander'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { openBatches } from '../batches/batches.ts'
import { outputLifeMs, uploadLifeMs } from '../batches/file.ts'
import { openFiles } from '../batches/files.ts'
import { openBatchQueue } from '../batches/queue.ts'
import { systemClock } from '../platform/clock.ts'
import { createSeal } from '../platform/seal.ts'
import { batchCommand } from './batch.ts'
import { CliError, type Cli } from './command.ts'
import { renderTable } from './output.ts'

let platform: ControlPlatform
let batchId: string
const endpoint = '/v1/chat/completions'

beforeAll(async () => {
  platform = await startControlPlatform()
  const { database, own } = platform
  const owner = { tenantId: own.id, projectId: own.projectId }
  const stored = { database, seal: createSeal(Buffer.alloc(32, 1)), clock: systemClock }
  const files = openFiles({ ...stored, projectBytesMax: 1e6 })
  const writer = await files.begin(owner)
  const line = { custom_id: 'a', method: 'POST', url: endpoint, body: { model: 'marker' } }
  await writer.write(Buffer.from(JSON.stringify(line)))
  const facts = { purpose: 'batch', name: 'marker.jsonl', lifeMs: uploadLifeMs } as const
  const input = await files.finish(owner, writer, facts)
  const made = await openBatches({ ...stored, endpoints: [endpoint] }).create(owner, {
    apiKeyId: own.apiKeyId,
    endpoint,
    inputFileId: input.id,
    metadata: { job: 'marker' },
    outputLifeMs,
  })
  batchId = made.id
  await openBatchQueue({ ...stored, files, workerId: 'one' }).advanceBatch()
})
afterAll(() => platform?.close())

interface Ran {
  readonly text: string
  // Tests read what they expect, and fail where it is not.
  // eslint-disable-next-line typescript/no-explicit-any
  readonly value: any
}

async function run(line: string, side: 'platform' | 'tenant', role: string): Promise<Ran> {
  const token = platform.actor(side, role).secret
  let ran: Ran | undefined
  const cli: Cli = {
    say() {},
    result(value, human) {
      ran = { value, text: human() }
    },
    table: renderTable,
    progress() {},
    control: async () => ({
      async call(method, path, body) {
        const to = { method, path: path.slice('/api/v1'.length), body, token }
        const answer = await platform.call(to)
        if (answer.status === 200) return answer.body
        throw new CliError(answer.body.error.message)
      },
    }),
  }
  const program = new Command().exitOverride()
  batchCommand.register(program, cli)
  await program.parseAsync([...line.split(' '), '--tenant', platform.own.id], { from: 'user' })
  if (!ran) throw new Error('the command printed no result')
  return ran
}

test('operators and members see states and counts of batches, and nothing that the caller wrote', async () => {
  for (const [side, role] of [
    ['platform', 'operator'],
    ['tenant', 'developer'],
    ['tenant', 'auditor'],
  ] as const) {
    const { text, value } = await run('batch list', side, role)
    expect(text).toMatch(new RegExp(`^${batchId} +in_progress +${endpoint} +1 +0 +0 +0 `, 'm'))
    const one = await run(`batch get ${batchId}`, side, role)
    expect(one.value).toMatchObject({ id: batchId, state: 'in_progress', endedAt: null })
    expect(JSON.stringify([value, one.value])).not.toContain('marker')
  }
})

test('a batch is cancelled by its name, with an entry in the audit log', async () => {
  await expect(run(`batch cancel ${batchId}`, 'tenant', 'auditor')).rejects.toThrow()
  await expect(run('batch cancel batch_none', 'platform', 'operator')).rejects.toThrow(
    'There is no such batch',
  )
  const before = await platform.lastAuditSequence()
  const { text } = await run(`batch cancel ${batchId}`, 'platform', 'operator')
  expect(text).toBe(`${batchId} is cancelling.`)
  const [entry] = await platform.auditEntries(before)
  expect(entry).toMatchObject({ action: 'batches.cancel', resource: batchId })
})
