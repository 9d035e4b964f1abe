-- Servers that the last deed for them left running: one that is down all the same was stopped by somebody else.
CREATE TABLE left_running (
    account     TEXT NOT NULL,
    server      TEXT NOT NULL,
    since       INTEGER NOT NULL,          -- when it was seen running
    PRIMARY KEY (account, server)
) STRICT, WITHOUT ROWID;

-- What the journal tells of the past: the newest deed of each server. A stop that found it down did nothing to it.
INSERT INTO left_running (account, server, since)
    SELECT account, server, since FROM (
        SELECT t.account, t.server, coalesce(r.ended, r.due) AS since,
               r.action = 'start' AND t.outcome IN ('started', 'already') AS runs,
               row_number() OVER (PARTITION BY t.account, t.server ORDER BY t.run DESC) AS nth
        FROM targets t JOIN runs r ON r.id = t.run
        WHERE r.withdrawn IS NULL AND t.outcome IN ('started', 'stopped', 'already', 'failed', 'unknown')
            AND NOT (r.action = 'stop' AND t.outcome = 'already')
    ) WHERE nth = 1 AND runs;
