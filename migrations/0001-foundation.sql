-- Colonnade's foundation: identity, catalogue, fleet, ledger, audit.
--
-- Three roles see these tables. `colonnade_platform` (provider's staff, gateways, jobs) sees every tenant; `colonnade_tenant` sees the rows of
-- the tenant named by `app.tenant`, which each transaction sets with SET LOCAL; an empty setting shows no row. The login role
-- owns nothing: each transaction takes one of the two roles, so a forgotten choice fails instead of leaking.
-- Money is in nano-units of the tenant's currency, as bigint. Times are timestamptz in UTC.

DO $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'colonnade_platform') THEN
    CREATE ROLE colonnade_platform NOLOGIN NOSUPERUSER NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'colonnade_tenant') THEN
    CREATE ROLE colonnade_tenant NOLOGIN NOSUPERUSER NOBYPASSRLS;
  END IF;
END $$;

-- Every change that a gateway must know moves this version in its own transaction and notifies `snapshot_changed`. A row, not a
-- sequence: a sequence moves before the commit, so a gateway could read the new version with the old rows and miss the change.
CREATE TABLE snapshot_state (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  version bigint NOT NULL
);
INSERT INTO snapshot_state VALUES (true, 1);

CREATE FUNCTION bump_snapshot() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
  UPDATE snapshot_state SET version = version + 1;
  NOTIFY snapshot_changed;
  RETURN NULL;
END $$;

---------------------------------------------------------------------------------------------------------------- identity

CREATE TABLE tenants (
  id            text PRIMARY KEY CHECK (id ~ '^ten_[0-9A-Za-z]{16}$'),
  name          text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
  currency      text NOT NULL DEFAULT 'EUR' CHECK (currency ~ '^[A-Z]{3}$'),
  price_list_id text NOT NULL,
  state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
  created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE projects (
  tenant_id  text NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
  id         text NOT NULL CHECK (id ~ '^prj_[0-9A-Za-z]{16}$'),
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'archived')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (id),
  UNIQUE (tenant_id, name)
);

CREATE TABLE api_keys (
  tenant_id      text NOT NULL,
  project_id     text NOT NULL,
  id             text NOT NULL CHECK (id ~ '^key_[0-9A-Za-z]{16}$'),
  name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  -- NULL means every model that the tenant may use.
  allowed_models text[] CHECK (cardinality(allowed_models) BETWEEN 1 AND 1000),
  -- CIDR blocks; NULL means any address.
  allowed_ips    text[] CHECK (cardinality(allowed_ips) BETWEEN 1 AND 100),
  expires_at     timestamptz,
  revoked_at     timestamptz,
  created_at     timestamptz NOT NULL DEFAULT now(),
  last_used_at   timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (id),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT
);

-- A key has one live secret, or two while a rotation overlaps. Only a keyed digest is stored.
CREATE TABLE api_key_secrets (
  tenant_id      text NOT NULL,
  api_key_id     text NOT NULL,
  public_id      text NOT NULL CHECK (public_id ~ '^[0-9A-Za-z]{10}$'),
  digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
  pepper_version integer NOT NULL,
  -- The last characters of the secret, to recognise it in a list.
  hint           text NOT NULL,
  expires_at     timestamptz,
  created_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, api_key_id, public_id),
  UNIQUE (public_id),
  FOREIGN KEY (tenant_id, api_key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
);

-- Tokens for the control API. `tenant_id` NULL marks the provider's own staff.
CREATE TABLE access_tokens (
  id             text PRIMARY KEY CHECK (id ~ '^tok_[0-9A-Za-z]{16}$'),
  tenant_id      text REFERENCES tenants (id) ON DELETE CASCADE,
  role           text NOT NULL,
  name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  public_id      text NOT NULL UNIQUE CHECK (public_id ~ '^[0-9A-Za-z]{10}$'),
  digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
  pepper_version integer NOT NULL,
  expires_at     timestamptz,
  revoked_at     timestamptz,
  created_at     timestamptz NOT NULL DEFAULT now(),
  CHECK (tenant_id IS NOT NULL OR role IN ('operator', 'auditor', 'agent')),
  CHECK (tenant_id IS NULL OR role IN ('owner', 'admin', 'developer', 'billing', 'auditor'))
);

