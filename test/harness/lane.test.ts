import { expect, test } from 'vitest'
import { countVitest } from './lane.ts'

const report = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 1, numTodoTests: 0 }

test('a lane whose program crashed without a report has failed', () => {
  expect(countVitest(undefined, 0)).toEqual({ passed: 0, failed: 1, skipped: 0 })
})

test('a file that does not load counts as a failure', () => {
  const testResults = [{ status: 'failed', assertionResults: [] }]
  expect(countVitest({ ...report, testResults }, 1)).toEqual({ passed: 3, failed: 1, skipped: 1 })
})

test('an error outside every test counts as a failure', () => {
  expect(countVitest({ ...report, testResults: [] }, 1).failed).toBe(1)
})

test('a green report with exit code 0 has no failure', () => {
  expect(countVitest({ ...report, testResults: [] }, 0)).toEqual({
    passed: 3,
    failed: 0,
    skipped: 1,
  })
})
