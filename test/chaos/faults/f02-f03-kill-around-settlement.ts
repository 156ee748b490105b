/** The two instants around the record that decides a bill: just durable and nobody told, and not yet written. */
import { randomUUID } from 'node:crypto'
import type { Fault, FaultJob, Finding } from '../fault.ts'
import { unless } from '../fault.ts'
import type { Act, Point } from '../injection/plan.ts'
import { below } from '../random.ts'
import { inputNanos, model, openScene, outputNanos, type Scene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'
import { stubInputTokens } from '../../e2e/stub-engine.ts'
import { until } from '../../e2e/until.ts'

const rounds = 4
/** Long enough for a client to see the end, if nobody waited for the disk. */
const withholdMs = 100
const passagesMax = 20
const fireTimeoutMs = 20_000
const repeatTokens = 10
const repeatTimeoutMs = 30_000

export const killAfterSettlement: Fault = {
  id: 'f2',
  title: 'kill -9 between the durable settlement and the end that the client sees',
  injection: `${rounds} times: the gateway dies in the write's return, before anybody is told`,
  expectation:
    'billed once as completed, though its client saw an error; repeated with its key, not charged again',
  run: (job) => killAt(job, 'settle.after-write', { do: 'kill' }),
}

export const killBeforeSettlement: Fault = {
  id: 'f3',
  title: "kill -9 between the engine's end and the settlement",
  injection: `${rounds} times: the settlement is kept from the disk for ${withholdMs} ms, then the gateway dies`,
  expectation:
    'no client has seen the end; settled by rule: at most one progress window less than emitted',
  run: (job) => killAt(job, 'settle.before-write', { do: 'withhold', ms: withholdMs }),
}

async function killAt({ random, say }: FaultJob, point: Point, act: Act): Promise<Finding> {
  await using scene = await openScene({ random })
  const before = new Set((await scene.books.usage()).map((row) => row.requestId))
  const course = await underLoad(scene, { leavingShare: 0 }, async () => {
    for (let round = 0; round < rounds; round += 1) {
      const gateway = 1 + (round % 2)
      const victim = scene.gateways().find(({ index }) => index === gateway)
      const passage = 1 + below(random, passagesMax)
      const armed = scene.arm(gateway, point, act, passage)
      await until(`gateway ${gateway} passes ${point}`, fireTimeoutMs, () => armed.fired)
      say(`gateway ${gateway} died at ${point}`)
      await scene.whole(victim ? [victim.pid] : [])
    }
    return []
  })
  if (point === 'settle.before-write') {
    const crashed = unless(course.verdict.crashed > 0, 'no request was settled by rule')
    return findingOf({ ...course, broken: [...course.broken, ...crashed] }, `${rounds} kills`)
  }
  const { seen } = course
  const completedIds = new Set(seen.filter((each) => each.completed).map((each) => each.requestId))
  const unseen = (await scene.books.usage()).filter(
    ({ outcome, requestId }) =>
      outcome === 'completed' && !completedIds.has(requestId) && !before.has(requestId),
  )
  const unseenBilled = unless(
    unseen.length > 0,
    'no request was billed whose end its client did not see',
  )
  const repeated = await repeatWithKey(scene)
  const broken = [...course.broken, ...unseenBilled, ...repeated]
  return findingOf(
    { ...course, broken },
    `${rounds} kills, ${unseen.length} billed unseen, 1 repeated with its idempotency key`,
  )
}

/** The gateway dies behind a settlement; the client, who knows of no answer, asks again with the same key. */
async function repeatWithKey(scene: Scene): Promise<readonly string[]> {
  const victim = scene.gateways().find(({ index }) => index === 1)
  const armed = scene.arm(1, 'settle.after-write', { do: 'kill' })
  let key = ''
  while (!armed.fired) {
    key = randomUUID()
    await askWithKey(scene, key).catch(() => {
      // The one that we want.
    })
  }
  await scene.whole(victim ? [victim.pid] : [])
  const again = await until('the repetition is answered', repeatTimeoutMs, async () => {
    const response = await askWithKey(scene, key)
    return response.status === 200 ? response : undefined
  })
  const id = again.headers.get('x-request-id') ?? ''
  const [row] = await until('both runs are in the ledger', repeatTimeoutMs, async () => {
    const rows = await scene.books.query(
      `SELECT count(*)::text AS legs, sum(amount_nanos)::text AS nanos FROM usage_events WHERE request_id = '${id}'`,
    )
    return Number(rows[0]?.['legs']) === 2 && rows
  }).catch((): Record<string, string>[] => [])
  const price = String(inputNanos * BigInt(stubInputTokens) + outputNanos * BigInt(repeatTokens))
  return [
    ...unless(row !== undefined, `the repetition ${id} is not the second run of the first request`),
    ...unless(
      row === undefined || row['nanos'] === price,
      `one answer was charged ${row?.['nanos']} in two runs, and costs ${price}`,
    ),
  ]
}

function askWithKey({ platform }: Scene, key: string): Promise<Response> {
  return fetch(`${platform.apiUrl}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${platform.apiKey}`,
      'content-type': 'application/json',
      'idempotency-key': key,
      // Each on a connection of its own, which may lead to the one or the other gateway.
      connection: 'close',
    },
    body: JSON.stringify({
      model,
      max_completion_tokens: repeatTokens,
      messages: [{ role: 'user', content: 'tick' }],
    }),
    signal: AbortSignal.timeout(repeatTimeoutMs),
  })
}
