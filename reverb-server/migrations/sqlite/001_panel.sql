-- What the web panel keeps. All times are seconds since 1970.
CREATE TABLE panel_users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,    -- none is given twice
    name          TEXT NOT NULL,
    email         TEXT NOT NULL COLLATE NOCASE UNIQUE,
    verified_at   INTEGER,
    active        INTEGER NOT NULL DEFAULT 1,
    password_hash TEXT NOT NULL,                        -- bcrypt, $2y$
    created       INTEGER NOT NULL DEFAULT (unixepoch()),
    updated       INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

CREATE TABLE panel_sessions (
    id            BLOB NOT NULL PRIMARY KEY,            -- SHA-256 of what the cookie says
    user_id       INTEGER NOT NULL,
    password_mark BLOB NOT NULL,                        -- of the password with which it began
    ip            TEXT,
    user_agent    TEXT NOT NULL,
    created       INTEGER NOT NULL,
    seen          INTEGER NOT NULL,
    data          TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX panel_sessions_user ON panel_sessions (user_id, seen);
CREATE INDEX panel_sessions_seen ON panel_sessions (seen);

CREATE TABLE panel_settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE panel_audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    actor_id INTEGER,
    actor    TEXT NOT NULL,
    ip       TEXT,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    details  TEXT NOT NULL
) STRICT;
CREATE INDEX panel_audit_at ON panel_audit (at);

-- When somebody has had the turn last.
CREATE TABLE panel_chores (
    name TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
