import { expect, test } from 'vitest'
import { isEjected, planAttempts, type Candidate } from './router.ts'

const candidate = (replicaId: string, fields: Partial<Candidate> = {}): Candidate => ({
  replicaId,
  inFlight: 0,
  failuresInARow: 0,
  failedAtMs: 0,
  ...fields,
})

const cases = [
  {
    name: 'the least loaded first',
    given: [candidate('a', { inFlight: 3 }), candidate('b', { inFlight: 1 })],
    want: ['b', 'a'],
  },
  {
    name: 'an ejected replica comes last, whatever its load',
    given: [
      candidate('a', { failuresInARow: 5, failedAtMs: 1_000 }),
      candidate('b', { inFlight: 50 }),
    ],
    want: ['b', 'a'],
  },
  {
    name: 'four failures do not eject',
    given: [
      candidate('a', { failuresInARow: 4, failedAtMs: 1_000 }),
      candidate('b', { inFlight: 1 }),
    ],
    want: ['a', 'b'],
  },
  {
    name: 'ejected ones are still tried when nothing else is there',
    given: [candidate('a', { failuresInARow: 9, failedAtMs: 1_000 })],
    want: ['a'],
  },
  { name: 'no replica, no attempt', given: [], want: [] },
]
for (const { name, given, want } of cases) {
  test(name, () => {
    expect(planAttempts(given, 2_000, 0)).toEqual(want)
  })
}

test('equal replicas take turns', () => {
  const equal = [candidate('a'), candidate('b'), candidate('c')]
  const firsts = [0, 1, 2].map((turn) => planAttempts(equal, 0, turn)[0])
  expect(new Set(firsts).size).toBe(3)
})

test('an ejection ends by itself, and lasts longer after each further failure', () => {
  const at = (failuresInARow: number, nowMs: number): boolean =>
    isEjected(candidate('a', { failuresInARow, failedAtMs: 0 }), nowMs)
  expect(at(5, 9_999)).toBe(true)
  expect(at(5, 10_000)).toBe(false)
  expect(at(6, 19_999)).toBe(true)
  expect(at(40, 300_000)).toBe(false)
})