--------------------------------------------------------------------------------------------------------------- catalogue

CREATE TABLE price_lists (
  id       text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name     text NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  source   text NOT NULL
);
ALTER TABLE tenants ADD FOREIGN KEY (price_list_id) REFERENCES price_lists (id);

CREATE TABLE models (
  id                    text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
  publisher             text,
  category              text NOT NULL CHECK (category IN ('chat', 'embedding', 'rerank', 'audio', 'image', 'moderation')),
  context_window_tokens integer CHECK (context_window_tokens > 0),
  capabilities          text[] NOT NULL DEFAULT '{}',
  licence               text,
  tags                  text[] NOT NULL DEFAULT '{}',
  phase                 text NOT NULL DEFAULT 'production' CHECK (phase IN ('evaluation', 'production', 'deprecated', 'retired')),
  production_since      date,
  end_of_support        date,
  long_term_support     boolean NOT NULL DEFAULT false,
  successor             text,
  -- Facts of the catalogue that no rule depends on: parameters, speed, energy, location.
  facts                 jsonb NOT NULL DEFAULT '{}',
  -- Where weights come from, in order of trial; empty for models that another engine serves.
  weight_sources        text[] NOT NULL DEFAULT '{}',
  weight_sha256         text CHECK (weight_sha256 ~ '^[0-9a-f]{64}$'),
  weight_bytes          bigint,
  -- Shipped models are listed to operators, and offered to tenants only once enabled.
  enabled               boolean NOT NULL DEFAULT false,
  created_at            timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE model_aliases (
  alias    text PRIMARY KEY CHECK (length(alias) BETWEEN 1 AND 200),
  model_id text NOT NULL REFERENCES models (id) ON DELETE CASCADE
);

-- The price of one unit from a moment on; the newest row whose moment has come applies. Never updated: a new price is a new row.
CREATE TABLE prices (
  price_list_id  text NOT NULL REFERENCES price_lists (id),
  model_id       text NOT NULL REFERENCES models (id) ON DELETE CASCADE,
  unit           text NOT NULL CHECK (unit IN ('input_token', 'cached_input_token', 'output_token', 'reasoning_token', 'rerank_token', 'audio_minute', 'image', 'character')),
  amount_nanos   bigint NOT NULL CHECK (amount_nanos >= 0),
  effective_from timestamptz NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (price_list_id, model_id, unit, effective_from)
);

-- The price of a class of models, copied to a model when it is enabled.
CREATE TABLE class_prices (
  price_list_id text NOT NULL REFERENCES price_lists (id),
  category      text NOT NULL,
  unit          text NOT NULL,
  amount_nanos  bigint NOT NULL CHECK (amount_nanos >= 0),
  PRIMARY KEY (price_list_id, category, unit)
);

------------------------------------------------------------------------------------------------------------------- fleet

CREATE TABLE nodes (
  id            text PRIMARY KEY CHECK (id ~ '^node_[0-9A-Za-z]{16}$'),
  name          text NOT NULL UNIQUE,
  hardware      jsonb NOT NULL DEFAULT '{}',
  heartbeat_at  timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now()
);

-- Desired: this model shall run on a node of ours.
CREATE TABLE deployments (
  model_id   text PRIMARY KEY REFERENCES models (id) ON DELETE CASCADE,
  settings   jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Actual: one engine that serves one model at one address. `node_id` NULL marks an engine that somebody else runs.
CREATE TABLE replicas (
  id           text PRIMARY KEY CHECK (id ~ '^rep_[0-9A-Za-z]{16}$'),
  model_id     text NOT NULL REFERENCES models (id) ON DELETE CASCADE,
  node_id      text REFERENCES nodes (id) ON DELETE CASCADE,
  engine_kind  text NOT NULL,
  base_url     text,
  -- The name that the engine itself gives the model.
  engine_model text NOT NULL,
  -- Bearer token for the engine, sealed with the platform's key; NULL for none.
  sealed_key   bytea,
  state        text NOT NULL CHECK (state IN ('pending', 'pulling', 'starting', 'ready', 'failed', 'stopped')),
  -- Why it is in this state, for people: progress of a pull, the reason of a failure.
  detail       text,
  progress     real CHECK (progress BETWEEN 0 AND 1),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  created_at   timestamptz NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (model_id, node_id, base_url)
);

------------------------------------------------------------------------------------------------------------------ ledger

-- One row for each billable leg of a request. Metadata only: never a byte of a prompt or an answer.
CREATE TABLE usage_events (
  tenant_id           text NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
  request_id          text NOT NULL,
  leg                 smallint NOT NULL DEFAULT 0,
  project_id          text NOT NULL,
  api_key_id          text NOT NULL,
  model_id            text NOT NULL,
  replica_id          text,
  gateway_id          text NOT NULL,
  journal_sequence    bigint NOT NULL,
  endpoint            text NOT NULL,
  streamed            boolean NOT NULL,
  outcome             text NOT NULL CHECK (outcome IN ('completed', 'client_left', 'upstream_failed', 'guardrail_stopped', 'crashed', 'voided')),
  -- The engine's figures broke a bound, and ours were billed instead.
  usage_suspect       boolean NOT NULL DEFAULT false,
  input_tokens        bigint NOT NULL CHECK (input_tokens >= 0),
  cached_input_tokens bigint NOT NULL CHECK (cached_input_tokens BETWEEN 0 AND input_tokens),
  output_tokens       bigint NOT NULL CHECK (output_tokens >= 0),
  reasoning_tokens    bigint NOT NULL CHECK (reasoning_tokens BETWEEN 0 AND output_tokens),
  amount_nanos        bigint NOT NULL CHECK (amount_nanos >= 0),
  currency            text NOT NULL,
  -- The prices pinned at admission: {"version": text, "nanos": {unit: text}}.
  price               jsonb NOT NULL,
  time_to_first_token_ms integer,
  duration_ms         integer NOT NULL CHECK (duration_ms >= 0),
  started_at          timestamptz NOT NULL,
  settled_at          timestamptz NOT NULL,
  recorded_at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, request_id, leg),
  UNIQUE (request_id, leg)
);
CREATE INDEX usage_events_by_time ON usage_events (tenant_id, settled_at);
CREATE INDEX usage_events_by_settled ON usage_events (settled_at);

CREATE TABLE ledger_accounts (
  id        text PRIMARY KEY,
  tenant_id text REFERENCES tenants (id) ON DELETE RESTRICT,
  -- receivable: what the tenant owes; held: reserved for requests under way; suspense: the other side of holds; revenue: earned.
  kind      text NOT NULL CHECK (kind IN ('receivable', 'held', 'suspense', 'revenue')),
  currency  text NOT NULL,
  -- A cache of the sum of the entries, written in their transaction.
  balance_nanos bigint NOT NULL DEFAULT 0
);

CREATE TABLE ledger_transactions (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind        text NOT NULL CHECK (kind IN ('hold', 'release', 'charge', 'correction')),
  tenant_id   text NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
  request_id  text NOT NULL,
  leg         smallint NOT NULL,
  booked_at   timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (request_id, leg, kind)
);

CREATE TABLE ledger_entries (
  transaction_id bigint NOT NULL REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
  account_id     text NOT NULL REFERENCES ledger_accounts (id) ON DELETE RESTRICT,
  tenant_id      text NOT NULL,
  -- Debits are positive, credits negative.
  amount_nanos   bigint NOT NULL CHECK (amount_nanos <> 0),
  PRIMARY KEY (transaction_id, account_id)
);

-- Checked at commit: a transaction whose entries do not sum to zero never exists.
CREATE FUNCTION check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT sum(amount_nanos) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) <> 0 THEN
    RAISE EXCEPTION 'unbalanced ledger transaction %', NEW.transaction_id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_balanced();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER usage_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far each gateway's journal has been applied; moved in the same transaction as the rows it stands for.
