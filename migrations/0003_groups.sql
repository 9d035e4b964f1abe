-- What a person's command passes that holds others back, and groups whose servers are not known yet or that matched none: JSON lists.
ALTER TABLE runs ADD COLUMN waived TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN pending TEXT NOT NULL DEFAULT '[]';
ALTER TABLE runs ADD COLUMN empty TEXT NOT NULL DEFAULT '[]';

-- The groups of the run that hold the target, as they stood when it was made: a JSON list.
ALTER TABLE targets ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';

-- How many servers each group had at its last good run: what `on_growth` compares with.
CREATE TABLE group_sizes (
    name        TEXT PRIMARY KEY,
    servers     INTEGER NOT NULL CHECK (servers >= 0),
    recorded    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
