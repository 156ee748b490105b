/**
 * Loaded into each process of a platform under test by `NODE_OPTIONS=--import`, before any line of the product. In a gateway it stands
 * between the product and the operating system: calls on journal files, the messages to PostgreSQL, the wall clock. The product has no
 * switch for any of this, and knows nothing of it.
 */
import fs from 'node:fs'
import { basename } from 'node:path'
import pg from 'pg'
import {
  firedPath,
  folderVariable,
  logVariable,
  planPath,
  type Act,
  type Plan,
  type Point,
} from './plan.ts'

type Done = (error: Error | null, bytes: number) => void

const folder = process.env[folderVariable]
const index = gatewayIndex()
if (folder !== undefined && index !== undefined) inject(folder, index)
const logPath = process.env[logVariable]
if (logPath !== undefined && process.argv[2] === 'serve') replaceErrorOutput(logPath)

/** The descriptor itself, before anything has been written: the number that was closed is given out again. */
function replaceErrorOutput(path: string): void {
  fs.closeSync(2)
  fs.openSync(path, 'w')
}

/** `undefined` in processes other than gateways. */
function gatewayIndex(): number | undefined {
  if (basename(process.argv[1] ?? '') !== 'main.ts' || process.argv[2] !== 'gateway')
    return undefined
  const config: unknown = JSON.parse(process.env['COLONNADE_ROLE_CONFIG'] ?? '{}')
  if (typeof config !== 'object' || config === null || !('gateway' in config)) return undefined
  const { gateway } = config
  return typeof gateway === 'object' && gateway !== null && 'index' in gateway
    ? Number(gateway.index)
    : undefined
}

function inject(plans: string, gateway: number): void {
  const path = planPath(plans, gateway)
  let plan: Plan | undefined
  let passages = 0

  const look = (): void => {
    if (!fs.existsSync(path)) return
    // Written by arm().
    plan = JSON.parse(fs.readFileSync(path, 'utf8')) as Plan
    passages = 0
    fs.rmSync(path)
  }
  /** What is due at this passage. Does at once what any point can do. */
  const pass = (point: Point): Act | undefined => {
    look()
    if (plan?.point !== point) return undefined
    passages += 1
    if (passages < plan.passage) return undefined
    const { act, id } = plan
    plan = undefined
    fs.writeFileSync(firedPath(plans, id), '')
    if (act.do === 'kill') process.kill(process.pid, 'SIGKILL')
    if (act.do === 'shift-clock') shiftClock(act.ms)
    return act
  }
  injectFiles(pass)
  injectDatabase(pass)
}

function injectFiles(pass: (point: Point) => Act | undefined): void {
  /** Descriptors of the journal's files, and whether they are being made. */
  const journals = new Map<number, 'segment' | 'new'>()
  const { openSync, closeSync, write } = fs

  const openWatched = (...args: Parameters<typeof openSync>): number => {
    const fd = openSync(...args)
    const path = String(args[0])
    if (path.endsWith('.journal')) journals.set(fd, 'segment')
    if (path.endsWith('.journal.partial')) journals.set(fd, 'new')
    return fd
  }
  const closeWatched = (fd: number): void => {
    journals.delete(fd)
    closeSync(fd)
  }
  const writeWatched = (
    fd: number,
    bytes: Buffer,
    offset: number,
    length: number,
    position: number,
    done: Done,
  ): void => {
    const kind = journals.get(fd)
    const events = kind === 'segment' ? eventsIn(bytes) : []
    const act = kind === 'new' ? pass('segment.fill') : events.length > 0 && before(events)
    const go = (): void => write(fd, bytes, offset, length, position, after)
    const after: Done = (error, written) => {
      for (const event of events) {
        if (event !== 'takes') pass(`${event}.after-write`)
      }
      done(error, written)
    }
    if (!act) go()
    else if (act.do === 'fail') setImmediate(done, failure(act.code), 0)
    else if (act.do === 'stall') setTimeout(go, act.ms)
    else if (act.do === 'withhold') setTimeout(() => process.kill(process.pid, 'SIGKILL'), act.ms)
    else if (act.do === 'tear') {
      const part = Math.max(1, Math.floor(length * act.share))
      write(fd, bytes, offset, part, position, () => process.kill(process.pid, 'SIGKILL'))
    } else go()
  }
  const before = (events: readonly Event[]): Act | undefined => {
    let act = pass('journal.write')
    for (const event of events) {
      if (event === 'open' || event === 'settle') act = pass(`${event}.before-write`) ?? act
    }
    return act
  }
  Object.assign(fs, { openSync: openWatched, closeSync: closeWatched, write: writeWatched })
}

const eventKinds = ['open', 'takes', 'progress', 'settle'] as const
type Event = (typeof eventKinds)[number]

function eventsIn(frame: Buffer): readonly Event[] {
  return eventKinds.filter((kind) => frame.includes(`{"kind":"${kind}"`))
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: injected, write`), { code, syscall: 'write' })
}

function injectDatabase(pass: (point: Point) => Act | undefined): void {
  const { query } = pg.Client.prototype
  /** Connections in a transaction that applies a batch of the journal. */
  const applying = new WeakSet<pg.Client>()
  const commit = async (client: pg.Client, run: () => unknown): Promise<unknown> => {
    pass('ledger.before-commit')
    const answer = run()
    // Written to the socket in this turn, and on its way.
    if (pass('ledger.commit-sent')?.do === 'drop') socketOf(client)?.destroy()
    const result = await answer
    pass('ledger.after-commit')
    return result
  }
  function queryWatched(this: pg.Client, ...args: [string | { text?: string }]): unknown {
    const [first] = args
    const text = typeof first === 'string' ? first : (first?.text ?? '')
    const run = (): unknown => Reflect.apply(query, this, args)
    if (text.includes('apply_journal(')) applying.add(this)
    return text.toLowerCase() === 'commit' && applying.delete(this) ? commit(this, run) : run()
  }
  Object.assign(pg.Client.prototype, { query: queryWatched })
}

function socketOf(client: pg.Client): { destroy(): void } | undefined {
  // Not in its types: the stream of the connection (pg 8, lib/connection.js).
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } }
  return connection?.stream
}

/** For everything in this process that asks for the date. Timers and performance.now() go on as they were. */
function shiftClock(ms: number): void {
  const RealDate = globalThis.Date
  class ShiftedDate extends RealDate {
    constructor(...args: [] | ConstructorParameters<typeof RealDate>) {
      if (args.length === 0) super(RealDate.now() + ms)
      else super(...args)
    }
    static override now(): number {
      return RealDate.now() + ms
    }
  }
  globalThis.Date = ShiftedDate as DateConstructor
}