CREATE TABLE journal_checkpoints (
  gateway_id       text PRIMARY KEY,
  applied_sequence bigint NOT NULL,
  updated_at       timestamptz NOT NULL DEFAULT now()
);

-- Applies a batch of a gateway's journal: usage events, their charges, the holds of requests still under way, the releases of those that
-- ended, the balances, and the checkpoint, all in the caller's one transaction. Unique keys stop every repetition, so applying a journal
-- again changes nothing; the checkpoint only says where to go on. Returns the number of new usage events.
CREATE FUNCTION apply_journal(gateway text, events jsonb, through bigint) RETURNS bigint LANGUAGE plpgsql AS $$
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
      kind text, journal_sequence bigint, gateway_id text, request_id text, leg smallint, tenant_id text, project_id text, api_key_id text, model_id text,
      endpoint text, streamed boolean, currency text, price jsonb, held_nanos bigint, started_at timestamptz, outcome text, usage_suspect boolean,
      input_tokens bigint, cached_input_tokens bigint, output_tokens bigint, reasoning_tokens bigint, amount_nanos bigint, replica_id text,
      time_to_first_token_ms integer, duration_ms integer, settled_at timestamptz)
  ), settled AS (
    INSERT INTO usage_events (tenant_id, request_id, leg, project_id, api_key_id, model_id, replica_id, gateway_id, journal_sequence, endpoint, streamed,
      outcome, usage_suspect, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, amount_nanos, currency, price,
      time_to_first_token_ms, duration_ms, started_at, settled_at)
    SELECT tenant_id, request_id, leg, project_id, api_key_id, model_id, replica_id, gateway_id, journal_sequence, endpoint, streamed,
      outcome, usage_suspect, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, amount_nanos, currency, price,
      time_to_first_token_ms, duration_ms, started_at, settled_at
    FROM event WHERE kind = 'settle'
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, request_id, leg, amount_nanos, currency, settled_at
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

------------------------------------------------------------------------------------------------------------------- audit

CREATE TABLE audit_entries (
  sequence       bigint PRIMARY KEY,
  occurred_at    timestamptz NOT NULL,
  tenant_id      text,
  actor          text NOT NULL,
  action         text NOT NULL,
  -- The canonical JSON text that the hash covers; it repeats the columns above.
  payload        text NOT NULL,
  previous_hash  bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
  hash           bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32)
);
CREATE INDEX audit_entries_by_tenant ON audit_entries (tenant_id, sequence);
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE audit_head (
  singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  sequence bigint NOT NULL,
  hash     bytea NOT NULL
);
INSERT INTO audit_head VALUES (true, 0, decode(repeat('00', 32), 'hex'));

