import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { below } from '../random.ts'
import { openScene, type Scene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const flips = 3

export const bitRot: Fault = {
  id: 'f6',
  title: 'a bit of the journal flips while the gateway is down',
  injection: `${flips} times one random bit of a promised record, then a start; then it flips back`,
  expectation:
    'the start is refused and names file and byte; with the bit restored, nothing is lost',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const course = await underLoad(scene, {}, () => Promise.resolve([]))
    await scene.stopPlatform()
    const broken: string[] = []
    for (let flip = 0; flip < flips; flip += 1) {
      const { path, offset, bit } = choosePlace(scene)
      flipBit(path, offset, bit)
      const refusal = await scene.startPlatform().then(
        () => undefined,
        (error: unknown) => String(error),
      )
      say(`bit ${bit} of byte ${offset}: ${refusal === undefined ? 'STARTED' : 'refused'}`)
      if (refusal === undefined) await scene.stopPlatform()
      broken.push(
        ...unless(refusal !== undefined, `it started with a flipped bit at byte ${offset}`),
        ...unless(
          refusal === undefined || refusal.includes(`The journal ${path} is damaged at byte`),
          `the refusal does not name the file: ${refusal}`,
        ),
      )
      flipBit(path, offset, bit)
    }
    await scene.startPlatform()
    const after = await scene.verdict(course.seen)
    return findingOf(
      { ...course, broken: [...broken, ...after.faults] },
      `${flips} flips, ${flips - broken.length} refused starts`,
    )
  },
}

/** A bit of the first half of what is written, so that whole frames follow it. */
function choosePlace(scene: Scene): { path: string; offset: number; bit: number } {
  const directory = scene.segments(1 + below(scene.random, 2))
  const name = readdirSync(directory)
    .filter((each) => each.endsWith('.journal'))
    .toSorted()[0]
  const path = join(directory, name ?? '')
  const bytes = readFileSync(path)
  const end = bytes.findLastIndex((byte) => byte !== 0)
  return { path, offset: below(scene.random, end >> 1), bit: below(scene.random, 8) }
}

function flipBit(path: string, offset: number, bit: number): void {
  const fd = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, offset)
  writeSync(fd, Buffer.from([byte.readUInt8() ^ (1 << bit)]), 0, 1, offset)
  closeSync(fd)
}
