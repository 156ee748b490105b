import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createKeyRecords } from '../identity/key-records.ts'
import { manualClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { createSeal } from '../platform/seal.ts'
import { keepSnapshotCopy, readSnapshotCopy } from './snapshot-copy.ts'
import type { SnapshotRecords } from './snapshot-records.ts'

const seal = createSeal(Buffer.alloc(32, 1))
const log = createLogger('test', 'silent')
const startMs = 1_000_000
const clock = manualClock(startMs)
let directory: string
let path: string
let copy: ReturnType<typeof keepSnapshotCopy>

beforeEach(() => {
  // Files are real; only the waiting is not.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-copy-'))
  path = join(directory, 'snapshot')
  copy = keepSnapshotCopy({ path, seal, clock, log })
})

afterEach(async () => {
  vi.useRealTimers()
  await copy.close()
  fs.rmSync(directory, { recursive: true, force: true })
})

/** Told apart by the number of their replicas. */
function withReplicas(count: number): SnapshotRecords {
  const replica = { modelId: 'm', engineKind: 'k', baseUrl: 'u', engineModel: 'e' }
  return {
    version: 1n,
    keys: createKeyRecords(),
    catalog: { models: [], aliases: [], prices: [] },
    limits: { plans: [], rules: [], tenantPlans: [], credits: [] },
    replicas: Array.from({ length: count }, (_, index) => ({
      ...replica,
      id: `rep_${index}`,
      sealedKey: undefined,
      location: 'local',
    })),
  }
}

const onDisk = async (): Promise<number | undefined> =>
  (await readSnapshotCopy({ path, seal }))?.records.replicas.length

async function pass(ms: number): Promise<void> {
  clock.advance(ms)
  await vi.advanceTimersByTimeAsync(ms)
}

/** Writing takes real time, and nothing tells when it is done but the file. */
const written = (count: number): Promise<void> =>
  vi.waitFor(async () => expect(await onDisk()).toBe(count))

test('the first records are written at once, and what changes after them within 30 s, all together', async () => {
  copy.confirm(withReplicas(1))
  await pass(0)
  await written(1)
  copy.confirm(withReplicas(2))
  await pass(20_000)
  copy.confirm(withReplicas(3))
  await pass(9_999)
  expect(await onDisk()).toBe(1)
  await pass(1)
  await written(3)
})

test('what is not written yet is written at the end', async () => {
  copy.confirm(withReplicas(1))
  await pass(0)
  await written(1)
  copy.confirm(withReplicas(2))
  await copy.close()
  expect(await onDisk()).toBe(2)
})

test('records that stay as they are are not written again, but for once an hour, to say that they are still true', async () => {
  const records = withReplicas(1)
  const takenAtMs = async () => (await readSnapshotCopy({ path, seal }))?.takenAtMs
  copy.confirm(records)
  const firstMs = clock.nowMs()
  await pass(0)
  await written(1)
  await pass(3_599_999)
  copy.confirm(records)
  await pass(0)
  expect(await takenAtMs()).toBe(firstMs)
  await pass(1)
  copy.confirm(records)
  await pass(0)
  await vi.waitFor(async () => expect(await takenAtMs()).toBe(firstMs + 3_600_000))
})

test('a disk that refuses is tried again, and the copy before it stays', async () => {
  copy.confirm(withReplicas(1))
  await pass(0)
  await written(1)
  fs.mkdirSync(`${path}.partial`)
  copy.confirm(withReplicas(2))
  await pass(30_000)
  expect(await onDisk()).toBe(1)
  fs.rmdirSync(`${path}.partial`)
  await vi.waitFor(async () => {
    await pass(30_000)
    expect(await onDisk()).toBe(2)
  })
})

test('nobody but its owner reads the copy', async () => {
  copy.confirm(withReplicas(1))
  await pass(0)
  await written(1)
  expect(fs.statSync(path).mode & 0o777).toBe(0o600)
})
