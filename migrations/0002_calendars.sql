-- What the calendars of a configuration rested on when it came into force: computed holidays and the contents of files, as JSON.
-- The hash is over the text and this.
ALTER TABLE configs ADD COLUMN sources TEXT NOT NULL DEFAULT '';

-- When a span closes that began under older calendars, which the rule's own schedule no longer knows.
ALTER TABLE marks ADD COLUMN closes INTEGER;
