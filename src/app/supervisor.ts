/**
 * The parent of all roles on one machine. Roles are processes of their own, so none takes another down; one that ends is started again, with
 * growing patience. Roles notice the supervisor's death by the closing of their channel, and end in order.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { afterExit, neverFailed, type RestartState } from './restart-policy.ts'

export interface RoleSpec {
  /** As people read it: `gateway 1`. */
  readonly name: string
  readonly command: 'gateway' | 'control' | 'agent'
  readonly env: NodeJS.ProcessEnv
}

export interface Supervisor {
  /** Resolves with the role's address once it is ready. Throws when it ended before; then it is not started again. */
  start(spec: RoleSpec): Promise<string | undefined>
  /** Asks the named roles to drain, and kills what is left after the limit. */
  stop(names: readonly string[], limitMs: number): Promise<void>
  /** The processes of the moment, by role. */
  roles(): Readonly<Record<string, RoleProcess>>
}

export interface RoleProcess {
  readonly pid: number
  readonly metricsUrl: string | undefined
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
  metricsUrl: string | undefined
  stopping: boolean
  timer: NodeJS.Timeout | undefined
  /** Of the child of the moment. */
  ended: Promise<string>
}

const mainPath = join(import.meta.dirname, '..', 'main.ts')
/** A gateway first settles what a crash left in its journal. */
const readyTimeoutMs = 120_000

export function createSupervisor(options: {
  readonly clock: Clock
  readonly onEvent: (event: SupervisorEvent) => void
  /** Gets each line that a role writes to standard error. */
  readonly onLog: (line: string) => void
}): Supervisor {
  const { clock, onEvent } = options
  const roles = new Map<string, Running>()

  const restartAfter = (running: Running, reason: string): void => {
    if (running.stopping) return
    const { delayMs, state } = afterExit(running.state, clock.monotonicMs() - running.startedMs)
    running.state = state
    onEvent({ event: 'role-stopped', role: running.spec.name, reason, restartInMs: delayMs })
    running.timer = setTimeout(() => {
      Object.assign(running, launch(running.spec, options.onLog), {
        startedMs: clock.monotonicMs(),
      })
      watch(running, true)
    }, delayMs)
  }
  /** Starts it again when it ends, for as long as it is wanted. */
  const watch = (running: Running, isRestart: boolean): void => {
    const { child, ended, spec } = running
    if (isRestart) {
      isReady(child).then(
        ({ metricsUrl }) => {
          running.metricsUrl = metricsUrl
          onEvent({ event: 'role-restarted', role: spec.name })
        },
        // A role that hangs before it is ready is ended, and then started again like any other.
        () => child.kill('SIGKILL'),
      )
    }
    void ended.then((reason) => restartAfter(running, reason))
  }

  return {
    async start(spec) {
      const running: Running = {
        spec,
        ...launch(spec, options.onLog),
        state: neverFailed,
        startedMs: clock.monotonicMs(),
        metricsUrl: undefined,
        stopping: false,
        timer: undefined,
      }
      roles.set(spec.name, running)
      const ready = await Promise.race([
        isReady(running.child),
        running.ended.then((reason) => {
          throw new Fault({
            code: 'client.invalid_request',
            public: `${spec.name} could not start (${reason}); the reason is above.`,
          })
        }),
      ])
      running.metricsUrl = ready.metricsUrl
      watch(running, false)
      return ready.url
    },
    async stop(names, limitMs) {
      const chosen = [...roles.values()].filter(({ spec }) => names.includes(spec.name))
      for (const running of chosen) {
        running.stopping = true
        clearTimeout(running.timer)
        running.child.kill('SIGTERM')
      }
      const late = new AbortController()
      const all = Promise.all(chosen.map(({ ended }) => ended))
      await Promise.race([all, sleep(limitMs, undefined, { signal: late.signal })])
      for (const { child } of chosen) child.kill('SIGKILL')
      await all
      late.abort()
    },
    roles: () =>
      Object.fromEntries(
        [...roles].map(([name, { child, metricsUrl }]) => [
          name,
          { pid: child.pid ?? 0, metricsUrl },
        ]),
      ),
  }
}

function launch(spec: RoleSpec, onLog: (line: string) => void): Pick<Running, 'child' | 'ended'> {
  // With the flags that the launcher has chosen for this program.
  const child = spawn(process.execPath, [...process.execArgv, mainPath, spec.command], {
    env: spec.env,
    // A group of its own: Ctrl-C in the terminal reaches the supervisor, which drains in the right order.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  if (child.stderr) createInterface({ input: child.stderr }).on('line', onLog)
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`))
    child.once('error', (error) => resolve(error.message))
  })
  return { child, ended }
}

const readyMessage = z.object({
  event: z.literal('ready'),
  url: z.string().optional(),
  metricsUrl: z.string().optional(),
})

/** Resolves with where it is, when the role says that it is ready. Rejects when it takes too long. */
function isReady(child: ChildProcess): Promise<z.infer<typeof readyMessage>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('not ready in time')), readyTimeoutMs)
    child.once('exit', () => clearTimeout(timer))
    child.on('message', (message: unknown) => {
      const parsed = readyMessage.safeParse(message)
      if (!parsed.success) return
      clearTimeout(timer)
      resolve(parsed.data)
    })
  })
}
