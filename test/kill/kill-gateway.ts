/**
 * Kills one of two gateways again and again under mixed load: at a random instant, or at a random passage of a random point between two
 * steps that belong together. Then applies all journals again from their first record, and hands the evidence to the judge.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Act, Point } from '../chaos/injection/plan.ts'
import { below, pick, seededRandom } from '../chaos/random.ts'
import { openScene, type GatewayProcess, type Scene } from '../chaos/scene.ts'
import { watchBooks } from '../chaos/watch-books.ts'
import { isAlive } from '../e2e/processes.ts'
import { until } from '../e2e/until.ts'
import { archiveJournals } from './journal-archive.ts'
import { replay } from './replay.ts'
import type { Verdict } from './verdict.ts'

export interface KillOptions {
  readonly rounds: number
  readonly seed: number
  readonly ratePerSecond: number
  /** The load goes on until so many were made, also after the last kill. */
  readonly requestsMin: number
  /** How often all journals are applied again. */
  readonly replays: number
  readonly say: (line: string) => void
}

export interface KillReport extends Verdict {
  /** How many died at which point. */
  readonly deaths: ReadonlyMap<string, number>
  readonly replayedEvents: number
}

interface Failpoint {
  readonly point: Point
  readonly act: (random: () => number) => Act
  readonly name?: string
  /** The point is passed more often than this within some seconds of load. */
  readonly passagesMax: number
}

const withholdMs = 100
const kill = (): Act => ({ do: 'kill' })
const withhold = (): Act => ({ do: 'withhold', ms: withholdMs })
const tear = (random: () => number): Act => ({ do: 'tear', share: random() })

const failpoints: readonly [Failpoint, ...Failpoint[]] = [
  { point: 'open.before-write', act: kill, passagesMax: 100 },
  { point: 'open.before-write', act: withhold, name: 'open withheld', passagesMax: 100 },
  { point: 'open.after-write', act: kill, passagesMax: 100 },
  { point: 'progress.after-write', act: kill, passagesMax: 20 },
  { point: 'settle.before-write', act: kill, passagesMax: 100 },
  { point: 'settle.before-write', act: withhold, name: 'settle withheld', passagesMax: 100 },
  { point: 'settle.after-write', act: kill, passagesMax: 100 },
  { point: 'journal.write', act: tear, name: 'a torn write', passagesMax: 100 },
  { point: 'ledger.before-commit', act: kill, passagesMax: 5 },
  { point: 'ledger.commit-sent', act: kill, passagesMax: 5 },
  { point: 'ledger.after-commit', act: kill, passagesMax: 5 },
]
/** Of the kills, how many come at an instant that nothing in the program chooses. */
const plainShare = 0.3
const plainMsMax = 1_500
const fireTimeoutMs = 8_000
const deathTimeoutMs = 5_000
const lookMs = 10_000

export async function killRounds(options: KillOptions): Promise<KillReport> {
  const { rounds, say } = options
  const random = seededRandom(options.seed)
  // Small segments, so that the journal is rolled and deleted many times.
  await using scene = await openScene({
    random,
    configuration: 'journal:\n  segmentBytes: 1048576\n',
  })
  using archive = archiveJournals([scene.segments(1), scene.segments(2)])
  const load = scene.load({ ratePerSecond: options.ratePerSecond })
  const watch = watchBooks(scene.books, lookMs)
  const deaths = new Map<string, number>()
  try {
    for (let round = 1; round <= rounds; round += 1) {
      const [victim, place] = await killOne(scene)
      deaths.set(place, (deaths.get(place) ?? 0) + 1)
      say(
        `${round} of ${rounds}: gateway ${victim.index} died at ${place}; ${load.seen.length} requests`,
      )
      await scene.whole([victim.pid])
    }
    while (load.seen.length < options.requestsMin) {
      await sleep(5_000)
      say(`${load.seen.length} of ${options.requestsMin} requests`)
    }
  } finally {
    await load.stop()
    void watch.stop()
  }
  const unbalanced = await watch.stop()
  const verdict = await scene.verdict(load.seen)
  const replayed = await replay(scene, archive, options.replays, say)
  const again = await scene.verdict(load.seen)
  return {
    ...verdict,
    faults: [...unbalanced, ...verdict.faults, ...replayed.faults, ...again.faults],
    deaths,
    replayedEvents: replayed.events,
  }
}

/** Resolves when one gateway is dead, with the place at which it died. */
async function killOne(scene: Scene): Promise<readonly [GatewayProcess, string]> {
  const { random } = scene
  const living = scene.gateways()
  const victim = living[below(random, living.length)]
  if (!victim) throw new Error('no gateway lives')
  const isDead = (): boolean => !isAlive(victim.pid)
  if (random() >= plainShare) {
    const { point, act, name, passagesMax } = pick(random, failpoints)
    scene.arm(victim.index, point, act(random), 1 + below(random, passagesMax))
    const died = await until('it dies', fireTimeoutMs, isDead).catch(() => false)
    if (died) return [victim, name ?? point]
  }
  await sleep(random() * plainMsMax)
  process.kill(victim.pid, 'SIGKILL')
  await until('it is dead', deathTimeoutMs, isDead)
  return [victim, 'a random instant']
}
