import { expect, test } from 'vitest'
import {
  fingerprint,
  hasFailed,
  reconcile,
  restartDelayMs,
  threadsForEngine,
  threadsOfMachine,
  type Deployment,
} from './reconcile.ts'

function deployment(modelId: string, change: Partial<Deployment> = {}): Deployment {
  return {
    modelId,
    weightSources: [`file:/${modelId}`],
    weightSha256: null,
    weightBytes: null,
    embeddings: false,
    contextWindowTokens: null,
    settings: {},
    ...change,
  }
}
const a = deployment('a')
const b = deployment('b')
const changed = deployment('a', { settings: { parallel: 2 } })

test.each([
  ['nothing wanted, nothing there', [], [], []],
  ['a wanted model starts', [a], [], ['start a']],
  ['what runs as wanted is left alone', [a, b], [a, b], []],
  ['what is wanted no more stops', [], [a], ['stop a']],
  ['a changed deployment is replaced', [changed], [a], ['replace a']],
  ['stops come before starts', [b], [a], ['stop a', 'start b']],
  [
    'other sources are another engine',
    [deployment('a', { weightSources: ['hf:x'] })],
    [a],
    ['replace a'],
  ],
])('%s', (_name, desired, running, expected) => {
  const actual = new Map(running.map((entry) => [entry.modelId, fingerprint(entry)]))
  const actions = reconcile(desired, actual).map(
    (action) =>
      `${action.kind} ${action.kind === 'stop' ? action.modelId : action.deployment.modelId}`,
  )
  expect(actions).toEqual(expected)
})

test('facts that the agent itself reported do not restart its engine', () => {
  const learned = deployment('a', {
    contextWindowTokens: 2_048,
    weightSha256: 'ff',
    weightBytes: 7,
    embeddings: true,
  })
  expect(reconcile([learned], new Map([['a', fingerprint(a)]]))).toEqual([])
})

test('the order of settings means nothing', () => {
  const one = deployment('a', { settings: { x: 1, y: 2 } })
  const other = deployment('a', { settings: { y: 2, x: 1 } })
  expect(fingerprint(one)).toBe(fingerprint(other))
})

test('restarts come quickly at first, then slowly, and never more than five minutes apart', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1_000].map(restartDelayMs)).toEqual([
    0, 500, 1_000, 2_000, 4_000, 30_000, 60_000, 120_000, 240_000, 300_000, 300_000,
  ])
  expect([4, 5].map(hasFailed)).toEqual([false, true])
})

test.each([
  [2, 1, 1],
  [2, 2, 1],
  [1, 1, 1],
  [8, 1, 7],
  [8, 2, 3],
  [8, 0, 7],
  [64, 3, 21],
])('%i cores and %i engines give %i threads to each', (cores, engines, threads) => {
  expect(threadsForEngine(threadsOfMachine(cores), engines)).toBe(threads)
})
