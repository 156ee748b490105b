import type { Fault } from '../fault.ts'

export const noCache: Fault = {
  id: 'f15',
  title: 'a store beside the database is down or flushed',
  injection: 'nothing',
  expectation: 'does not apply',
  run: () =>
    Promise.resolve({
      facts: '',
      broken: [],
      notRun: 'there is no such store: limits are leased from PostgreSQL, and held in memory',
    }),
}
