-- Who changes a row by hand is heard as well: triggers count, not the program.
CREATE TABLE revision (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    n   INTEGER NOT NULL
) STRICT;
INSERT INTO revision VALUES (1, 0);

CREATE TABLE apps (
    row              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT NOT NULL UNIQUE,
    key              TEXT NOT NULL UNIQUE,
    secret           TEXT NOT NULL,               -- sealed, or plain if put here by hand
    old_secret       TEXT,                        -- accepted until old_secret_until
    old_secret_until INTEGER,                     -- all times: seconds since 1970
    settings         TEXT NOT NULL DEFAULT '{}',  -- JSON; what is left out has its default
    revision         INTEGER NOT NULL DEFAULT 0,  -- of the latest change; set by the triggers
    created          INTEGER NOT NULL DEFAULT (unixepoch()),
    updated          INTEGER NOT NULL DEFAULT (unixepoch()),
    secret_used      INTEGER,                     -- no change: the triggers pass over these two
    old_secret_used  INTEGER
) STRICT;
CREATE INDEX apps_revision ON apps (revision);

CREATE TABLE removed_apps (
    id       TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_apps_revision ON removed_apps (revision);

CREATE TRIGGER app_made AFTER INSERT ON apps BEGIN
    UPDATE revision SET n = n + 1;
    UPDATE apps SET revision = (SELECT n FROM revision) WHERE row = NEW.row;
    DELETE FROM removed_apps WHERE id = NEW.id;
END;

CREATE TRIGGER app_changed
AFTER UPDATE OF id, key, secret, old_secret, old_secret_until, settings ON apps BEGIN
    UPDATE revision SET n = n + 1;
    INSERT OR REPLACE INTO removed_apps SELECT OLD.id, n FROM revision WHERE OLD.id <> NEW.id;
    UPDATE apps SET revision = (SELECT n FROM revision), updated = unixepoch() WHERE row = NEW.row;
    DELETE FROM removed_apps WHERE id = NEW.id;
END;

-- Of removals the latest ten thousand changes are remembered: who asks for older ones looks at everything.
CREATE TRIGGER app_removed AFTER DELETE ON apps BEGIN
    UPDATE revision SET n = n + 1;
    INSERT OR REPLACE INTO removed_apps SELECT OLD.id, n FROM revision;
    DELETE FROM removed_apps WHERE revision < (SELECT n FROM revision) - 10000;
END;
