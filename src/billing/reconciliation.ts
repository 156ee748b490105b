/**
 * Reconciliation: what gateways counted as they settled = what the ledger has = what engines said, for each tenant, model and hour; and the
 * ledger agrees with itself. Reads what is there, corrects nothing, and remembers each difference once, with the requests that make it.
 * All sides of a comparison are read by one statement, so that a gateway that writes meanwhile makes no difference.
 */
import { sql, type RawBuilder } from 'kysely'
import { assert } from '../platform/assert.ts'
import type { Sql } from '../platform/postgres/database.ts'

export const findingKinds = [
  /** Gateways counted something else than the ledger has. */
  'journal',
  /** Engines said something else than the ledger billed as theirs. */
  'engine',
  /** A usage event and its charge differ, or one of them is missing. */
  'charge',
  /** A transaction does not sum to zero. */
  'transaction',
  /** A hold outlived every request. */
  'hold',
  /** A limit's counter is not what the usage events charged to it. */
  'spent',
  /** All accounts of a currency together are not zero. */
  'sum',
  /** An account's balance is not the sum of its entries. */
  'balance',
  /** A gateway settles, and does not count. */
  'uncounted',
] as const
export type FindingKind = (typeof findingKinds)[number]

export interface Finding {
  readonly key: string
  readonly kind: FindingKind
  readonly tenantId: string | null
  readonly hour: Date | null
  readonly details: Readonly<Record<string, unknown>>
}

export interface Reconciliation {
  readonly id: number
  readonly from: Date
  readonly to: Date
  readonly thorough: boolean
  readonly totals: ReconciledTotals
  /** All that differs now. */
  readonly findings: readonly Finding[]
  /** Those that no earlier run has told. */
  readonly newFindings: readonly Finding[]
}

export interface ReconciledTotals {
  readonly ledger: readonly Total[]
  readonly journal: readonly Total[]
  readonly engines: { readonly requests: string; readonly tokens: string }
}

interface Total {
  readonly currency: string
  readonly requests: string
  readonly tokens: string
  readonly amountNanos: string
}

/** Whole hours of settlement: `from` included, `to` not. */
export interface ReconciliationRange {
  readonly from: Date
  readonly to: Date
  /** Also compares all balances with all entries, and all counters: it reads the whole ledger. */
  readonly thorough: boolean
}

const namedMax = 20
const findingsMax = 1_000
const hourMs = 3_600_000

export function wholeHours(fromMs: number, toMs: number): { from: Date; to: Date } {
  return {
    from: new Date(Math.floor(fromMs / hourMs) * hourMs),
    to: new Date(Math.ceil(toMs / hourMs) * hourMs),
  }
}

/** Compares, and writes down the run and its findings. Findings in the range that are no more are cleared. */
export async function reconcile(
  tx: Sql<unknown>,
  range: ReconciliationRange,
): Promise<Reconciliation> {
  const checks = [
    journalDifferences(range),
    engineDifferences(range),
    chargeDifferences(range),
    unbalancedTransactions(range),
    staleHolds(range),
    spentDifferences(range),
    sumsNotZero,
    uncountedGateways,
    ...(range.thorough ? [balanceDifferences] : []),
  ]
  const findings: Finding[] = []
  for (const check of checks) {
    const result = await sql<Finding>`
      SELECT key, kind, tenant_id AS "tenantId", hour, details FROM (${check}) AS finding (key, kind, tenant_id, hour, details)
      ORDER BY key LIMIT ${findingsMax}`.execute(tx)
    findings.push(...result.rows)
  }
  const totals = await sumTotals(tx, range)
  const newFindings = await remember(tx, range, findings)
  const { from, to, thorough } = range
  const run = await sql<{ id: bigint }>`
    INSERT INTO reconciliation_runs (from_time, to_time, thorough, findings, totals)
    VALUES (${from}, ${to}, ${thorough}, ${findings.length}, ${JSON.stringify(totals)}::jsonb) RETURNING id`.execute(
    tx,
  )
  const id = run.rows[0]?.id
  assert(id !== undefined, 'an insert returns its row')
  return { id: Number(id), from, to, thorough, totals, findings, newFindings }
}

type Check = RawBuilder<unknown>

/** Settlements that their gateway has counted, and that can so be compared. */
const counted = sql`usage_events u JOIN totals_checkpoints c ON c.gateway_id = u.gateway_id
  AND u.journal_sequence > c.base AND u.journal_sequence <= c.through AND u.recorded_at >= c.since`
