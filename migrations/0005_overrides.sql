-- A person's exceptions, each with an end: what is paused, since when and until when. `until` is the end that the command named.
CREATE TABLE overrides (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('pause')),
    scope       TEXT NOT NULL CHECK (scope IN ('rule', 'group')),
    name        TEXT NOT NULL,
    since       INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    who         TEXT NOT NULL,
    ended       INTEGER,                   -- when it ended, once that is recorded
    lifted_by   TEXT,                      -- who ended it before its time
    CHECK (until > since),
    CHECK (lifted_by IS NULL OR ended IS NOT NULL)
) STRICT;

CREATE INDEX overrides_in_force ON overrides (id) WHERE ended IS NULL;
