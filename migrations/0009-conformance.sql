-- What came out when the shipped suite of checks ran over a model. The newest run is the model's badge.

CREATE TABLE conformance_runs (
  -- In the order in which they were recorded.
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  model_id        text NOT NULL REFERENCES models (id) ON DELETE CASCADE,
  suite_version   text NOT NULL CHECK (length(suite_version) <= 50),
  program_version text NOT NULL CHECK (length(program_version) <= 50),
  started_at      timestamptz NOT NULL,
  finished_at     timestamptz NOT NULL CHECK (finished_at >= started_at),
  verdict         text NOT NULL CHECK (verdict IN ('passed', 'partial', 'failed')),
  engine_kinds    text[] NOT NULL,
  -- [{"id", "title", "required", "result", "why", "facts", "durationMs"}]: our own words, never what was asked or answered.
  checks          jsonb NOT NULL CHECK (jsonb_typeof(checks) = 'array')
);
CREATE INDEX conformance_runs_by_model ON conformance_runs (model_id, id);
GRANT SELECT, INSERT, DELETE ON conformance_runs TO colonnade_platform;

-- Of the newest run: {"verdict", "date", "suiteVersion", "passed", "failed", "skipped", "engineKinds"}. Written with it, so that whoever reads
-- models, gateways among them, reads it too.
ALTER TABLE models ADD COLUMN conformance jsonb CHECK (jsonb_typeof(conformance) = 'object');
