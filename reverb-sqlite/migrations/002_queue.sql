-- All times here are milliseconds since 1970.
CREATE TABLE jobs (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- none is given twice
    kind         TEXT NOT NULL,                      -- 1 to 64 bytes
    max_attempts INTEGER NOT NULL DEFAULT 10,
    state        TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'leased', 'dead')),
    attempts     INTEGER NOT NULL DEFAULT 0,         -- those that have begun
    -- It may be leased from then on; while it is leased, when that ends. Of no use in a dead letter.
    due          INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER)),
    -- When due was set. In the future it shows that the clock was put back. In a dead letter: when it died.
    since        INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER)),
    token        INTEGER NOT NULL DEFAULT 0,         -- of the latest lease; the next one has the next number
    reason       TEXT,                               -- why it is dead
    payload      TEXT NOT NULL DEFAULT ''            -- up to 1 MiB; last, so that the rest is read without it
) STRICT;

-- What is due next, of any kind and of one; the state is there for whoever counts.
CREATE INDEX jobs_due ON jobs (due, id, state) WHERE state <> 'dead';
CREATE INDEX jobs_kind ON jobs (kind, due) WHERE state <> 'dead';
-- Whose lease will have been the last one. Nearly always empty.
CREATE INDEX jobs_last ON jobs (due) WHERE state = 'leased' AND attempts >= max_attempts;
-- What was set by a clock that was ahead; which of the dead died first.
CREATE INDEX jobs_since ON jobs (state, since);
CREATE INDEX jobs_dead ON jobs (id) WHERE state = 'dead';

-- To count a hundred thousand rows with every push would take longer than the push.
CREATE TABLE queue_size (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    alive INTEGER NOT NULL,
    dead  INTEGER NOT NULL
) STRICT;
INSERT INTO queue_size VALUES (1, 0, 0);

CREATE TRIGGER job_made AFTER INSERT ON jobs BEGIN
    UPDATE queue_size SET alive = alive + (NEW.state <> 'dead'), dead = dead + (NEW.state = 'dead');
END;

CREATE TRIGGER job_died_or_revived AFTER UPDATE OF state ON jobs
WHEN (OLD.state = 'dead') <> (NEW.state = 'dead') BEGIN
    UPDATE queue_size SET
        alive = alive + (NEW.state <> 'dead') - (OLD.state <> 'dead'),
        dead = dead + (NEW.state = 'dead') - (OLD.state = 'dead');
END;

CREATE TRIGGER job_removed AFTER DELETE ON jobs BEGIN
    UPDATE queue_size SET alive = alive - (OLD.state <> 'dead'), dead = dead - (OLD.state = 'dead');
END;
