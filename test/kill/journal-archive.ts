/** Keeps every segment of the journals that ever was, by a second name for each file: the gateway deletes what the ledger has. */
import { copyFileSync, existsSync, linkSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface JournalArchive extends Disposable {
  /** Puts all segments back. The gateways must not run. */
  restore(): void
}

const lookMs = 50

export function archiveJournals(folders: readonly string[]): JournalArchive {
  const kept = folders.map((folder) => ({
    folder,
    // On the same file system, and out of the gateway's sight.
    copies: mkdtempSync(join(dirname(folder), 'kept-')),
  }))
  const look = (): void => {
    for (const { folder, copies } of kept) {
      for (const name of segmentsIn(folder)) {
        const copy = join(copies, name)
        if (existsSync(copy)) continue
        try {
          linkSync(join(folder, name), copy)
        } catch {
          // Deleted in this moment: it was empty, or seen before.
        }
      }
    }
  }
  look()
  const timer = setInterval(look, lookMs)
  return {
    restore() {
      clearInterval(timer)
      look()
      for (const { folder, copies } of kept) {
        for (const name of segmentsIn(copies)) {
          rmSync(join(folder, name), { force: true })
          copyFileSync(join(copies, name), join(folder, name))
        }
      }
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      for (const { copies } of kept) rmSync(copies, { recursive: true, force: true })
    },
  }
}

function segmentsIn(folder: string): readonly string[] {
  return readdirSync(folder).filter((name) => name.endsWith('.journal'))
}
