-- Further kinds of overrides: one occurrence that is skipped, and servers that are kept as they are. A CHECK cannot be altered, so
-- the table is made anew.
CREATE TABLE overrides_of_all_kinds (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('pause', 'skip', 'keep')),
    scope       TEXT NOT NULL CHECK (scope IN ('rule', 'group', 'server')),
    name        TEXT NOT NULL,             -- of a server ACCOUNT/NUMBER
    stays       TEXT CHECK (stays IN ('on', 'off')),
    follows     TEXT CHECK (follows IN ('apply', 'leave', 'stop', 'start')),
    since       INTEGER NOT NULL,
    until       INTEGER NOT NULL,          -- the end that the command named
    reason      TEXT NOT NULL,
    who         TEXT NOT NULL,
    ended       INTEGER,                   -- when it ended, once that is recorded
    lifted_by   TEXT,                      -- who ended it before its time
    CHECK (until > since),
    CHECK (lifted_by IS NULL OR ended IS NOT NULL),
    CHECK ((kind = 'keep') = (stays IS NOT NULL)),
    CHECK ((kind = 'keep') = (follows IS NOT NULL))
) STRICT;
INSERT INTO overrides_of_all_kinds (id, kind, scope, name, since, until, reason, who, ended, lifted_by)
    SELECT id, kind, scope, name, since, until, reason, who, ended, lifted_by FROM overrides;
DROP TABLE overrides;
ALTER TABLE overrides_of_all_kinds RENAME TO overrides;
CREATE INDEX overrides_in_force ON overrides (id) WHERE ended IS NULL;

-- The keep whose end a run makes up for; `who` is who made that.
ALTER TABLE runs ADD COLUMN keep INTEGER;
