/** `file:` names a file of this machine, which is used as it is. */
import { access, constants, realpath } from 'node:fs/promises'
import { passedOver } from '../client.ts'
import type { FetchedFile, WeightSource } from '../contract.ts'
import { besidePath, parseFileSource } from '../source.ts'

export const fileSource: WeightSource = {
  schemes: ['file'],
  fetch({ source, companions }) {
    const path = parseFileSource(source)
    const paths = [path, ...companions.map((name) => besidePath(path, name))]
    return Promise.all(paths.map(find))
  },
}

async function find(path: string): Promise<FetchedFile> {
  try {
    const real = await realpath(path)
    await access(real, constants.R_OK)
    return { path: real, isTheUsers: true }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw passedOver('upstream.unreachable', `${path} cannot be read (${code})`, error)
  }
}
