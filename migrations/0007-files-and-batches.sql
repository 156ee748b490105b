-- Files of projects, and the batches that read and write them. What callers wrote and what models answered is in here only sealed: with a random key of
-- each file's and each batch's own, which stands beside it, sealed with the installation's secret. A row that goes takes its key along.

CREATE TABLE files (
  id         text PRIMARY KEY CHECK (id ~ '^file-[0-9A-Za-z]{24}$'),
  tenant_id  text NOT NULL,
  project_id text NOT NULL,
  -- Known once it is whole: a form may name it after the content.
  purpose    text CHECK (purpose IN ('batch', 'batch_output')),
  -- 'storing': its content is still coming, and nobody sees it.
  state      text NOT NULL DEFAULT 'storing' CHECK (state IN ('storing', 'stored')),
  bytes      bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
  sealed_key bytea NOT NULL,
  sealed_name bytea,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT,
  CHECK (state = 'storing' OR (purpose IS NOT NULL AND sealed_name IS NOT NULL))
);
CREATE INDEX files_by_project ON files (tenant_id, project_id, created_at, id);
CREATE INDEX files_by_expiry ON files (expires_at);

CREATE TABLE file_chunks (
  tenant_id    text NOT NULL,
  file_id      text NOT NULL,
  position     integer NOT NULL CHECK (position >= 0),
  sealed_bytes bytea NOT NULL,
  PRIMARY KEY (file_id, position),
  FOREIGN KEY (tenant_id, file_id) REFERENCES files (tenant_id, id) ON DELETE CASCADE
);
-- What is sealed does not compress.
ALTER TABLE file_chunks ALTER COLUMN sealed_bytes SET STORAGE EXTERNAL;

CREATE TABLE batches (
  id            text PRIMARY KEY CHECK (id ~ '^batch_[0-9A-Za-z]{24}$'),
  tenant_id     text NOT NULL,
  project_id    text NOT NULL,
  api_key_id    text NOT NULL,
  endpoint      text NOT NULL,
  input_file_id text NOT NULL,
  state         text NOT NULL DEFAULT 'validating'
    CHECK (state IN ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'cancelling', 'cancelled')),
  -- How it ends, once that is known: no line begins any more.
  ends_as       text CHECK (ends_as IN ('completed', 'failed', 'expired', 'cancelled')),
  -- Of its results; gone with them.
  sealed_key      bytea,
  sealed_metadata bytea,
  output_expires_after_s integer NOT NULL,
  -- [{"code", "message", "line", "param"}]: our own words, never the caller's.
  errors          jsonb NOT NULL DEFAULT '[]',
  lines_total     integer NOT NULL DEFAULT 0,
  lines_completed integer NOT NULL DEFAULT 0,
  lines_failed    integer NOT NULL DEFAULT 0,
  input_tokens        bigint NOT NULL DEFAULT 0,
  cached_input_tokens bigint NOT NULL DEFAULT 0,
  output_tokens       bigint NOT NULL DEFAULT 0,
  reasoning_tokens    bigint NOT NULL DEFAULT 0,
  output_file_id text,
  error_file_id  text,
  created_at     timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  in_progress_at timestamptz,
  finalizing_at  timestamptz,
  completed_at   timestamptz,
  failed_at      timestamptz,
  expired_at     timestamptz,
  cancelling_at  timestamptz,
  cancelled_at   timestamptz,
  -- Batches take turns: the one that was served longest ago is next.
  served_at    timestamptz,
  -- Nothing of it runs before: a line met a limit, or no engine was free. The more often in a row, the longer.
  paused_until timestamptz,
  pauses       integer NOT NULL DEFAULT 0,
  -- The gateway that checks its input or writes its output.
  claimed_by    text,
  claimed_until timestamptz,
  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT,
  CHECK (lines_completed + lines_failed <= lines_total)
);
CREATE INDEX batches_by_project ON batches (tenant_id, project_id, created_at, id);
CREATE INDEX batches_open ON batches (state, served_at) WHERE state IN ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE INDEX batches_open_by_input ON batches (input_file_id) WHERE state IN ('validating', 'in_progress', 'finalizing', 'cancelling');

-- The lines of a batch while it runs: where each stands in the input file, and its result. They go when the output files are written.
CREATE TABLE batch_lines (
  batch_id    text NOT NULL,
  line        integer NOT NULL CHECK (line >= 1),
  tenant_id   text NOT NULL,
  byte_start  bigint NOT NULL,
  byte_length integer NOT NULL,
  state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done')),
  -- Runs that are known to have cost nothing. Part of the line's idempotency key, so all runs that may have cost something are legs of one request.
  generation  integer NOT NULL DEFAULT 0,
  -- Runs whose engine failed.
  tries       integer NOT NULL DEFAULT 0,
  -- How often it was put back; those that never were go first.
  deferrals   integer NOT NULL DEFAULT 0,
  claimed_by    text,
  claimed_until timestamptz,
  failed        boolean NOT NULL DEFAULT false,
  sealed_result bytea,
  PRIMARY KEY (batch_id, line),
  FOREIGN KEY (tenant_id, batch_id) REFERENCES batches (tenant_id, id) ON DELETE CASCADE,
  CHECK ((state = 'running') = (claimed_by IS NOT NULL))
);
ALTER TABLE batch_lines ALTER COLUMN sealed_result SET STORAGE EXTERNAL;
CREATE INDEX batch_lines_waiting ON batch_lines (batch_id, deferrals, line) WHERE state = 'waiting';
CREATE INDEX batch_lines_running ON batch_lines (claimed_until) WHERE state = 'running';

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['files', 'file_chunks', 'batches', 'batch_lines'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY platform ON %I TO colonnade_platform USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO colonnade_tenant USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')) WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), ''''))', name);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON files, file_chunks, batches, batch_lines TO colonnade_platform, colonnade_tenant;
