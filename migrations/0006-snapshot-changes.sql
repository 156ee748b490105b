-- Each change that a gateway must know, by name, so that it reads the changed rows again and no others.

-- The version counts the changes. The row lock on `snapshot_state` makes writers follow each other until their commit, so versions become
-- visible in their order and without holes: whoever knows version v, and does not find v + 1 although the version has moved, has missed some.
CREATE TABLE snapshot_changes (
  version bigint PRIMARY KEY,
  -- 'everything': too many rows at once to name them.
  kind    text NOT NULL CHECK (kind IN ('key', 'tenant', 'project', 'catalog', 'replicas', 'limits', 'everything')),
  -- Of the key, the tenant or the project; empty for kinds that are read again as a whole.
  id      text NOT NULL
);
GRANT SELECT ON snapshot_changes TO colonnade_platform;

-- The last 100,000 changes are kept; a gateway that was away for longer reads everything. A statement names up to 1,000 rows.
CREATE FUNCTION note_snapshot_changes(changed_kind text, ids text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  added integer := cardinality(ids);
  last  bigint;
BEGIN
  IF added > 1000 THEN
    changed_kind := 'everything';
    ids := ARRAY[''];
    added := 1;
  END IF;
  UPDATE snapshot_state SET version = version + added RETURNING version INTO last;
  INSERT INTO snapshot_changes
    SELECT last - added + place, changed_kind, id FROM unnest(ids) WITH ORDINALITY AS changed (id, place);
  DELETE FROM snapshot_changes WHERE version <= last - 100000;
  NOTIFY snapshot_changed;
END $$;
REVOKE EXECUTE ON FUNCTION note_snapshot_changes(text, text[]) FROM public;

-- For a table that none of the kinds covers.
CREATE OR REPLACE FUNCTION bump_snapshot() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
  PERFORM note_snapshot_changes('everything', ARRAY['']);
  RETURN NULL;
END $$;

-- Notes what a statement changed. Arguments: the kind, the column that names a row, and the columns that matter; without any, all do.
-- The rows are in the transition tables `changed` and, for an update, `before`.
CREATE FUNCTION note_changed_rows() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  named     text := CASE WHEN TG_ARGV[0] IN ('key', 'tenant', 'project') THEN quote_ident(TG_ARGV[1]) ELSE '''''' END;
  condition text := '';
  ids       text[];
BEGIN
  IF TG_NARGS > 2 AND TG_OP = 'UPDATE' THEN
    -- A row that changed has no equal among those before. Rows find each other by `=`, which hashes.
    SELECT format('WHERE NOT EXISTS (SELECT FROM before WHERE before.%1$I = changed.%1$I', TG_ARGV[1])
        || string_agg(format(' AND before.%1$I IS NOT DISTINCT FROM changed.%1$I', name), '') || ')'
      INTO condition FROM unnest(TG_ARGV[2:]) AS name;
  ELSIF TG_NARGS > 2 THEN
    -- A row that says nothing that matters may come and go.
    SELECT format('WHERE num_nonnulls(%s) > 0', string_agg(quote_ident(name), ', ')) INTO condition FROM unnest(TG_ARGV[2:]) AS name;
  END IF;
  EXECUTE format('SELECT array_agg(DISTINCT %s::text) FROM changed %s', named, condition) INTO ids;
  IF ids IS NOT NULL THEN PERFORM note_snapshot_changes(TG_ARGV[0], ids); END IF;
  RETURN NULL;
END $$;

DO $$
DECLARE
  watched record;
  name    text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tenants', 'projects', 'api_keys', 'api_key_secrets', 'models', 'model_aliases', 'prices', 'replicas', 'plans',
    'limit_rules', 'credit_grants'] LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS bump_snapshot ON %I', name);
    EXECUTE format('DROP TRIGGER IF EXISTS bump_snapshot_on_update ON %I', name);
  END LOOP;
  -- What is left out changes often, or concerns no gateway: names, when a key was last used, how far the pull of a model is.
  FOR watched IN SELECT * FROM (VALUES
    ('tenants', 'tenant', 'id, currency, price_list_id, state'),
    ('projects', 'project', 'id, state'),
    ('api_keys', 'key', 'id, project_id, allowed_models, allowed_ips, expires_at, revoked_at'),
    ('api_key_secrets', 'key', 'api_key_id, public_id, digest, pepper_version, expires_at'),
    ('models', 'catalog', ''),
    ('model_aliases', 'catalog', ''),
    ('prices', 'catalog', ''),
    ('replicas', 'replicas', 'id, model_id, state, base_url, engine_kind, engine_model, sealed_key'),
    ('plans', 'limits', ''),
    ('limit_rules', 'limits', ''),
    ('credit_grants', 'limits', ''),
    ('tenants', 'limits', 'id, plan_id')
  ) AS list (relation, kind, columns) LOOP
    FOREACH name IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
      EXECUTE format('CREATE TRIGGER %I AFTER %s ON %I REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION note_changed_rows(%s)',
        format('note_%s_%s', watched.kind, name), name, watched.relation,
        CASE name WHEN 'insert' THEN 'NEW TABLE AS changed' WHEN 'delete' THEN 'OLD TABLE AS changed' ELSE 'OLD TABLE AS before NEW TABLE AS changed' END,
        (SELECT string_agg(quote_literal(argument), ', ') FROM unnest(watched.kind || string_to_array(watched.columns, ', ')) AS argument));
    END LOOP;
  END LOOP;
END $$;
