-- The ledger beyond tokens: what a request spent of limits, other units than tokens, what was waived; and the counters that the ledger is
-- reconciled with.

------------------------------------------------------------------------------------------------------------ usage events

ALTER TABLE usage_events
  -- The life of the gateway process whose leases it was charged to; NULL in events from before there were limits.
  ADD COLUMN life_id text,
  -- What the usage costs beyond the hold or the budget, and nobody pays.
  ADD COLUMN waived_nanos bigint NOT NULL DEFAULT 0 CHECK (waived_nanos >= 0),
  -- Other units than tokens: {"audio_ms": 61000, …}; NULL for none.
  ADD COLUMN units jsonb,
  -- Whether the engine's own figures of it are in engine_totals.
  ADD COLUMN engine_counted boolean NOT NULL DEFAULT false,
  -- What it spent of each counter: [[rule, subject, window start in ms, amount as text], …]. `limit_leases.spent` is the sum over these.
  ADD COLUMN charges jsonb NOT NULL DEFAULT '[]';

ALTER TABLE prices DROP CONSTRAINT prices_unit_check;
ALTER TABLE prices ADD CONSTRAINT prices_unit_check CHECK (unit IN ('input_token', 'cached_input_token', 'output_token', 'reasoning_token', 'system_token', 'rerank_token', 'audio_minute', 'image', 'character'));

-- Rows that are updated all the time, in columns that no index has.
ALTER TABLE limit_leases SET (fillfactor = 50);
ALTER TABLE ledger_accounts SET (fillfactor = 50);

