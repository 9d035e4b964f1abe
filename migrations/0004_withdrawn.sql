-- What a wrong clock decided for moments that had not come yet: kept and marked, and the occurrence is open again.
ALTER TABLE runs ADD COLUMN withdrawn INTEGER;
ALTER TABLE missed ADD COLUMN withdrawn INTEGER;

-- When the last of a range was due, which jitter puts after the moment that was planned.
ALTER TABLE missed ADD COLUMN due_last INTEGER;

DROP INDEX one_run_for_an_occurrence;
CREATE UNIQUE INDEX one_run_for_an_occurrence ON runs (rule, planned, action) WHERE rule IS NOT NULL AND withdrawn IS NULL;
DROP INDEX open_runs;
CREATE INDEX open_runs ON runs (id) WHERE outcome IS NULL AND withdrawn IS NULL;
