/** Looks at the ledger again and again while things happen to it: it balances at any time, and not only in the end. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Books } from '../e2e/books.ts'

export interface BooksWatch {
  /** Resolves with one sentence for each look that found the books out of balance. */
  stop(): Promise<readonly string[]>
}

/** In a long run a look costs more, and there are more of them. */
const usualLookMs = 1_000

export function watchBooks(books: Books, lookMs = usualLookMs): BooksWatch {
  const ending = new AbortController()
  const watching = watch(books, lookMs, ending.signal)
  return {
    stop() {
      ending.abort()
      return watching
    },
  }
}

async function watch(
  books: Books,
  lookMs: number,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const found: string[] = []
  while (!signal.aborted) {
    await sleep(lookMs, undefined, { signal }).catch(() => {
      // The end of watching.
    })
    try {
      const { allEntries, wrongBalances, charged, usage } = await books.sums()
      if (allEntries === 0n && wrongBalances === 0 && charged === usage) continue
      found.push(
        `in the middle, all entries summed to ${allEntries}, ${wrongBalances} balances were wrong, and of ${usage} ${charged} was charged`,
      )
    } catch {
      // The database is away, which is the point of some faults.
    }
  }
  return found
}
