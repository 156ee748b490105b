/**
 * The way to PostgreSQL and back. Each call is one transaction: it happens at one moment, or not at all. On the way it may be lost; its answer may be
 * lost though it was committed; and a commit may come after its caller has given up.
 */
import { Fault } from '../../src/platform/fault.ts'
import type { Period } from './disk.ts'
import type { Life } from './life.ts'
import type { Loop } from './loop.ts'
import type { Random } from './random.ts'

export interface DatabaseTroubles {
  readonly away: readonly Period[]
  readonly meanLatencyMs: number
  /** The part of the writes whose connection breaks, before or after their commit, until that moment. */
  readonly brokenConnections: number
  readonly brokenUntilMs: number
}

export interface SimulatedDatabase {
  /** Waits for nobody, and sees what is committed. */
  read<Result>(life: Life, work: () => Result | Promise<Result>): Promise<Result>
  /** Comes after the commits that are still on their way, which hold their locks. */
  write<Result>(life: Life, name: string, work: () => Result | Promise<Result>): Promise<Result>
}

/** A call to a server that hangs ends here. */
const timeoutMs = 5_000

export function createDatabase(options: {
  readonly loop: Loop
  readonly random: Random
  readonly troubles: DatabaseTroubles
}): SimulatedDatabase {
  const { loop, random, troubles } = options
  /** Commits whose callers have given up, in order: they hold their locks. */
  const late: (() => void)[] = []
  const commitLate = (): void => {
    for (const work of late.splice(0)) work()
  }

  const reach = async (): Promise<void> => {
    await loop.sleep(random.exponential(troubles.meanLatencyMs / 2))
    if (!isAway(troubles, loop.nowMs)) return
    // Refused at once, or never answered.
    if (random.chance(0.3)) await loop.sleep(timeoutMs)
    throw unavailable()
  }
  const answer = async <Result>(result: Result | Promise<Result>): Promise<Result> => {
    const known = await result
    await loop.sleep(random.exponential(troubles.meanLatencyMs / 2))
    return known
  }

  const read = async <Result>(work: () => Result | Promise<Result>): Promise<Result> => {
    await reach()
    return await answer(work())
  }

  const write = async <Result>(
    name: string,
    work: () => Result | Promise<Result>,
  ): Promise<Result> => {
    await reach()
    commitLate()
    const isBroken =
      loop.nowMs < troubles.brokenUntilMs && random.chance(troubles.brokenConnections)
    if (!isBroken) return await answer(work())
    const how = random.pick(['lost', 'committed', 'late'])
    loop.note(`database: the connection breaks under ${name}, ${how}`)
    if (how === 'committed') await work()
    if (how === 'late') {
      // Whoever asked has given up, and hears of no failure either.
      late.push(() => void (async () => await work())().catch(() => {}))
      loop.after(random.exponential(200), commitLate)
    }
    throw unavailable()
  }
  return {
    read: (life, work) => life.whileAlive(read(work)),
    write: (life, name, work) => life.whileAlive(write(name, work)),
  }
}

function isAway({ away }: DatabaseTroubles, nowMs: number): boolean {
  return away.some((period) => nowMs >= period.fromMs && nowMs < period.toMs)
}

function unavailable(): Fault {
  return new Fault({
    code: 'platform.database_unavailable',
    public: 'The database does not answer.',
  })
}
