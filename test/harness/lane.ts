/** A lane is one kind of check. It always ends with a count, also when its program crashes or hangs. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export interface Count {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export interface Lane {
  readonly name: string
  readonly run: () => Promise<Count>
}

const root = join(import.meta.dirname, '../..')
const binaries = join(root, 'node_modules/.bin')
/** A lane that takes longer than this hangs. */
const laneTimeoutMs = 15 * 60_000
const killGraceMs = 5_000

/** A program that passes or fails as a whole. */
export function programLane(name: string, program: string, args: readonly string[]): Lane {
  return {
    name,
    async run() {
      const exitCode = await runProgram(program, args)
      return { passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 }
    },
  }
}

/** A project of vitest.config.ts; counts its single tests. */
export function vitestLane(name: string, filters: readonly string[]): Lane {
  return {
    name,
    async run() {
      const folder = mkdtempSync(join(tmpdir(), 'colonnade-lane-'))
      const report = join(folder, 'report.json')
      try {
        const exitCode = await runProgram('vitest', [
          'run',
          `--project=${name}`,
          '--reporter=default',
          '--reporter=json',
          `--outputFile.json=${report}`,
          ...filters,
        ])
        return countVitest(readReport(report), exitCode)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    },
  }
}

interface VitestReport {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly {
    readonly status: string
    readonly assertionResults: readonly unknown[]
  }[]
}

/** A file that does not load, and an error outside any test, count as one failure each. */
export function countVitest(report: VitestReport | undefined, exitCode: number): Count {
  if (!report) return { passed: 0, failed: 1, skipped: 0 }
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length
  const failed = report.numFailedTests + brokenFiles
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}

function readReport(path: string): VitestReport | undefined {
  try {
    // Written by the vitest that the lock file pins.
    return JSON.parse(readFileSync(path, 'utf8')) as VitestReport
  } catch {
    // It crashed before it could write one; countVitest makes that a failure.
    return undefined
  }
}

/** Runs a program of node_modules/.bin under this very Node. Resolves with its exit code; 1 when it was killed or hung. */
function runProgram(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(join(binaries, program), args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      // A group of its own, so that a hanging lane goes with everything that it started.
      detached: true,
      env: {
        ...process.env,
        PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`,
        FORCE_COLOR: process.stdout.isTTY ? '1' : '0',
      },
    })
    const kill = (signal: NodeJS.Signals): void => {
      if (child.pid === undefined) return
      try {
        process.kill(-child.pid, signal)
      } catch {
        // The group is gone already.
      }
    }
    const onInterrupt = (): void => kill('SIGINT')
    process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt)
    const timer = setTimeout(() => {
      say(`${program} took longer than ${laneTimeoutMs / 60_000} minutes and is stopped`)
      kill('SIGTERM')
      setTimeout(() => kill('SIGKILL'), killGraceMs).unref()
    }, laneTimeoutMs)
    const finish = (exitCode: number): void => {
      clearTimeout(timer)
      process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt)
      resolve(exitCode)
    }
    child.on('error', (error) => {
      say(`${program} does not start: ${error.message}`)
      finish(1)
    })
    child.on('exit', (code) => finish(code ?? 1))
  })
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
