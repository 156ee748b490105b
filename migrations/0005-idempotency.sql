-- Repetitions: of billable requests, and of changes through the control API. What makes a repetition known is kept as digests with a secret of the
-- installation's; a key, a body or a model's answer is nowhere here.

-- A billable request that carries an idempotency key, as it was first begun. Whether a leg has ended is not noted here: it has when its usage event
-- is in the ledger. So the row is written once a leg, before the engine hears of it.
CREATE TABLE idempotent_requests (
  tenant_id   text NOT NULL,
  -- Of the project and the key.
  key_digest  bytea NOT NULL CHECK (octet_length(key_digest) = 32),
  -- Of the endpoint and the body.
  body_digest bytea NOT NULL CHECK (octet_length(body_digest) = 32),
  request_id  text NOT NULL,
  -- The newest leg, begun by this life of a gateway.
  leg         smallint NOT NULL DEFAULT 0 CHECK (leg >= 0),
  life_id     text NOT NULL,
  -- How often a leg was begun: who takes one back names its own beginning, and nobody else's.
  begins      integer NOT NULL DEFAULT 1,
  expires_at  timestamptz NOT NULL DEFAULT now() + interval '24 hours',
  PRIMARY KEY (tenant_id, key_digest)
);
CREATE INDEX idempotent_requests_by_expiry ON idempotent_requests (expires_at);

-- A change through the control API that carried a key, with its answer, which may hold a secret that no other answer has: so it is sealed. Written in
-- the transaction of the change.
CREATE TABLE idempotent_operations (
  -- Of the actor and the key.
  key_digest     bytea PRIMARY KEY CHECK (octet_length(key_digest) = 32),
  -- Of the operation, its path and its body.
  request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
  -- Of the actor; NULL for the platform's own.
  tenant_id      text,
  sealed_answer  bytea NOT NULL,
  expires_at     timestamptz NOT NULL DEFAULT now() + interval '24 hours'
);
CREATE INDEX idempotent_operations_by_expiry ON idempotent_operations (expires_at);

-- Begins a leg of a request, or says why not:
--   begun        under this request id and leg, with what earlier legs were charged
--   reused       the key came with another body before
--   in_progress  the newest leg is under way, or its end has not reached the ledger yet
--   exhausted    it was answered as often as it may be
-- Of two gateways that come with one key at the same moment, the second waits here for the commit of the first. A leg whose usage event is missing
-- although its gateway's life has ended, with all of its journal in the ledger, never ran, and is begun anew. Legs that were never served
-- (`voided`) do not count towards `served_max`, but their number has a bound too.
CREATE FUNCTION begin_leg(tenant text, key bytea, body bytea, request text, gateway text, life text, served_max integer, legs_max integer)
RETURNS TABLE (outcome text, request_id text, leg smallint, begins integer, charged_nanos bigint) LANGUAGE plpgsql AS $$
DECLARE
  known idempotent_requests%ROWTYPE;
  has_ended boolean;
  never_ran boolean;
  served bigint;
  charged bigint;
BEGIN
  -- Each new key takes some old ones with it.
  DELETE FROM idempotent_requests r WHERE (r.tenant_id, r.key_digest) IN (
    SELECT old.tenant_id, old.key_digest FROM idempotent_requests old
    WHERE old.expires_at < now() ORDER BY old.expires_at LIMIT 8 FOR UPDATE SKIP LOCKED);
  -- A request may come before the life's first call for leases.
  INSERT INTO gateway_lives (id, gateway_id) VALUES (life, gateway) ON CONFLICT DO NOTHING;

  INSERT INTO idempotent_requests (tenant_id, key_digest, body_digest, request_id, life_id)
  VALUES (tenant, key, body, request, life) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN QUERY SELECT 'begun', request, 0::smallint, 1, 0::bigint;
    RETURN;
  END IF;
  SELECT * INTO known FROM idempotent_requests r WHERE r.tenant_id = tenant AND r.key_digest = key FOR UPDATE;
  IF NOT FOUND THEN
    -- Released a moment ago.
    RETURN QUERY SELECT 'in_progress', NULL::text, NULL::smallint, NULL::integer, NULL::bigint;
    RETURN;
  END IF;
  IF known.expires_at < now() THEN
    UPDATE idempotent_requests r SET body_digest = body, request_id = request, leg = 0, life_id = life, begins = 1, expires_at = now() + interval '24 hours'
    WHERE r.tenant_id = tenant AND r.key_digest = key;
    RETURN QUERY SELECT 'begun', request, 0::smallint, 1, 0::bigint;
    RETURN;
  END IF;
  IF known.body_digest <> body THEN
    RETURN QUERY SELECT 'reused', known.request_id, NULL::smallint, NULL::integer, NULL::bigint;
    RETURN;
  END IF;
  -- In one statement, so in one snapshot: who sees that the life has ended sees all of its usage events.
  SELECT
    EXISTS (SELECT FROM usage_events u WHERE u.tenant_id = tenant AND u.request_id = known.request_id AND u.leg = known.leg),
    EXISTS (SELECT FROM gateway_lives l WHERE l.id = known.life_id AND l.ended_at IS NOT NULL)
  INTO has_ended, never_ran;
  IF NOT has_ended AND NOT never_ran THEN
    RETURN QUERY SELECT 'in_progress', known.request_id, NULL::smallint, NULL::integer, NULL::bigint;
    RETURN;
  END IF;
  SELECT count(*) FILTER (WHERE u.outcome <> 'voided'), coalesce(sum(u.amount_nanos), 0) INTO served, charged
  FROM usage_events u WHERE u.tenant_id = tenant AND u.request_id = known.request_id;
  IF served >= served_max OR known.leg >= legs_max - 1 THEN
    RETURN QUERY SELECT 'exhausted', known.request_id, NULL::smallint, NULL::integer, NULL::bigint;
    RETURN;
  END IF;
  IF has_ended THEN known.leg := known.leg + 1; END IF;
  UPDATE idempotent_requests r SET leg = known.leg, life_id = life, begins = known.begins + 1 WHERE r.tenant_id = tenant AND r.key_digest = key;
  RETURN QUERY SELECT 'begun', known.request_id, known.leg, known.begins + 1, charged;
END $$;

-- A tenant's own people change things too, and see no more than their tenant's answers, which are sealed besides.
ALTER TABLE idempotent_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotent_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY platform ON idempotent_requests TO colonnade_platform USING (true) WITH CHECK (true);
ALTER TABLE idempotent_operations ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotent_operations FORCE ROW LEVEL SECURITY;
CREATE POLICY platform ON idempotent_operations TO colonnade_platform USING (true) WITH CHECK (true);
CREATE POLICY tenant ON idempotent_operations TO colonnade_tenant
  USING (tenant_id = nullif(current_setting('app.tenant', true), '')) WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotent_requests TO colonnade_platform;
GRANT SELECT, INSERT, DELETE ON idempotent_operations TO colonnade_platform, colonnade_tenant;
REVOKE EXECUTE ON FUNCTION begin_leg(text, bytea, bytea, text, text, text, integer, integer) FROM public;
GRANT EXECUTE ON FUNCTION begin_leg(text, bytea, bytea, text, text, text, integer, integer) TO colonnade_platform;
