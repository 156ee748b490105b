-- Plans, limits, prepaid credit, and the leases by which gateways spend them (docs/decisions/0004).

------------------------------------------------------------------------------------------------------------------- plans

CREATE TABLE plans (
  id                   text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name                 text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
  -- From the smallest to the largest: a refusal names the first plan of a higher rank that would have passed.
  rank                 integer NOT NULL CHECK (rank >= 0),
  priority             text NOT NULL DEFAULT 'normal' CHECK (priority IN ('normal', 'high')),
  -- Prepaid tenants may spend what they have been credited, and no more.
  prepaid              boolean NOT NULL DEFAULT false,
  -- What a tenant pays ahead to be on this plan.
  upfront_credit_nanos bigint CHECK (upfront_credit_nanos BETWEEN 1 AND 1000000000000000000),
  currency             text NOT NULL DEFAULT 'EUR' CHECK (currency ~ '^[A-Z]{3}$'),
  created_at           timestamptz NOT NULL DEFAULT now()
);

-- NULL: no plan, and so only the limits of the tenant's own.
ALTER TABLE tenants ADD COLUMN plan_id text REFERENCES plans (id);
CREATE INDEX tenants_by_plan ON tenants (plan_id);

------------------------------------------------------------------------------------------------------------------- rules

-- A rule belongs to a plan, and then holds for each tenant on it, or to one tenant. Of all rules that match a request, each must have room:
-- the smallest decides.
CREATE TABLE limit_rules (
  id          text PRIMARY KEY CHECK (id ~ '^lim_[0-9A-Za-z]{16}$'),
  plan_id     text REFERENCES plans (id) ON DELETE CASCADE,
  tenant_id   text REFERENCES tenants (id) ON DELETE CASCADE,
  -- Who may change it: what the platform set binds the tenant; what the tenant set, both may change.
  set_by      text NOT NULL DEFAULT 'platform' CHECK (set_by IN ('platform', 'tenant')),
  -- Only requests of this project, of this key, for this model; NULL for any.
  project_id  text,
  api_key_id  text,
  model_id    text REFERENCES models (id) ON DELETE CASCADE,
  -- Whether tenants, projects or keys have the amount each for themselves.
  per         text NOT NULL DEFAULT 'tenant' CHECK (per IN ('tenant', 'project', 'key')),
  measure     text NOT NULL CHECK (measure IN ('requests', 'input_tokens', 'output_tokens', 'tokens', 'concurrency', 'amount')),
  -- Per minute and per hour, room comes back evenly. Days and months are those of the platform's time zone. 'lifetime' never begins anew. Requests
  -- under way have no window.
  time_window text NOT NULL CHECK (time_window IN ('minute', 'hour', 'day', 'month', 'lifetime')),
  -- Requests, tokens, requests under way, or nano-units of the tenant's currency.
  limit_value bigint NOT NULL CHECK (limit_value BETWEEN 0 AND 1000000000000000000),
  -- hard: never exceeded. soft: refuses once it is used up, and never cuts an answer. shadow: counts what it would have refused.
  enforcement text NOT NULL DEFAULT 'hard' CHECK (enforcement IN ('hard', 'soft', 'shadow')),
  -- While the authority is away and the lease is spent: refuse, or let each gateway go on with its even share.
  on_outage   text NOT NULL DEFAULT 'closed' CHECK (on_outage IN ('closed', 'open')),
  created_at  timestamptz NOT NULL DEFAULT now(),
  CHECK ((plan_id IS NULL) <> (tenant_id IS NULL)),
  CHECK (plan_id IS NULL OR (set_by = 'platform' AND project_id IS NULL AND api_key_id IS NULL)),
  CHECK (measure <> 'concurrency' OR time_window = 'lifetime'),
  CHECK (on_outage = 'closed' OR enforcement <> 'hard'),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, api_key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX limit_rules_by_plan ON limit_rules (plan_id);
CREATE INDEX limit_rules_by_tenant ON limit_rules (tenant_id);

-- Money paid ahead. Append-only: a mistake is corrected by a negative grant.
CREATE TABLE credit_grants (
  id           text PRIMARY KEY CHECK (id ~ '^crd_[0-9A-Za-z]{16}$'),
  tenant_id    text NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
  amount_nanos bigint NOT NULL CHECK (amount_nanos <> 0 AND amount_nanos BETWEEN -1000000000000000000 AND 1000000000000000000),
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  note         text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
  created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX credit_grants_by_tenant ON credit_grants (tenant_id);
CREATE TRIGGER credit_grants_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_grants FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

------------------------------------------------------------------------------------------------------------------ leases

-- One row for each life of a gateway process. What a dead life still holds comes back once its journal is settled.
CREATE TABLE gateway_lives (
  id         text PRIMARY KEY CHECK (id ~ '^lif_[0-9A-Za-z]{16}$'),
  -- Lives of a gateway begin in this order, whatever clocks do.
  number     bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  gateway_id text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at    timestamptz NOT NULL DEFAULT now(),
  ended_at   timestamptz
);
CREATE INDEX gateway_lives_by_gateway ON gateway_lives (gateway_id);

-- A counter is one rule for one subject in one window; limits per minute and per hour have one window, from the beginning of time. `rule_id` is that of a limit rule, or 'credit' for prepaid credit, whose limit is the sum
-- of the grants. `subject` is the id of the tenant, project or key that has the amount for itself.
CREATE TABLE limit_counters (
  rule_id       text NOT NULL,
  subject       text NOT NULL,
  window_start  timestamptz NOT NULL,
  tenant_id     text NOT NULL,
  -- NULL: the window never ends.
  window_end    timestamptz,
  -- The sum of the leases when the last one was set. For reports: what is granted rests on the leases themselves.
  granted       bigint NOT NULL DEFAULT 0,
  -- How often holders were asked to return what they do not use.
  recall        bigint NOT NULL DEFAULT 0,
  -- Until then, grants are no larger than what is needed at once.
  tight_until   timestamptz,
  -- Of limits per minute and per hour: how much may have been granted in all by `allowed_at`, for a limit of `capacity`. It grows with time.
  allowance     bigint,
  capacity      bigint,
  allowed_at    timestamptz,
  PRIMARY KEY (rule_id, subject, window_start)
);
CREATE INDEX limit_counters_by_end ON limit_counters (window_end);
CREATE INDEX limit_counters_by_tenant ON limit_counters (tenant_id);

-- What one life of a gateway may have spent of a counter, in all. `granted` is set by its holder through `lease_limits`; `spent` by the journal
-- through `apply_journal`, in the transaction that books the usage: so it is exact however often a journal is applied.
CREATE TABLE limit_leases (
  rule_id      text NOT NULL,
  subject      text NOT NULL,
  window_start timestamptz NOT NULL,
  life_id      text NOT NULL,
  granted      bigint NOT NULL DEFAULT 0,
  spent        bigint NOT NULL DEFAULT 0,
  -- As the holder last told: what it has spent or reserved. Advisory.
  used         bigint NOT NULL DEFAULT 0,
  -- The part of it that is reserved for requests under way. Advisory.
  held         bigint NOT NULL DEFAULT 0,
  -- The last recall that the holder has answered.
  answered     bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (rule_id, subject, window_start, life_id)
);
CREATE INDEX limit_leases_by_life ON limit_leases (life_id);

-- What was refused, or would have been under a shadow rule, by the hour. For reports: written now and then by the gateways.
CREATE TABLE limit_refusals (
  rule_id    text NOT NULL,
  subject    text NOT NULL,
  tenant_id  text NOT NULL,
  model_id   text NOT NULL,
  hour       timestamptz NOT NULL,
  shadow     boolean NOT NULL,
  refusals   bigint NOT NULL,
  PRIMARY KEY (rule_id, subject, model_id, hour, shadow)
);
CREATE INDEX limit_refusals_by_tenant ON limit_refusals (tenant_id, hour);

-------------------------------------------------------------------------------------------------------- security and notices

-- Tables of which a tenant reads what concerns it, and writes at most rules of its own.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['plans', 'limit_rules', 'credit_grants', 'limit_counters', 'limit_leases', 'limit_refusals'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY platform ON %I TO colonnade_platform USING (true) WITH CHECK (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['credit_grants', 'limit_counters', 'limit_refusals'] LOOP
    EXECUTE format('CREATE POLICY tenant ON %I FOR SELECT TO colonnade_tenant USING (tenant_id = nullif(current_setting(''app.tenant'', true), ''''))', name);
  END LOOP;
END $$;
-- A plan may be one customer's alone: each tenant sees its own, with its rules. The inner query sees, under the policy of `tenants`, one row.
CREATE POLICY tenant ON plans FOR SELECT TO colonnade_tenant
  USING (id = (SELECT plan_id FROM tenants WHERE tenants.id = nullif(current_setting('app.tenant', true), '')));
CREATE POLICY tenant_reads ON limit_rules FOR SELECT TO colonnade_tenant
  USING (tenant_id = nullif(current_setting('app.tenant', true), '')
    OR plan_id = (SELECT plan_id FROM tenants WHERE tenants.id = nullif(current_setting('app.tenant', true), '')));
-- A tenant bounds itself further, and never loosens what the platform set.
CREATE POLICY tenant_inserts ON limit_rules FOR INSERT TO colonnade_tenant
  WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '') AND set_by = 'tenant');
CREATE POLICY tenant_updates ON limit_rules FOR UPDATE TO colonnade_tenant
  USING (tenant_id = nullif(current_setting('app.tenant', true), '') AND set_by = 'tenant')
  WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '') AND set_by = 'tenant');
CREATE POLICY tenant_deletes ON limit_rules FOR DELETE TO colonnade_tenant
  USING (tenant_id = nullif(current_setting('app.tenant', true), '') AND set_by = 'tenant');
-- A lease is its counter's, and so its tenant's.
CREATE POLICY tenant ON limit_leases FOR SELECT TO colonnade_tenant
  USING (EXISTS (SELECT FROM limit_counters AS counter
    WHERE counter.rule_id = limit_leases.rule_id AND counter.subject = limit_leases.subject AND counter.window_start = limit_leases.window_start
      AND counter.tenant_id = nullif(current_setting('app.tenant', true), '')));

GRANT SELECT, INSERT, UPDATE, DELETE ON plans, limit_rules, limit_counters, limit_leases, limit_refusals, gateway_lives TO colonnade_platform;
GRANT SELECT, INSERT ON credit_grants TO colonnade_platform;
GRANT SELECT ON plans, credit_grants, limit_counters, limit_leases, limit_refusals TO colonnade_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON limit_rules TO colonnade_tenant;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['plans', 'limit_rules', 'credit_grants'] LOOP
    EXECUTE format('CREATE TRIGGER bump_snapshot AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT EXECUTE FUNCTION bump_snapshot()', name);
  END LOOP;
END $$;
