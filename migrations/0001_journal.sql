-- The journal. Moments are microseconds since 1970-01-01T00:00:00Z. Texts of outcomes and reasons are those of the JSON lines.

CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    rule        TEXT,                      -- NULL for a command by a person
    who         TEXT,                      -- NULL for an occurrence of a rule
    action      TEXT NOT NULL CHECK (action IN ('start', 'stop')),
    groups      TEXT NOT NULL,             -- JSON list of names
    planned     INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    window_end  INTEGER NOT NULL,
    claimed     INTEGER NOT NULL,
    node        TEXT NOT NULL DEFAULT '',
    epoch       INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT,
    reason      TEXT,
    ended       INTEGER,
    CHECK ((rule IS NULL) <> (who IS NULL)),
    CHECK ((outcome IS NULL) = (ended IS NULL))
) STRICT;

-- The claim: one row for each occurrence, ever.
CREATE UNIQUE INDEX one_run_for_an_occurrence ON runs (rule, planned, action) WHERE rule IS NOT NULL;
CREATE INDEX runs_by_due ON runs (due);
CREATE INDEX open_runs ON runs (id) WHERE outcome IS NULL;

CREATE TABLE targets (
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    account     TEXT NOT NULL,
    server      TEXT NOT NULL,
    name        TEXT,
    limit_ms    INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'asking', 'looking', 'moving', 'ended')),
    progress    TEXT NOT NULL,             -- JSON, the whole state
    revision    INTEGER NOT NULL,
    outcome     TEXT,
    reason      TEXT,
    remark      TEXT,
    PRIMARY KEY (run, account, server),
    CHECK ((state = 'ended') = (outcome IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX targets_by_server ON targets (server);

CREATE TABLE attempts (
    id          INTEGER PRIMARY KEY,
    action      TEXT NOT NULL,
    intended    INTEGER NOT NULL,
    answered    INTEGER,
    result      TEXT,
    status      INTEGER,
    code        TEXT,
    text        TEXT,
    request_id  TEXT,
    CHECK ((answered IS NULL) = (result IS NULL))
) STRICT;

CREATE INDEX attempts_by_moment ON attempts (intended);

CREATE TABLE attempt_targets (
    attempt     INTEGER NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    run         INTEGER NOT NULL,
    account     TEXT NOT NULL,
    server      TEXT NOT NULL,
    PRIMARY KEY (attempt, run, account, server),
    FOREIGN KEY (run, account, server) REFERENCES targets (run, account, server) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_by_run ON attempt_targets (run);

-- At most one request may be open for a server: the database itself refuses the second.
CREATE TABLE open_attempts (
    account     TEXT NOT NULL,
    server      TEXT NOT NULL,
    attempt     INTEGER NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    PRIMARY KEY (account, server)
) STRICT, WITHOUT ROWID;

CREATE TABLE missed (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    rule        TEXT NOT NULL,
    action      TEXT NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    count       INTEGER NOT NULL CHECK (count > 0),
    kind        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    recorded    INTEGER NOT NULL
) STRICT;

CREATE INDEX missed_by_last ON missed (last);

CREATE TABLE marks (
    rule        TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    until       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE configs (
    hash        TEXT PRIMARY KEY,
    text        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE config_log (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hash        TEXT NOT NULL REFERENCES configs (hash),
    since       INTEGER NOT NULL
) STRICT;
