/** The life of a role's process: start, tell the supervisor, drain on a signal or when the supervisor is gone, stop. */
import type { Logger } from '../platform/log.ts'

export interface Role {
  readonly name: string
  /** Where it can be reached; `undefined` for roles that listen nowhere. */
  readonly url: string | undefined
  /** Stops taking work and lets what is under way end, within a bound. */
  drain(): Promise<void>
  stop(): Promise<void>
}

export interface ReadyMessage {
  readonly event: 'ready'
  readonly role: string
  readonly url: string | undefined
}

/** Streams under way get this long after the signal. */
const drainMs = 600_000

/** Runs a role until a signal, or until its supervisor has died. Exits the process. */
export async function runRole(log: Logger, start: () => Promise<Role>): Promise<void> {
  process.on('uncaughtException', (error) => {
    log.fatal({ error }, 'an error that nothing caught: this process ends')
    process.exit(1)
  })
  const role = await start()
  let ending = false
  const end = (reason: string): void => {
    if (ending) {
      log.warn({ reason }, 'asked again: ending at once')
      process.exit(1)
    }
    ending = true
    log.info({ reason }, 'draining')
    const limit = setTimeout(() => process.exit(1), drainMs)
    limit.unref()
    role
      .drain()
      .then(() => role.stop())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ error }, 'did not stop cleanly')
          process.exit(1)
        },
      )
  }
  process.on('SIGTERM', () => end('SIGTERM'))
  process.on('SIGINT', () => end('SIGINT'))
  // The supervisor's end of the channel closes when it dies, however it dies.
  process.on('disconnect', () => {
    if (!ending) end('the supervisor is gone')
  })
  const ready: ReadyMessage = { event: 'ready', role: role.name, url: role.url }
  process.send?.(ready)
  log.info({ url: role.url }, 'ready')
}
