/** Keeps the default models' weights between runs, so that only the first run on a machine fetches them. */
import { constants, cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/** Lays the weights of an earlier run into a new data folder. Colonnade checks their hashes as it does for any file that it finds. */
export function seedWeights(dataDirectory: string): void {
  if (existsSync(kept())) copy(kept(), join(dataDirectory, 'weights'))
}

/** Keeps the weights of a data folder whose models are ready. */
export function keepWeights(dataDirectory: string): void {
  const fetched = join(dataDirectory, 'weights')
  if (existsSync(kept()) || !existsSync(fetched)) return
  const partial = `${kept()}.partial-${process.pid}`
  copy(fetched, partial)
  try {
    renameSync(partial, kept())
  } catch {
    // Another run was quicker.
    rmSync(partial, { recursive: true, force: true })
  }
}

/** Remove this folder to fetch everything anew. */
function kept(): string {
  const cache = process.env['COLONNADE_CACHE'] ?? join(homedir(), '.cache', 'colonnade')
  return join(cache, 'test-weights')
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  // Shares the blocks where the file system can.
  cpSync(from, to, { recursive: true, mode: constants.COPYFILE_FICLONE })
}