const hourOf = sql`date_trunc('hour', u.settled_at, 'UTC')`
const isoHour = sql`to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')`

function journalDifferences({ from, to }: ReconciliationRange): Check {
  return sql`
    WITH ledger AS (
      SELECT u.tenant_id, u.model_id, u.currency, ${hourOf} AS hour, count(*) AS requests, sum(u.input_tokens) AS input, sum(u.cached_input_tokens) AS cached,
        sum(u.output_tokens) AS output, sum(u.reasoning_tokens) AS reasoning, sum(u.amount_nanos) AS amount
      FROM ${counted} WHERE u.settled_at >= ${from} AND u.settled_at < ${to} GROUP BY 1, 2, 3, 4
    ), journal AS (
      SELECT t.tenant_id, t.model_id, t.currency, t.hour, sum(t.requests) AS requests, sum(t.input_tokens) AS input, sum(t.cached_input_tokens) AS cached,
        sum(t.output_tokens) AS output, sum(t.reasoning_tokens) AS reasoning, sum(t.amount_nanos) AS amount
      FROM journal_totals t JOIN totals_checkpoints c ON c.gateway_id = t.gateway_id AND t.recorded_at >= c.since
      WHERE t.hour >= ${from} AND t.hour < ${to} GROUP BY 1, 2, 3, 4
    )
    SELECT concat_ws(' ', 'journal', ${isoHour}, tenant_id, model_id, currency), 'journal', tenant_id, hour, jsonb_build_object(
      'modelId', model_id, 'currency', currency,
      'journal', jsonb_build_object('requests', coalesce((d.j).requests, 0), 'input', coalesce((d.j).input, 0), 'cached', coalesce((d.j).cached, 0), 'output', coalesce((d.j).output, 0), 'reasoning', coalesce((d.j).reasoning, 0), 'amountNanos', coalesce((d.j).amount, 0)::text),
      'ledger', jsonb_build_object('requests', coalesce((d.l).requests, 0), 'input', coalesce((d.l).input, 0), 'cached', coalesce((d.l).cached, 0), 'output', coalesce((d.l).output, 0), 'reasoning', coalesce((d.l).reasoning, 0), 'amountNanos', coalesce((d.l).amount, 0)::text),
      'notInLedger', (
        SELECT coalesce(jsonb_agg(missing.name), '[]') FROM (
          SELECT name FROM journal_totals t, unnest(t.request_legs) AS name
          WHERE t.tenant_id = d.tenant_id AND t.model_id = d.model_id AND t.currency = d.currency AND t.hour = d.hour
            AND NOT EXISTS (SELECT FROM usage_events u WHERE u.request_id = split_part(name, ' ', 1) AND u.leg = split_part(name, ' ', 2)::smallint)
          ORDER BY name LIMIT ${namedMax}) AS missing),
      'notInJournal', (
        SELECT coalesce(jsonb_agg(extra.name), '[]') FROM (
          SELECT concat(u.request_id, ' ', u.leg) AS name FROM ${counted}
          WHERE u.tenant_id = d.tenant_id AND u.model_id = d.model_id AND u.currency = d.currency AND u.settled_at >= d.hour AND u.settled_at < d.hour + interval '1 hour'
            AND concat(u.request_id, ' ', u.leg) NOT IN (
              SELECT unnest(t.request_legs) FROM journal_totals t
              WHERE t.tenant_id = d.tenant_id AND t.model_id = d.model_id AND t.currency = d.currency AND t.hour = d.hour)
          ORDER BY name LIMIT ${namedMax}) AS extra),
      -- Then the two lists may be incomplete.
      'allNamed', NOT EXISTS (
        SELECT FROM journal_totals t
        WHERE t.tenant_id = d.tenant_id AND t.model_id = d.model_id AND t.currency = d.currency AND t.hour = d.hour AND t.request_legs IS NULL))
    FROM (
      SELECT tenant_id, model_id, currency, hour, l, j FROM ledger l FULL JOIN journal j USING (tenant_id, model_id, currency, hour)
      WHERE (l.requests, l.input, l.cached, l.output, l.reasoning, l.amount) IS DISTINCT FROM (j.requests, j.input, j.cached, j.output, j.reasoning, j.amount)
    ) AS d`
}

