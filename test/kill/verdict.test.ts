/** The judge must be able to convict. */
import { expect, test } from 'vitest'
import { judge, type Evidence } from './verdict.ts'

const stream = { status: 200, streamed: true, left: false, startedMs: 0 }
const sound: Evidence = {
  seen: [
    { ...stream, requestId: 'a', completed: true, outputTokensClaimed: 10 },
    { ...stream, requestId: 'b', completed: false, outputTokensClaimed: undefined },
  ],
  truth: new Map([
    ['a', [{ inputTokens: 7, outputTokens: 10, finished: true }]],
    ['b', [{ inputTokens: 7, outputTokens: 70, finished: false }]],
  ]),
  usage: [
    {
      requestId: 'a',
      outcome: 'completed',
      streamed: true,
      inputTokens: 7,
      outputTokens: 10,
      amountNanos: 37n,
    },
    {
      requestId: 'b',
      outcome: 'crashed',
      streamed: true,
      inputTokens: 7,
      outputTokens: 64,
      amountNanos: 199n,
    },
  ],
  sums: { allEntries: 0n, charged: 236n, usage: 236n, held: 0n, wrongBalances: 0 },
  inputNanos: 1n,
  outputNanos: 3n,
}
const [completed, crashed] = sound.usage

test('sound books have no fault', () => {
  expect(judge(sound)).toEqual({ requests: 2, completed: 1, crashed: 1, left: 0, faults: [] })
})

test.each([
  { name: 'a completed response without a bill', change: { usage: crashed ? [crashed] : [] } },
  {
    name: 'a double bill',
    change: { usage: completed && crashed ? [completed, completed, crashed] : [] },
  },
  {
    name: 'a completed response that is billed short',
    change: { usage: [{ ...completed, outputTokens: 9, amountNanos: 34n }, crashed] },
  },
  {
    name: 'a completed response that is billed as crashed',
    change: { usage: [{ ...completed, outcome: 'crashed' }, crashed] },
  },
  {
    name: 'a crash that bills more than was emitted',
    change: { usage: [completed, { ...crashed, outputTokens: 71, amountNanos: 220n }] },
  },
  {
    name: 'a crash that forgets more than a window',
    change: {
      truth: new Map([
        ...sound.truth,
        ['b', [{ inputTokens: 7, outputTokens: 200, finished: false }]],
      ]),
    },
  },
  {
    name: 'a client that left and pays more than was emitted',
    change: {
      usage: [
        completed,
        { ...crashed, outcome: 'client_left', outputTokens: 71, amountNanos: 220n },
      ],
    },
  },
  {
    name: 'an outcome that no one can explain',
    change: { usage: [completed, { ...crashed, outcome: 'guardrail_stopped' }] },
  },
  { name: 'a crash that is not in the ledger', change: { usage: [completed] } },
  {
    name: 'an amount that is not tokens times price',
    change: { usage: [{ ...completed, amountNanos: 38n }, crashed] },
  },
  {
    name: 'a ledger that differs from the usage',
    change: { sums: { ...sound.sums, charged: 235n } },
  },
  { name: 'an unbalanced ledger', change: { sums: { ...sound.sums, allEntries: 1n } } },
  { name: 'a forgotten hold', change: { sums: { ...sound.sums, held: 5n } } },
])('convicts $name', ({ change }) => {
  const evidence = { ...sound, ...change } as Evidence
  expect(judge(evidence).faults.length).toBeGreaterThan(0)
})
