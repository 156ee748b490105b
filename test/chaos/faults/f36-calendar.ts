import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault } from '../fault.ts'

const root = join(import.meta.dirname, '../../..')
const tests = 'src/limits/window.test.ts'

export const calendar: Fault = {
  id: 'f36',
  title: 'daylight saving, the end of a month, 29 February',
  injection: `windows are a pure function of the instant: its tests are run (${tests})`,
  expectation: 'each window begins once, and ends where the next one begins',
  run: async () => {
    if (!existsSync(join(root, tests))) return { facts: '', broken: [], notRun: 'no tests yet' }
    const { ok, output } = await runTests()
    const passed = /Tests\s+(?:\d+ failed \| )?(\d+) passed/.exec(output)?.[1]
    return { facts: `${passed ?? 0} tests passed`, broken: ok ? [] : [`${tests} fails`] }
  },
}

function runTests(): Promise<{ ok: boolean; output: string }> {
  const program = join(root, 'node_modules/vitest/vitest.mjs')
  return new Promise((resolve) => {
    const args = [program, 'run', '--project', 'unit', '--no-color', tests]
    execFile(process.execPath, args, { cwd: root, timeout: 60_000 }, (error, stdout) =>
      resolve({ ok: error === null, output: stdout }),
    )
  })
}
