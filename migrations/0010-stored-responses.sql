-- Responses that callers asked to be kept, for tenants that want that. What was asked and answered is in here only sealed, as files are: with a random key of each
-- response's own, which stands beside it, sealed with the installation's secret. A row that goes takes its key along.

ALTER TABLE tenants
  -- How long responses are kept for those who ask for it. NULL: nothing is kept.
  ADD COLUMN responses_kept_days integer CHECK (responses_kept_days BETWEEN 1 AND 30);

-- Gateways must know of it.
DROP TRIGGER note_tenant_update ON tenants;
CREATE TRIGGER note_tenant_update AFTER UPDATE ON tenants REFERENCING OLD TABLE AS before NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_changed_rows('tenant', 'id', 'currency', 'price_list_id', 'state', 'allowed_locations', 'responses_kept_days');

CREATE TABLE stored_responses (
  id          text PRIMARY KEY CHECK (id ~ '^resp_[0-9A-Za-z]{1,64}$'),
  tenant_id   text NOT NULL,
  project_id  text NOT NULL,
  -- The response that it goes on from. It may be gone.
  previous_id text,
  bytes       bigint NOT NULL CHECK (bytes > 0),
  sealed_key  bytea NOT NULL,
  -- When it ends is decided by the tenant's setting as it is then.
  created_at  timestamptz NOT NULL,
  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX stored_responses_by_age ON stored_responses (tenant_id, created_at);

CREATE TABLE stored_response_chunks (
  tenant_id    text NOT NULL,
  response_id  text NOT NULL,
  position     integer NOT NULL CHECK (position >= 0),
  sealed_bytes bytea NOT NULL,
  PRIMARY KEY (response_id, position),
  FOREIGN KEY (tenant_id, response_id) REFERENCES stored_responses (tenant_id, id) ON DELETE CASCADE
);
-- What is sealed does not compress.
ALTER TABLE stored_response_chunks ALTER COLUMN sealed_bytes SET STORAGE EXTERNAL;

-- What the responses of a project take together, changed with them: counting them for each new one would take longer with each.
CREATE TABLE stored_response_totals (
  tenant_id  text NOT NULL,
  project_id text NOT NULL,
  bytes      bigint NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (tenant_id, project_id),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE
);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['stored_responses', 'stored_response_chunks', 'stored_response_totals'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY platform ON %I TO colonnade_platform USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO colonnade_tenant USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')) WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), ''''))', name);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON stored_responses, stored_response_chunks, stored_response_totals TO colonnade_platform, colonnade_tenant;
