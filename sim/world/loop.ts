/**
 * Simulated time. Events happen one after the other, each at its moment; between two of them, every promise that can go on goes on, and no
 * real time is waited for. What falls on one moment comes in an order drawn from the seed.
 */
import { createHash } from 'node:crypto'
import type { Random } from './random.ts'

export interface Loop {
  /** Since the start of the world. */
  readonly nowMs: number
  readonly events: number
  after(delayMs: number, work: () => void): () => void
  sleep(delayMs: number): Promise<void>
  /** One line of the world's history. */
  note(line: string): void
  /** Over all lines so far: equal seeds give equal histories. */
  historyHash(): string
  /** Lets time pass until `isOver` says so, or until that moment; tells which. */
  runUntil(isOver: () => boolean, untilMs: number): Promise<boolean>
}

interface Event {
  readonly atMs: number
  readonly order: number
  work: (() => void) | undefined
}

export function createLoop(random: Random, onLine?: (line: string) => void): Loop {
  const heap: Event[] = []
  const history = createHash('sha256')
  let nowMs = 0
  let events = 0

  const after = (delayMs: number, work: () => void): (() => void) => {
    const event: Event = { atMs: nowMs + Math.max(0, delayMs), order: random.fraction(), work }
    push(heap, event)
    return () => {
      event.work = undefined
    }
  }

  return {
    get nowMs() {
      return nowMs
    },
    get events() {
      return events
    },
    after,
    sleep: (delayMs) => new Promise((resolve) => void after(delayMs, resolve)),
    note(line) {
      const text = `${nowMs.toFixed(3)} ${line}`
      history.update(text).update('\n')
      onLine?.(text)
    },
    historyHash: () => history.copy().digest('hex'),
    async runUntil(isOver, untilMs) {
      await settled()
      while (!isOver()) {
        const event = heap[0]
        if (!event || event.atMs > untilMs) {
          nowMs = Math.max(nowMs, untilMs)
          return false
        }
        pop(heap)
        if (!event.work) continue
        nowMs = event.atMs
        events += 1
        event.work()
        await settled()
      }
      return true
    },
  }
}

/** Resolves when no promise can go on any more: the queue of microtasks is empty before the next turn begins. */
function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** A binary heap in an array: the children of `i` are `2i + 1` and `2i + 2`. */
function push(heap: Event[], event: Event): void {
  let index = heap.length
  heap.push(event)
  while (index > 0) {
    const above = (index - 1) >> 1
    const parent = heap[above]
    if (!parent || !isBefore(event, parent)) break
    heap[index] = parent
    index = above
  }
  heap[index] = event
}

function pop(heap: Event[]): void {
  const last = heap.pop()
  if (!last || heap.length === 0) return
  let index = 0
  for (;;) {
    const left = heap[2 * index + 1]
    const right = heap[2 * index + 2]
    const below = right && left && isBefore(right, left) ? 2 * index + 2 : 2 * index + 1
    const child = heap[below]
    if (!child || !isBefore(child, last)) break
    heap[index] = child
    index = below
  }
  heap[index] = last
}