/** Of requests whose engine ended in its proper way and was believed: billed tokens are the engine's own. */
function engineDifferences({ from, to }: ReconciliationRange): Check {
  return sql`
    WITH ledger AS (
      SELECT u.gateway_id, u.tenant_id, u.model_id, ${hourOf} AS hour, count(*) AS requests, sum(u.input_tokens) AS input, sum(u.output_tokens) AS output
      FROM ${counted} WHERE u.engine_counted AND u.settled_at >= ${from} AND u.settled_at < ${to} GROUP BY 1, 2, 3, 4
    ), engine AS (
      SELECT t.gateway_id, t.tenant_id, t.model_id, t.hour, sum(t.requests) AS requests, sum(t.input_tokens) AS input, sum(t.output_tokens) AS output
      FROM engine_totals t JOIN totals_checkpoints c ON c.gateway_id = t.gateway_id AND t.recorded_at >= c.since
      WHERE t.hour >= ${from} AND t.hour < ${to} GROUP BY 1, 2, 3, 4
    )
    SELECT concat_ws(' ', 'engine', ${isoHour}, tenant_id, model_id, gateway_id), 'engine', tenant_id, hour, jsonb_build_object(
      'modelId', model_id, 'gatewayId', gateway_id,
      'engines', jsonb_build_object('requests', coalesce(e.requests, 0), 'input', coalesce(e.input, 0), 'output', coalesce(e.output, 0)),
      'ledger', jsonb_build_object('requests', coalesce(l.requests, 0), 'input', coalesce(l.input, 0), 'output', coalesce(l.output, 0)))
    FROM ledger l FULL JOIN engine e USING (gateway_id, tenant_id, model_id, hour)
    WHERE (l.requests, l.input, l.output) IS DISTINCT FROM (e.requests, e.input, e.output)`
}

/** A charge is booked at the moment of the settlement, so one range holds both. */
function chargeDifferences({ from, to }: ReconciliationRange): Check {
  return sql`
    WITH used AS (
      SELECT request_id, leg, tenant_id, settled_at AS at, amount_nanos AS nanos FROM usage_events WHERE settled_at >= ${from} AND settled_at < ${to}
    ), charged AS (
      SELECT t.request_id, t.leg, t.tenant_id, t.booked_at AS at, coalesce(sum(e.amount_nanos) FILTER (WHERE e.account_id LIKE 'receivable:%'), 0) AS nanos
      FROM ledger_transactions t LEFT JOIN ledger_entries e ON e.transaction_id = t.id
      WHERE t.kind = 'charge' AND t.booked_at >= ${from} AND t.booked_at < ${to} GROUP BY t.id
    )
    SELECT concat_ws(' ', 'charge', request_id, leg), 'charge', coalesce(used.tenant_id, charged.tenant_id), date_trunc('hour', coalesce(used.at, charged.at), 'UTC'),
      jsonb_build_object('request', request_id, 'leg', leg, 'usageNanos', used.nanos::text, 'chargedNanos', charged.nanos::text)
    FROM used FULL JOIN charged USING (request_id, leg)
    WHERE coalesce(used.nanos, 0) <> coalesce(charged.nanos, 0) OR used.at IS NULL`
}

function unbalancedTransactions({ from, to }: ReconciliationRange): Check {
  return sql`
    SELECT concat('transaction ', t.id), 'transaction', t.tenant_id, date_trunc('hour', t.booked_at, 'UTC'),
      jsonb_build_object('transaction', t.id, 'kind', t.kind, 'request', t.request_id, 'leg', t.leg, 'sumNanos', coalesce(sum(e.amount_nanos), 0)::text, 'entries', count(e.amount_nanos))
    FROM ledger_transactions t LEFT JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE t.booked_at >= ${from} AND t.booked_at < ${to}
    GROUP BY t.id HAVING count(e.amount_nanos) < 2 OR sum(e.amount_nanos) <> 0`
}

/** No request lasts for two hours; the gateway of such a hold is gone, and its journal with it or not yet settled. */
function staleHolds({ from, to }: ReconciliationRange): Check {
  return sql`
    SELECT concat_ws(' ', 'hold', t.request_id, t.leg), 'hold', t.tenant_id, date_trunc('hour', t.booked_at, 'UTC'), jsonb_build_object('request', t.request_id, 'leg', t.leg)
    FROM ledger_transactions t
    WHERE t.kind = 'hold' AND t.booked_at >= ${from} AND t.booked_at < ${to} AND t.booked_at < now() - interval '2 hours'
      AND NOT EXISTS (SELECT FROM ledger_transactions r WHERE r.request_id = t.request_id AND r.leg = t.leg AND r.kind = 'release')`
}

