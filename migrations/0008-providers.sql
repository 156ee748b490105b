-- Services that somebody else runs, and where a tenant's prompts may go.

ALTER TABLE replicas
  -- Where the prompts go: 'local' for machines of our own, else the code of a country or a region. NULL: nobody has said, so nobody is served by it.
  ADD COLUMN location text CHECK (location ~ '^(local|[A-Z]{2,8})$'),
  -- Who runs it, and so reads the prompts.
  ADD COLUMN operator text NOT NULL DEFAULT 'own' CHECK (operator ~ '^[a-z0-9][a-z0-9.-]{0,49}$'),
  -- What its adapter needs to know: region, project, API version. Never a secret.
  ADD COLUMN settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object');

-- Who speaks plain HTTP is on our own network; of others, only an operator knows.
UPDATE replicas SET location = 'local' WHERE node_id IS NOT NULL OR base_url LIKE 'http://%';

ALTER TABLE tenants
  -- Where the tenant's prompts may go besides our own machines. Nowhere, unless it is said.
  ADD COLUMN allowed_locations text[] NOT NULL DEFAULT '{}'
    CHECK (cardinality(allowed_locations) <= 50 AND array_position(allowed_locations, NULL) IS NULL
      AND array_to_string(allowed_locations, ',') ~ '^([A-Z]{2,8}(,[A-Z]{2,8})*)?$');

-- Gateways must know of both.
DROP TRIGGER note_tenant_update ON tenants;
CREATE TRIGGER note_tenant_update AFTER UPDATE ON tenants REFERENCING OLD TABLE AS before NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_changed_rows('tenant', 'id', 'currency', 'price_list_id', 'state', 'allowed_locations');
DROP TRIGGER note_replicas_update ON replicas;
CREATE TRIGGER note_replicas_update AFTER UPDATE ON replicas REFERENCING OLD TABLE AS before NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_changed_rows('replicas', 'id', 'model_id', 'state', 'base_url', 'engine_kind', 'engine_model', 'sealed_key',
    'location', 'settings');
