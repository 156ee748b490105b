import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { mountSmall, openScene, unmount } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const mebibyte = 1024 * 1024
const volumeBytes = 8 * mebibyte
const refusedMin = 200
const fillTimeoutMs = 90_000
const resumeTimeoutMs = 15_000

export const journalFull: Fault = {
  id: 'f9',
  title: "the journal's volume is full",
  injection: `a file system of ${volumeBytes / mebibyte} MiB, filled to the last block while requests go on`,
  expectation:
    '503 before the engine hears of a request; what runs is settled; it resumes by itself',
  async run({ random, say }) {
    let mounted: string | undefined
    const prepare = (dataDirectory: string): (() => void) => {
      const path = join(dataDirectory, 'gateways')
      mkdirSync(path)
      if (!mountSmall(path, volumeBytes)) return () => {}
      mounted = path
      return () => unmount(path)
    }
    await using scene = await openScene({
      random,
      prepare,
      configuration: 'journal:\n  segmentBytes: 1048576\n',
    })
    if (mounted === undefined) return { facts: '', broken: [], notRun: 'needs the right to mount' }
    const ballast = join(mounted, 'ballast')
    let refused = 0
    const course = await underLoad(scene, { ratePerSecond: 250, tokensMax: 3 }, async (load) => {
      const isRefused = ({ status }: { status: number | undefined }): boolean => status === 503
      await until('requests are refused', fillTimeoutMs, () => {
        fill(ballast)
        return load.seen.filter(isRefused).length >= refusedMin
      })
      const refusals = load.seen.filter(isRefused)
      refused = refusals.length
      say(`${refused} refused; making room`)
      rmSync(ballast)
      const from = load.seen.length
      await until('requests are served again', resumeTimeoutMs, () =>
        load.seen.slice(from).some((each) => each.completed),
      )
      await sleep(1_000)
      const dispatched = refusals.filter(({ requestId = '' }) => scene.engine.truth.has(requestId))
      return unless(
        dispatched.length === 0,
        `${dispatched.length} requests were refused and reached the engine all the same`,
      )
    })
    return findingOf(course, `${refused} refused`)
  },
}

/** Takes all blocks that are free now; those that the gateway frees later, at the next call. */
function fill(path: string): void {
  const file = openSync(path, 'a')
  const block = Buffer.alloc(64 * 1024, 1)
  try {
    for (let size = block.length; size >= 512;) {
      try {
        writeSync(file, block, 0, size)
      } catch {
        // Full for this size.
        size >>= 1
      }
    }
  } finally {
    closeSync(file)
  }
}