/**
 * Counters of windows that began in the range; a thorough run takes all. What was charged to a window was settled after its start, give or
 * take a clock. Windows that ended days ago are forgotten, and a late charge to one of them begins a row anew.
 */
function spentDifferences({ from, thorough }: ReconciliationRange): Check {
  const since = thorough
    ? sql`true`
    : sql`u.settled_at >= ${from}::timestamptz - interval '10 minutes'`
  const began = (start: RawBuilder<unknown>): RawBuilder<unknown> =>
    thorough ? sql`true` : sql`${start} >= ${from}`
  return sql`
    WITH charged AS (
      SELECT charge ->> 0 AS rule_id, charge ->> 1 AS subject, to_timestamp((charge ->> 2)::bigint / 1000.0) AS window_start, coalesce(u.life_id, '') AS life_id,
        sum((charge ->> 3)::bigint) AS amount
      FROM usage_events u, jsonb_array_elements(u.charges) AS charge WHERE ${since} GROUP BY 1, 2, 3, 4
    )
    SELECT concat_ws(' ', 'spent', rule_id, subject, extract(epoch FROM window_start)::bigint, life_id), 'spent', NULL::text,
      CASE WHEN window_start > 'epoch' THEN window_start END,
      jsonb_build_object('rule', rule_id, 'subject', subject, 'windowStart', window_start, 'life', life_id, 'counter', coalesce(lease.spent, 0)::text, 'charged', coalesce(charged.amount, 0)::text)
    FROM charged FULL JOIN (SELECT * FROM limit_leases WHERE ${began(sql`window_start`)}) AS lease USING (rule_id, subject, window_start, life_id)
    WHERE coalesce(lease.spent, 0) <> coalesce(charged.amount, 0) AND ${began(sql`window_start`)}
      AND (window_start > now() - interval '1 day' OR EXISTS (
        SELECT FROM limit_counters c WHERE c.rule_id = coalesce(charged.rule_id, lease.rule_id) AND c.subject = coalesce(charged.subject, lease.subject) AND c.window_start = coalesce(charged.window_start, lease.window_start)
          AND (c.window_end IS NULL OR c.window_end > now() - interval '1 day')))`
}

const sumsNotZero: Check = sql`
  SELECT concat('sum ', currency), 'sum', NULL::text, NULL::timestamptz, jsonb_build_object('currency', currency, 'sumNanos', sum(balance_nanos)::text)
  FROM ledger_accounts GROUP BY currency HAVING sum(balance_nanos) <> 0`

const balanceDifferences: Check = sql`
  SELECT concat('balance ', a.id), 'balance', a.tenant_id, NULL::timestamptz, jsonb_build_object('account', a.id, 'balanceNanos', a.balance_nanos::text, 'entriesNanos', coalesce(e.amount, 0)::text)
  FROM ledger_accounts a LEFT JOIN (SELECT account_id, sum(amount_nanos) AS amount FROM ledger_entries GROUP BY account_id) AS e ON e.account_id = a.id
  WHERE a.balance_nanos <> coalesce(e.amount, 0)`

/** Counting follows booking within seconds; a gateway that died goes on at its next start. */
const uncountedGateways: Check = sql`
  SELECT concat('uncounted ', j.gateway_id), 'uncounted', NULL::text, NULL::timestamptz,
    jsonb_build_object('gatewayId', j.gateway_id, 'ledgerThrough', j.applied_sequence::text, 'countedThrough', c.through::text, 'countedAt', c.updated_at)
  FROM journal_checkpoints j JOIN totals_checkpoints c ON c.gateway_id = j.gateway_id
  WHERE c.through < j.applied_sequence AND c.updated_at < now() - interval '1 hour'`

