/**
 * Reconciles the books every hour, and all of them once a day. The day's report goes into the audit log, whose chain binds it; a new
 * difference is an alarm: an error in the log, a metric, and an audit entry that names what differs.
 */
import { appendEntry, type AuditEntry } from '../audit/audit.ts'
import {
  countOpenFindings,
  findLastRun,
  reconcile,
  takeReconciliationLock,
  wholeHours,
  type Reconciliation,
} from '../billing/reconciliation.ts'
import type { Clock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database, type Sql } from '../platform/postgres/database.ts'

export interface ReconcileJob {
  /** Differences that nobody has resolved, as of the last turn; `undefined` before the first. For the metric. */
  openFindings(): number | undefined
  /** Resolves when a turn under way has ended. */
  stop(): Promise<void>
}

interface ReconcileDeps {
  /** With a statement time-out that a look at the whole ledger fits into. */
  readonly database: Database
  readonly clock: Clock
  readonly log: Logger
}

const turnMs = 60_000
const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** An hourly run looks at these again: journals may reach the ledger late. */
const lookBackHours = 3
/** More findings than this have one cause, and the rest are in the table. */
const namedMax = 50

export function startReconcileJob(deps: ReconcileDeps): ReconcileJob {
  const { clock, log } = deps
  let openFindings: number | undefined
  let running: Promise<void> = Promise.resolve()
  let cancel = (): void => {}
  let stopped = false
  const schedule = (): void => {
    cancel = clock.after(turnMs, () => {
      running = reconcileIfDue(deps)
        .then((open) => {
          openFindings = open
        })
        .catch((error: unknown) => log.warn({ error }, 'the books were not reconciled'))
        .finally(() => {
          if (!stopped) schedule()
        })
    })
  }
  schedule()
  return {
    openFindings: () => openFindings,
    async stop() {
      stopped = true
      cancel()
      await running
    },
  }
}

/** One turn. Returns how many findings are open. */
export async function reconcileIfDue(deps: ReconcileDeps): Promise<number> {
  const { database, clock, log } = deps
  const nowMs = clock.nowMs()
  const { run, open } = await database.transaction(platformScope, async (tx) => {
    const due = (await takeReconciliationLock(tx)) ? await whatIsDue(tx, nowMs) : undefined
    const run = due && (await reconcile(tx, due))
    if (run) for (const entry of entriesOf(run, nowMs)) await appendEntry(tx, entry)
    return { run, open: await countOpenFindings(tx) }
  })
  for (const finding of (run?.newFindings ?? []).slice(0, namedMax))
    log.error({ finding }, 'the books differ: see colonnade reconcile, and docs/ledger.md')
  return open
}

/** The hours of the last run and those before it; on a new day, all books, and the day before. */
async function whatIsDue(
  tx: Sql<unknown>,
  nowMs: number,
): Promise<Parameters<typeof reconcile>[1] | undefined> {
  const todayMs = nowMs - (nowMs % dayMs)
  const lastThorough = await findLastRun(tx, true)
  if (!lastThorough || lastThorough.ranAt.getTime() < todayMs)
    return { ...wholeHours(todayMs - dayMs, nowMs), thorough: true }
  const last = await findLastRun(tx, false)
  if (last && last.ranAt.getTime() > nowMs - hourMs) return undefined
  return { ...wholeHours(nowMs - lookBackHours * hourMs, nowMs), thorough: false }
}

function entriesOf(run: Reconciliation, nowMs: number): AuditEntry[] {
  const common = {
    occurredAtMs: nowMs,
    tenantId: null,
    actor: 'jobs',
    role: 'platform',
    ip: '',
    resource: `reconciliation/${run.id}`,
    outcome: 'done',
    requestId: newId('req'),
  } as const
  const hours = { from: run.from.toISOString(), to: run.to.toISOString() }
  const keys = run.newFindings.slice(0, namedMax).map((finding) => finding.key)
  return [
    ...(run.newFindings.length === 0
      ? []
      : [
          {
            ...common,
            action: 'reconciliation.alarm',
            details: { ...hours, newFindings: run.newFindings.length, keys },
          },
        ]),
    ...(run.thorough
      ? [
          {
            ...common,
            action: 'reconciliation.report',
            details: { ...hours, findings: run.findings.length, totals: run.totals },
          },
        ]
      : []),
  ]
}