-- Appends one entry to the single chain: hash = SHA-256(previous hash ‖ sequence as 8 bytes big-endian ‖ payload as UTF-8).
-- Locks the head until the caller's transaction ends, so writers form one chain.
CREATE FUNCTION append_audit(occurred timestamptz, tenant text, who text, what text, body text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  head audit_head%ROWTYPE;
  digest bytea;
BEGIN
  SELECT * INTO head FROM audit_head FOR UPDATE;
  digest := sha256(head.hash || int8send(head.sequence + 1) || convert_to(body, 'UTF8'));
  INSERT INTO audit_entries VALUES (head.sequence + 1, occurred, tenant, who, what, body, head.hash, digest);
  UPDATE audit_head SET sequence = head.sequence + 1, hash = digest;
  RETURN head.sequence + 1;
END $$;

------------------------------------------------------------------------------------------------- row-level security, rights

-- Tables that carry a tenant: the platform sees all, a tenant its own.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['projects', 'api_keys', 'api_key_secrets', 'access_tokens', 'usage_events', 'ledger_accounts', 'ledger_transactions', 'ledger_entries', 'audit_entries'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY platform ON %I TO colonnade_platform USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO colonnade_tenant USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')) WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), ''''))', name);
  END LOOP;
END $$;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY platform ON tenants TO colonnade_platform USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tenants TO colonnade_tenant USING (id = nullif(current_setting('app.tenant', true), ''));
-- FORCE binds the owner too; the audit function runs as the owner and needs its way in.
CREATE POLICY owner_appends ON audit_entries FOR INSERT WITH CHECK (current_user = (SELECT tableowner FROM pg_tables WHERE tablename = 'audit_entries' AND schemaname = 'public'));

GRANT USAGE ON SCHEMA public TO colonnade_platform, colonnade_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants, projects, api_keys, api_key_secrets, access_tokens, models, model_aliases, price_lists, class_prices, nodes, deployments, replicas TO colonnade_platform;
GRANT SELECT, INSERT ON prices, usage_events, ledger_transactions, ledger_entries TO colonnade_platform;
GRANT SELECT, INSERT, UPDATE ON ledger_accounts, journal_checkpoints TO colonnade_platform;
GRANT SELECT ON audit_entries, audit_head TO colonnade_platform;
GRANT SELECT ON tenants, usage_events, ledger_accounts, ledger_transactions, ledger_entries, audit_entries, models, model_aliases, price_lists, prices TO colonnade_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON projects, api_keys, api_key_secrets, access_tokens TO colonnade_tenant;
GRANT EXECUTE ON FUNCTION append_audit(timestamptz, text, text, text, text) TO colonnade_platform, colonnade_tenant;
REVOKE EXECUTE ON FUNCTION apply_journal(text, jsonb, bigint) FROM public;
GRANT EXECUTE ON FUNCTION apply_journal(text, jsonb, bigint) TO colonnade_platform;
GRANT SELECT ON snapshot_state TO colonnade_platform;
REVOKE EXECUTE ON FUNCTION append_audit(timestamptz, text, text, text, text) FROM public;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tenants', 'projects', 'api_key_secrets', 'models', 'model_aliases', 'prices'] LOOP
    EXECUTE format('CREATE TRIGGER bump_snapshot AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT EXECUTE FUNCTION bump_snapshot()', name);
  END LOOP;
END $$;
-- Uses of a key and the progress of a pull change often, and no gateway needs them.
CREATE TRIGGER bump_snapshot AFTER INSERT OR DELETE ON api_keys FOR EACH STATEMENT EXECUTE FUNCTION bump_snapshot();
CREATE TRIGGER bump_snapshot_on_update AFTER UPDATE ON api_keys FOR EACH ROW
  WHEN ((OLD.allowed_models, OLD.allowed_ips, OLD.expires_at, OLD.revoked_at) IS DISTINCT FROM (NEW.allowed_models, NEW.allowed_ips, NEW.expires_at, NEW.revoked_at))
  EXECUTE FUNCTION bump_snapshot();
CREATE TRIGGER bump_snapshot AFTER INSERT OR DELETE ON replicas FOR EACH STATEMENT EXECUTE FUNCTION bump_snapshot();
CREATE TRIGGER bump_snapshot_on_update AFTER UPDATE ON replicas FOR EACH ROW
  WHEN ((OLD.state, OLD.base_url, OLD.engine_kind, OLD.engine_model, OLD.sealed_key) IS DISTINCT FROM (NEW.state, NEW.base_url, NEW.engine_kind, NEW.engine_model, NEW.sealed_key))
  EXECUTE FUNCTION bump_snapshot();