async function sumTotals(
  tx: Sql<unknown>,
  { from, to }: ReconciliationRange,
): Promise<ReconciledTotals> {
  const ledger = await sql<Total>`
    SELECT currency, count(*)::text AS requests, sum(input_tokens + output_tokens)::text AS tokens, sum(amount_nanos)::text AS "amountNanos"
    FROM usage_events WHERE settled_at >= ${from} AND settled_at < ${to} GROUP BY currency ORDER BY currency`.execute(
    tx,
  )
  const journal = await sql<Total>`
    SELECT currency, sum(requests)::text AS requests, sum(input_tokens + output_tokens)::text AS tokens, sum(amount_nanos)::text AS "amountNanos"
    FROM journal_totals WHERE hour >= ${from} AND hour < ${to} GROUP BY currency ORDER BY currency`.execute(
    tx,
  )
  const engines = await sql<{ requests: string; tokens: string }>`
    SELECT coalesce(sum(requests), 0)::text AS requests, coalesce(sum(input_tokens + output_tokens), 0)::text AS tokens
    FROM engine_totals WHERE hour >= ${from} AND hour < ${to}`.execute(tx)
  const [engine] = engines.rows
  assert(engine, 'a sum is one row')
  return { ledger: ledger.rows, journal: journal.rows, engines: engine }
}

/** Writes the findings down, clears what this run would have found and did not, and returns those that nobody was told of. */
async function remember(
  tx: Sql<unknown>,
  range: ReconciliationRange,
  findings: readonly Finding[],
): Promise<readonly Finding[]> {
  const keys = findings.map((finding) => finding.key)
  const known = await sql<{ key: string }>`
    SELECT key FROM reconciliation_findings WHERE cleared_at IS NULL AND key = ANY (${keys}::text[])`.execute(
    tx,
  )
  const rows = findings.map(({ tenantId, ...finding }) => ({ ...finding, tenant_id: tenantId }))
  await sql`
    INSERT INTO reconciliation_findings AS old (key, kind, tenant_id, hour, details)
    SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS row (key text, kind text, tenant_id text, hour timestamptz, details jsonb)
    ON CONFLICT (key) DO UPDATE SET details = excluded.details, seen_at = now(), cleared_at = NULL,
      found_at = CASE WHEN old.cleared_at IS NULL THEN old.found_at ELSE now() END`.execute(tx)
  await sql`
    UPDATE reconciliation_findings SET cleared_at = now()
    WHERE cleared_at IS NULL AND NOT key = ANY (${keys}::text[])
      AND CASE WHEN hour IS NULL THEN kind IN ('sum', 'uncounted') OR ${range.thorough} ELSE hour >= ${range.from} AND hour < ${range.to} END`.execute(
    tx,
  )
  const told = new Set(known.rows.map((row) => row.key))
  return findings.filter((finding) => !told.has(finding.key))
}

export interface StoredFinding extends Finding {
  readonly foundAt: Date
  readonly seenAt: Date
}

/** What differs and has not been cleared, newest first. */
export async function listOpenFindings(tx: Sql<unknown>, limit: number): Promise<StoredFinding[]> {
  const result = await sql<StoredFinding>`
    SELECT key, kind, tenant_id AS "tenantId", hour, details, found_at AS "foundAt", seen_at AS "seenAt"
    FROM reconciliation_findings WHERE cleared_at IS NULL ORDER BY found_at DESC, key LIMIT ${limit}`.execute(
    tx,
  )
  return result.rows
}

export async function countOpenFindings(tx: Sql<unknown>): Promise<number> {
  const result = await sql<{ open: bigint }>`
    SELECT count(*) AS open FROM reconciliation_findings WHERE cleared_at IS NULL`.execute(tx)
  return Number(result.rows[0]?.open ?? 0)
}

export interface PastRun {
  readonly ranAt: Date
  readonly thorough: boolean
}

/** The newest run, or the newest thorough one; `undefined` when there was none. */
export async function findLastRun(
  tx: Sql<unknown>,
  thorough: boolean,
): Promise<PastRun | undefined> {
  const result = await sql<PastRun>`
    SELECT ran_at AS "ranAt", thorough FROM reconciliation_runs
    WHERE ${thorough ? sql`thorough` : sql`true`} ORDER BY ran_at DESC LIMIT 1`.execute(tx)
  return result.rows[0]
}

/** One process at a time reconciles; told whether this one may, until its transaction ends. */
export async function takeReconciliationLock(tx: Sql<unknown>): Promise<boolean> {
  const result = await sql<{ taken: boolean }>`
    SELECT pg_try_advisory_xact_lock(hashtext('reconciliation')) AS taken`.execute(tx)
  return result.rows[0]?.taken ?? false
}