-- Applies a batch of a gateway's journal: usage events, their charges, what they spent of limits, the holds of requests still under way, the
-- releases of those that ended, the balances, and the checkpoint, all in the caller's one transaction. Unique keys stop every repetition, so
-- applying a journal again changes nothing; the checkpoint only says where to go on. Returns the number of new usage events.
CREATE OR REPLACE FUNCTION apply_journal(gateway text, events jsonb, through bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  added bigint;
BEGIN
  -- First of all, so that a batch whose commit was uncertain and its repetition come one after the other.
  INSERT INTO journal_checkpoints (gateway_id, applied_sequence) VALUES (gateway, through)
  ON CONFLICT (gateway_id) DO UPDATE SET applied_sequence = through, updated_at = now();

  INSERT INTO ledger_accounts (id, tenant_id, kind, currency)
  SELECT DISTINCT account.id, account.tenant_id, account.kind, account.currency
  FROM (SELECT DISTINCT tenant_id, currency FROM jsonb_to_recordset(events) AS e(tenant_id text, currency text)) AS event,
    LATERAL (VALUES
      ('receivable:' || event.tenant_id || ':' || event.currency, event.tenant_id, 'receivable', event.currency),
      ('held:' || event.tenant_id || ':' || event.currency, event.tenant_id, 'held', event.currency),
      ('suspense:' || event.currency, NULL, 'suspense', event.currency),
      ('revenue:' || event.currency, NULL, 'revenue', event.currency)
    ) AS account(id, tenant_id, kind, currency)
  ORDER BY 1
  ON CONFLICT DO NOTHING;
  -- In one order, here and above, so that two gateways never wait for each other in a circle.
  PERFORM 1 FROM ledger_accounts WHERE id IN (
    SELECT unnest(ARRAY['receivable:' || event.tenant_id || ':' || event.currency, 'held:' || event.tenant_id || ':' || event.currency,
      'suspense:' || event.currency, 'revenue:' || event.currency])
    FROM (SELECT DISTINCT tenant_id, currency FROM jsonb_to_recordset(events) AS e(tenant_id text, currency text)) AS event
  ) ORDER BY id FOR UPDATE;

  WITH event AS (
    SELECT * FROM jsonb_to_recordset(events) AS e(
      kind text, journal_sequence bigint, gateway_id text, life_id text, request_id text, leg smallint, tenant_id text, project_id text,
      api_key_id text, model_id text, endpoint text, streamed boolean, currency text, price jsonb, held_nanos bigint, started_at timestamptz,
      outcome text, usage_suspect boolean, input_tokens bigint, cached_input_tokens bigint, output_tokens bigint, reasoning_tokens bigint,
      units jsonb, amount_nanos bigint, waived_nanos bigint, charges jsonb, replica_id text, time_to_first_token_ms integer,
      duration_ms integer, settled_at timestamptz, engine_counted boolean)
  ), settled AS (
    INSERT INTO usage_events (tenant_id, request_id, leg, project_id, api_key_id, model_id, replica_id, gateway_id, life_id, journal_sequence,
      endpoint, streamed, outcome, usage_suspect, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, units, amount_nanos,
      waived_nanos, charges, currency, price, time_to_first_token_ms, duration_ms, started_at, settled_at, engine_counted)
    SELECT tenant_id, request_id, leg, project_id, api_key_id, model_id, replica_id, gateway_id, nullif(life_id, ''), journal_sequence,
      endpoint, streamed, outcome, usage_suspect, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, units, amount_nanos,
      coalesce(waived_nanos, 0), coalesce(charges, '[]'), currency, price, time_to_first_token_ms, duration_ms, started_at, settled_at, coalesce(engine_counted, false)
    FROM event WHERE kind = 'settle'
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, request_id, leg, amount_nanos, currency, settled_at, life_id, charges
  ), spent AS (
    -- In the order of the key, for the same reason as the accounts.
    INSERT INTO limit_leases AS lease (rule_id, subject, window_start, life_id, spent)
    SELECT charge ->> 0, charge ->> 1, to_timestamp((charge ->> 2)::bigint / 1000.0), coalesce(life_id, ''), sum((charge ->> 3)::bigint)::bigint
    FROM settled, jsonb_array_elements(charges) AS charge
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (rule_id, subject, window_start, life_id) DO UPDATE SET spent = lease.spent + excluded.spent
  ), held AS (
    -- A request that opens and settles in one batch needs no hold on the books.
    SELECT o.tenant_id, o.request_id, o.leg, o.held_nanos AS amount_nanos, o.currency, o.started_at AS booked_at
    FROM event o
    WHERE o.kind = 'open' AND o.held_nanos > 0
      -- NOT IN, so that PostgreSQL hashes: it expects few rows of an array, and would compare each pair.
      AND (o.request_id, o.leg) NOT IN (SELECT s.request_id, s.leg FROM event s WHERE s.kind = 'settle')
      AND NOT EXISTS (SELECT 1 FROM usage_events u WHERE u.request_id = o.request_id AND u.leg = o.leg)
  ), due AS (
    SELECT 'charge' AS kind, tenant_id, request_id, leg, amount_nanos, 'receivable:' || tenant_id || ':' || currency AS debit, 'revenue:' || currency AS credit, settled_at AS booked_at
    FROM settled WHERE amount_nanos > 0
    UNION ALL
    SELECT 'hold', tenant_id, request_id, leg, amount_nanos, 'held:' || tenant_id || ':' || currency, 'suspense:' || currency, booked_at FROM held
    UNION ALL
    SELECT 'release', s.tenant_id, s.request_id, s.leg, e.amount_nanos, 'suspense:' || s.currency, 'held:' || s.tenant_id || ':' || s.currency, s.settled_at
    FROM settled s
    JOIN ledger_transactions t ON t.request_id = s.request_id AND t.leg = s.leg AND t.kind = 'hold'
    JOIN ledger_entries e ON e.transaction_id = t.id AND e.account_id = 'held:' || s.tenant_id || ':' || s.currency
  ), posted AS (
    INSERT INTO ledger_transactions (kind, tenant_id, request_id, leg, booked_at)
    SELECT kind, tenant_id, request_id, leg, booked_at FROM due
    ON CONFLICT DO NOTHING
    RETURNING id, kind, request_id, leg
  ), entry AS (
    INSERT INTO ledger_entries (transaction_id, account_id, tenant_id, amount_nanos)
    SELECT posted.id, side.account_id, due.tenant_id, side.amount_nanos
    FROM posted JOIN due USING (kind, request_id, leg),
      LATERAL (VALUES (due.debit, due.amount_nanos), (due.credit, -due.amount_nanos)) AS side(account_id, amount_nanos)
    RETURNING account_id, amount_nanos
  ), balanced AS (
    UPDATE ledger_accounts SET balance_nanos = balance_nanos + change.amount
    FROM (SELECT account_id, sum(amount_nanos)::bigint AS amount FROM entry GROUP BY account_id) AS change
    WHERE id = change.account_id
  )
  SELECT count(*) INTO added FROM settled;
  RETURN added;
END $$;

---------------------------------------------------------------------------------------------------------------- totals

-- Gateways count what they settle, apart from shipping it: from settlements as they become durable, on a way of their own. So an event that is lost
-- on its way into the ledger shows as a difference. How far the counting of each gateway has come; never beyond journal_checkpoints.
CREATE TABLE totals_checkpoints (
  gateway_id text PRIMARY KEY,
  -- Number of the last flush: a repeated one changes nothing.
  flushes    bigint NOT NULL DEFAULT 0,
  -- Settlements after `base`, up to `through`, booked since `since`, have been counted.
  base       bigint NOT NULL,
  through    bigint NOT NULL,
  since      timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- What a gateway has settled between two flushes, by tenant, model and hour (UTC).
CREATE TABLE journal_totals (
  id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  gateway_id          text NOT NULL,
  tenant_id           text NOT NULL,
  model_id            text NOT NULL,
  currency            text NOT NULL,
  hour                timestamptz NOT NULL,
  recorded_at         timestamptz NOT NULL DEFAULT now(),
  requests            bigint NOT NULL,
  input_tokens        bigint NOT NULL,
  cached_input_tokens bigint NOT NULL,
  output_tokens       bigint NOT NULL,
  reasoning_tokens    bigint NOT NULL,
  amount_nanos        bigint NOT NULL,
  -- "<request> <leg>" of each; NULL when there were too many to remember.
  request_legs        text[]
);
CREATE INDEX journal_totals_by_hour ON journal_totals (hour);

-- What engines said of the same requests, where an engine ended in its proper way: as it came, before any rule of billing.
CREATE TABLE engine_totals (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  gateway_id    text NOT NULL,
  tenant_id     text NOT NULL,
  model_id      text NOT NULL,
  hour          timestamptz NOT NULL,
  recorded_at   timestamptz NOT NULL DEFAULT now(),
  requests      bigint NOT NULL,
  input_tokens  numeric NOT NULL,
  output_tokens numeric NOT NULL,
  -- Engines are counted in memory alone. What they said in the last seconds of a gateway that died is lost, and what was billed stands for it.
  recovered     boolean NOT NULL
);
CREATE INDEX engine_totals_by_hour ON engine_totals (hour);
-- Small: transactions are added in the order of their time, more or less.
CREATE INDEX ledger_transactions_by_time ON ledger_transactions USING brin (booked_at);

-- Says where a gateway goes on counting. `first` is the oldest event that its journal still has, `last` the newest one, `applied` what the ledger
-- has: counting begins anew, after `applied`, when it never began or when the journal does not meet the checkpoint.
CREATE FUNCTION begin_totals(gateway text, first bigint, last bigint, applied bigint) RETURNS TABLE (flush bigint, counted bigint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
  INSERT INTO totals_checkpoints AS mine (gateway_id, base, through) VALUES (gateway, applied, applied)
  ON CONFLICT (gateway_id) DO UPDATE SET
    base = CASE WHEN mine.through BETWEEN first - 1 AND last THEN mine.base ELSE applied END,
    since = CASE WHEN mine.through BETWEEN first - 1 AND last THEN mine.since ELSE now() END,
    through = CASE WHEN mine.through BETWEEN first - 1 AND last THEN mine.through ELSE applied END,
    updated_at = now()
  RETURNING mine.flushes, mine.through;
END $$;

-- Adds what was counted since the flush before. A repeated flush changes nothing.
CREATE FUNCTION add_totals(gateway text, flush bigint, counted bigint, is_recovered boolean, journal jsonb, engines jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE totals_checkpoints SET flushes = flush, through = counted, updated_at = now()
  WHERE gateway_id = gateway AND flushes = flush - 1;
  IF NOT FOUND THEN RETURN; END IF;
  INSERT INTO journal_totals (gateway_id, tenant_id, model_id, currency, hour, requests, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, amount_nanos, request_legs)
  SELECT gateway, * FROM jsonb_to_recordset(journal) AS row(
    tenant_id text, model_id text, currency text, hour timestamptz, requests bigint, input_tokens bigint, cached_input_tokens bigint, output_tokens bigint,
    reasoning_tokens bigint, amount_nanos bigint, request_legs text[]);
  INSERT INTO engine_totals (gateway_id, tenant_id, model_id, hour, requests, input_tokens, output_tokens, recovered)
  SELECT gateway, row.*, is_recovered FROM jsonb_to_recordset(engines) AS row(
    tenant_id text, model_id text, hour timestamptz, requests bigint, input_tokens numeric, output_tokens numeric);
END $$;

---------------------------------------------------------------------------------------------------------- reconciliation

CREATE TABLE reconciliation_runs (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  from_time   timestamptz NOT NULL,
  to_time     timestamptz NOT NULL,
  ran_at      timestamptz NOT NULL DEFAULT now(),
  -- Also what takes a look at all books: balances against all entries, counters of windows without end.
  thorough    boolean NOT NULL,
  findings    integer NOT NULL,
  -- What was compared: requests and amounts of journal, ledger and engines.
  totals      jsonb NOT NULL
);
CREATE INDEX reconciliation_runs_by_time ON reconciliation_runs (ran_at);

-- A difference, told once. `key` says what differs: `journal <hour> <tenant> <model> <currency>`, `balance <account>`, …
CREATE TABLE reconciliation_findings (
  key        text PRIMARY KEY,
  kind       text NOT NULL,
  tenant_id  text,
  -- The hour concerned, where there is one.
  hour       timestamptz,
  details    jsonb NOT NULL,
  found_at   timestamptz NOT NULL DEFAULT now(),
  seen_at    timestamptz NOT NULL DEFAULT now(),
  -- A later run over the same hours did not see it any more.
  cleared_at timestamptz
);
CREATE INDEX reconciliation_findings_open ON reconciliation_findings (found_at) WHERE cleared_at IS NULL;

REVOKE EXECUTE ON FUNCTION begin_totals(text, bigint, bigint, bigint), add_totals(text, bigint, bigint, boolean, jsonb, jsonb) FROM public;
GRANT EXECUTE ON FUNCTION begin_totals(text, bigint, bigint, bigint), add_totals(text, bigint, bigint, boolean, jsonb, jsonb) TO colonnade_platform;
GRANT SELECT, INSERT, UPDATE ON totals_checkpoints, reconciliation_findings TO colonnade_platform;
GRANT SELECT, INSERT ON journal_totals, engine_totals, reconciliation_runs TO colonnade_platform;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['journal_totals', 'engine_totals', 'reconciliation_runs'] LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
  END LOOP;
END $$;
