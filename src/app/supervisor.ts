/**
 * The parent of all roles on one machine. Roles are processes of their own, so none takes another down; one that ends is started again, with
 * growing patience. Roles notice the supervisor's death by the closing of their channel, and end in order.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { afterExit, neverFailed, type RestartState } from './restart-policy.ts'

export interface RoleSpec {
  /** As people read it: `gateway 1`. */
  readonly name: string
  readonly command: 'gateway' | 'control' | 'agent'
  readonly env: Readonly<Record<string, string>>
}

export interface Supervisor {
  /** Resolves with the role's address once it is ready; rejects when it ended before. */
  start(spec: RoleSpec): Promise<string | undefined>
  /** Asks the named roles to drain, and waits until they have ended. */
  stop(names: readonly string[]): Promise<void>
  /** Ends everything at once. */
  kill(): void
  pids(): Readonly<Record<string, number>>
}

export type SupervisorEvent =
  | {
      readonly event: 'role-stopped'
      readonly role: string
      readonly reason: string
      readonly restartInMs: number
    }
  | { readonly event: 'role-restarted'; readonly role: string }

interface Running {
  readonly spec: RoleSpec
  child: ChildProcess
  state: RestartState
  startedMs: number
  stopping: boolean
  timer: NodeJS.Timeout | undefined
  ended: Promise<void>
}

const mainPath = join(import.meta.dirname, '..', 'main.ts')

export function createSupervisor(
  environment: NodeJS.ProcessEnv,
  onEvent: (event: SupervisorEvent) => void,
): Supervisor {
  const roles = new Map<string, Running>()

  const launch = (spec: RoleSpec): ChildProcess =>
    spawn(process.execPath, [mainPath, spec.command], {
      env: { ...environment, ...spec.env },
      // A group of its own: Ctrl-C in the terminal reaches the supervisor, which drains in the right order.
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })

  const watch = (running: Running, isRestart: boolean): Promise<string | undefined> =>
    new Promise((resolve, reject) => {
      const { child, spec } = running
      running.ended = new Promise((ended) => child.once('exit', () => ended()))
      child.on('message', (message: unknown) => {
        if (
          typeof message !== 'object' ||
          message === null ||
          !('event' in message) ||
          message.event !== 'ready'
        )
          return
        if (isRestart) onEvent({ event: 'role-restarted', role: spec.name })
        resolve('url' in message && typeof message.url === 'string' ? message.url : undefined)
      })
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        const reason = signal ? `signal ${signal}` : `exit code ${code}`
        reject(new Error(`${spec.name} ended (${reason})`))
        if (running.stopping) return
        const { delayMs, state } = afterExit(running.state, performance.now() - running.startedMs)
        running.state = state
        onEvent({ event: 'role-stopped', role: spec.name, reason, restartInMs: delayMs })
        running.timer = setTimeout(() => restart(running), delayMs)
      })
    })

  const restart = (running: Running): void => {
    running.child = launch(running.spec)
    running.startedMs = performance.now()
    // Its end is handled where it is watched.
    watch(running, true).catch(() => {})
  }

  return {
    start(spec) {
      const running: Running = {
        spec,
        child: launch(spec),
        state: neverFailed,
        startedMs: performance.now(),
        stopping: false,
        timer: undefined,
        ended: Promise.resolve(),
      }
      roles.set(spec.name, running)
      return watch(running, false)
    },
    async stop(names) {
      const chosen = [...roles.values()].filter((running) => names.includes(running.spec.name))
      for (const running of chosen) {
        running.stopping = true
        clearTimeout(running.timer)
        running.child.kill('SIGTERM')
      }
      await Promise.all(chosen.map((running) => running.ended))
    },
    kill() {
      for (const running of roles.values()) {
        running.stopping = true
        clearTimeout(running.timer)
        running.child.kill('SIGKILL')
      }
    },
    pids: () =>
      Object.fromEntries([...roles].map(([name, running]) => [name, running.child.pid ?? 0])),
  }
}
