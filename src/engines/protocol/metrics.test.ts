import { expect, test } from 'vitest'
import { Fault } from '../../platform/fault.ts'
import { readPublishedLoad, toLoad } from './metrics.ts'

const gauges = { running: ['running'], waiting: ['waiting', 'queued'], kvCacheUsage: ['usage'] }
const never = new AbortController().signal

test('gauges are read whatever stands in their labels, with and without a timestamp', () => {
  const text = `# HELP running Requests
# TYPE running gauge
running{model_name="a } b",engine="0"} 3.0 1712345678
waiting 2
usage{model="x"} 2.5e-1
`
  expect(toLoad(text, gauges)).toEqual({
    runningRequests: 3,
    waitingRequests: 2,
    kvCacheUsage: 0.25,
  })
})

test('requests are summed over ranks, and the fullest cache counts', () => {
  const text = `running{rank="0"} 3\nrunning{rank="1"} 4\nusage{rank="0"} 0.25\nusage{rank="1"} 0.75\n`
  expect(toLoad(text, gauges)).toMatchObject({ runningRequests: 7, kvCacheUsage: 0.75 })
})

test('a name of an older version is read where the newer one is not published', () => {
  expect(toLoad('queued 5\n', gauges).waitingRequests).toBe(5)
  expect(toLoad('queued 5\nwaiting 6\n', gauges).waitingRequests).toBe(6)
})

test('what an engine does not publish stays unknown, and nonsense counts as unpublished', () => {
  expect(toLoad('', gauges)).toEqual({
    runningRequests: undefined,
    waitingRequests: undefined,
    kvCacheUsage: undefined,
  })
  expect(toLoad('running NaN\nwaiting +Inf\nusage -1\n', gauges).runningRequests).toBeUndefined()
  expect(toLoad('running_total 4\nrunning', gauges).runningRequests).toBeUndefined()
})

test('an engine whose metrics are switched off tells nothing; one that cannot be reached is a failure', async () => {
  const read = readPublishedLoad(gauges)
  const off = new Fault({ code: 'upstream.failed', public: 'GET /metrics answered 404' })
  expect(await read(() => Promise.reject(off), never)).toEqual({})
  const gone = new Fault({ code: 'upstream.unreachable', public: 'gone' })
  await expect(read(() => Promise.reject(gone), never)).rejects.toBe(gone)
})
