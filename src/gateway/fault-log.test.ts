import { pino } from 'pino'
import { expect, test } from 'vitest'
import { Fault } from '../platform/fault.ts'
import { clientRequestId, logFault, logNamed } from './fault-log.ts'
import { createGatewayMetrics } from './metrics.ts'

function logging(): {
  readonly lines: readonly Record<string, unknown>[]
  readonly deps: Parameters<typeof logFault>[2]
} {
  const lines: Record<string, unknown>[] = []
  const write = (line: string): void => void lines.push(JSON.parse(line))
  const metrics = createGatewayMetrics({
    openRequests: () => 0,
    journalLagRecords: () => 0,
    journalBytes: () => 0,
    snapshotAgeMs: () => 0,
    inFlight: () => new Map(),
    limitWaiters: () => 0,
    limitsAway: () => false,
  })
  return { lines, deps: { log: pino({ level: 'info' }, { write }), metrics } }
}

test("a call that failed is found by our id and the client's, and a client that left is among them", () => {
  const { lines, deps } = logging()
  const gone = new Fault({ code: 'client.gone', public: 'The client closed the request.' })
  logFault(gone, { requestId: 'req_1', clientRequestId: 'mine', route: '/v1/x' }, deps)
  expect(gone.status).toBe(499)
  expect(lines).toMatchObject([
    { requestId: 'req_1', clientRequestId: 'mine', route: '/v1/x', code: 'client.gone' },
  ])
})

test('a call that went well has a line if its client named it, and none otherwise', () => {
  const { lines, deps } = logging()
  logNamed({ requestId: 'req_1', headers: {} }, '/v1/x', deps)
  logNamed({ requestId: 'req_2', headers: { 'x-client-request-id': 'mine' } }, '/v1/x', deps)
  expect(lines).toMatchObject([{ requestId: 'req_2', clientRequestId: 'mine', route: '/v1/x' }])
})

test.each([['two\nlines'], ['a space'], ['ü'], ['x'.repeat(513)], ['']])(
  'a name that would spoil the log is not taken: %j',
  (name) => {
    expect(clientRequestId({ 'x-client-request-id': name })).toBeUndefined()
  },
)
