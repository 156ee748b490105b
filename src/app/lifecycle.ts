/** The life of a role's process: start, tell the supervisor, drain on a signal or when the supervisor is gone, stop. */
import { systemClock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'

export interface Role {
  readonly name: string
  /** Where it can be reached; `undefined` for roles that listen nowhere. */
  readonly url: string | undefined
  /** Where its metrics are, when they have a listener of their own. */
  readonly metricsUrl?: string | undefined
  /** Stops taking work and lets what is under way end, within a bound. */
  drain(): Promise<void>
  stop(): Promise<void>
}

export interface ReadyMessage {
  readonly event: 'ready'
  readonly role: string
  readonly url: string | undefined
  readonly metricsUrl: string | undefined
}

/** Streams under way get this long, also when the supervisor is gone: a next start that comes before waits a while, and then cuts them. */
const drainMs = 600_000
/** After the drain; journals and engines need a few seconds. */
const stopMs = 30_000
/** One Ctrl-C may arrive twice, from the terminal and from a parent; a person's second one comes later. */
const sameSignalMs = 1_000

/** Runs a role until a signal, or until its supervisor has died; then exits the process. Throws what `start` throws. */
export async function runRole(log: Logger, start: () => Promise<Role>): Promise<void> {
  process.on('uncaughtException', (error) => {
    log.fatal({ error }, 'an error that nothing caught: this process ends')
    process.exit(1)
  })
  const life: { role?: Role; endingSinceMs?: number } = {}
  const end = (reason: string): void => {
    const { role, endingSinceMs } = life
    const nowMs = systemClock.monotonicMs()
    if (endingSinceMs !== undefined && nowMs - endingSinceMs < sameSignalMs) return
    // Before it is ready it has promised nothing.
    if (endingSinceMs !== undefined || !role) process.exit(1)
    life.endingSinceMs = nowMs
    log.info({ reason }, 'draining')
    exitAfter(role, log)
  }
  process.on('SIGTERM', () => end('SIGTERM'))
  process.on('SIGINT', () => end('SIGINT'))
  process.on('SIGHUP', () => end('SIGHUP'))
  // The supervisor's end of the channel closes when it dies, however it dies.
  process.on('disconnect', () => {
    if (life.endingSinceMs === undefined) end('the supervisor is gone')
  })
  life.role = await start()
  const { name, url, metricsUrl } = life.role
  const ready: ReadyMessage = { event: 'ready', role: name, url, metricsUrl }
  if (process.connected) process.send?.(ready)
  log.info({ url }, 'ready')
}

function exitAfter(role: Role, log: Logger): void {
  void within(role.drain(), drainMs)
    .then((drained) => {
      if (!drained) log.warn('some work was still under way, and is cut')
      return within(role.stop(), stopMs)
    })
    .then(
      (stopped) => process.exit(stopped ? 0 : 1),
      (error: unknown) => {
        log.error({ error }, 'did not stop cleanly')
        process.exit(1)
      },
    )
}

/** Whether the work ended in time. */
async function within(work: Promise<void>, limitMs: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), limitMs)
  try {
    return await Promise.race([work.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}
