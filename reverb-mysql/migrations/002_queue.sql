CREATE TABLE IF NOT EXISTS rp_jobs (
    -- All times here are milliseconds since 1970, from a clock that no time zone moves.
    id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- 1 to 64 bytes of UTF-8, compared as bytes: no collation of text here tells blanks at the end apart.
    kind         VARBINARY(255) NOT NULL,
    max_attempts BIGINT NOT NULL DEFAULT 10,
    state        ENUM('waiting', 'leased', 'dead') NOT NULL DEFAULT 'waiting',
    -- Those that have begun.
    attempts     BIGINT NOT NULL DEFAULT 0,
    -- It may be leased from then on; while it is leased, when that ends. Of no use in a dead letter.
    due          BIGINT NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000),
    -- When due was set. In the future it shows that the clock was put back. In a dead letter: when it died.
    since        BIGINT NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000),
    -- Of the latest lease; the next one has the next number.
    token        BIGINT NOT NULL DEFAULT 0,
    -- Why it is dead.
    reason       TEXT NULL,
    -- Up to 1 MiB.
    payload      MEDIUMTEXT NOT NULL DEFAULT (''),
    -- When it is due, unless it is dead.
    next_due     BIGINT AS (CASE WHEN state = 'dead' THEN NULL ELSE due END) STORED,
    -- When its lease ends, if that is the last one: nearly always NULL.
    last_until   BIGINT AS (CASE WHEN state = 'leased' AND attempts >= max_attempts THEN due ELSE NULL END) STORED,
    -- What is due next, of any kind and of one; the state is there for whoever counts.
    KEY rp_jobs_due (next_due, id, state),
    KEY rp_jobs_kind (kind, next_due),
    KEY rp_jobs_last (last_until),
    -- What was set by a clock that was ahead; the dead, and which of them died first.
    KEY rp_jobs_since (state, since)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
