/** Ctrl-C in the middle of work: what runs may end, nothing new begins, and the program is gone soon after. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openStream } from './open-stream.ts'
import { descendantsOf, isAlive } from './processes.ts'
import { startWithStub } from './stubbed-platform.ts'
import { until } from './until.ts'

/** After the last stream has ended. */
const stopMaxMs = 15_000

test('Ctrl-C lets a stream end whole, takes no new request, leaves no process, and exits with 0', async () => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-drain-'))
  const platform = await startWithStub(dataDirectory)
  try {
    const children = descendantsOf(platform.supervisorPid)
    const stream = await openStream(platform, 60)
    platform.child.kill('SIGINT')
    await until('new requests are refused', 2_000, () =>
      platform.chat('stub/quick:1', 1).then(
        (response) => response.status === 503,
        () => true,
      ),
    )
    expect(await stream.ended).toContain('[DONE]')
    await until('the program has ended', stopMaxMs, () => platform.child.exitCode !== null)
    expect(platform.child.exitCode).toBe(0)
    expect(children.filter(({ pid }) => isAlive(pid)).map(({ command }) => command)).toEqual([])
    expect(platform.events.at(-1)?.event).toBe('stopped')
  } finally {
    await platform.stop()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
}, 60_000)
