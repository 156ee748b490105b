import { mkdtemp, readFile, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { isRunning, killOrphans, startProcess, stopProcess } from './process.ts'

const env = { PATH: '/usr/bin:/bin' }

async function start(script: string) {
  const directory = await mkdtemp(join(tmpdir(), 'colonnade-process-'))
  const leasePath = join(directory, 'lease')
  const logPath = join(directory, 'log')
  await writeFile(leasePath, '')
  const spec = { command: '/bin/sh', args: ['-c', script], env: { SAID: 'hello' } }
  const identity = await startProcess({ spec, logPath, leasePath, env, leaseLookSeconds: 1 })
  return { identity, leasePath, log: () => readFile(logPath, 'utf8') }
}

async function until(condition: () => Promise<boolean>, limitMs = 5_000): Promise<void> {
  for (let waitedMs = 0; !(await condition()); waitedMs += 20) {
    if (waitedMs > limitMs) throw new Error('it did not happen in time')
    await sleep(20)
  }
}

test('an engine gets its environment, writes to its log, and is known by pid and start time', async () => {
  const { identity, log } = await start('echo "$SAID"; sleep 30')
  await until(async () => (await log()).includes('hello'))
  expect(await isRunning(identity)).toBe(true)
  // A recycled pid is another process.
  expect(await isRunning({ ...identity, startTime: 'before' })).toBe(false)
  await stopProcess({ ...identity, startTime: 'before' })
  expect(await isRunning(identity)).toBe(true)
  await stopProcess(identity)
  expect(await isRunning(identity)).toBe(false)
})

test('stopping waits for an engine that takes its time to end in order, and asks it once', async () => {
  const { identity, log } = await start(
    'trap "echo asked" TERM; echo up; sleep 30 & wait $!; sleep 0.3; echo ended',
  )
  await until(async () => (await log()).includes('up'))
  await stopProcess(identity)
  const said = (await log()).split('\n').filter((line) => line !== 'Terminated')
  expect(said).toEqual(['up', 'asked', 'ended', ''])
})

test('when the engine ends, its guard ends', async () => {
  const { identity } = await start('exit 3')
  await until(async () => !(await isRunning(identity)))
})

test('when the guard is killed, what it guarded can still be killed', async () => {
  const { identity, log } = await start('echo "$$"; sleep 30')
  await until(async () => (await log()).endsWith('\n'))
  const enginePid = Number(await log())
  process.kill(identity.pid, 'SIGKILL')
  await until(async () => !(await isRunning(identity)))
  expect(isAlive(enginePid)).toBe(true)
  await killOrphans(identity)
  await until(async () => !isAlive(enginePid))
})

// Takes as long as the guard's two looks, a second apart.
test('an engine whose lease nobody renews ends by itself', { timeout: 30_000 }, async () => {
  const { identity, leasePath, log } = await start('sleep 60')
  const longAgo = new Date(0)
  await utimes(leasePath, longAgo, longAgo)
  await until(async () => !(await isRunning(identity)), 20_000)
  expect(await log()).toContain('no agent for a minute')
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    // ESRCH: nobody there.
    return false
  }
}
