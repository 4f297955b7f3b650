-- Used where there are no users of the PHP product; the columns are called as there. Times of day are in UTC.
CREATE TABLE IF NOT EXISTS rp_panel_users (
    id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name              VARCHAR(255) NOT NULL,
    email             VARCHAR(255) NOT NULL,
    email_verified_at DATETIME NULL,
    active            TINYINT(1) NOT NULL DEFAULT 1,
    password          VARCHAR(255) NOT NULL,
    created_at        DATETIME NULL,
    updated_at        DATETIME NULL,
    UNIQUE KEY rp_panel_users_email (email),
    KEY rp_panel_users_active (active)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

-- Who changes users has this row, so that one does at a time.
CREATE TABLE IF NOT EXISTS rp_panel_guard (
    one         TINYINT NOT NULL PRIMARY KEY,
    users_table VARCHAR(64) NULL                     -- rp_panel_users, or users: said at the first start, and never again
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO rp_panel_guard (one) VALUES (1);

-- Times are seconds since 1970 from here on.
CREATE TABLE IF NOT EXISTS rp_panel_sessions (
    id            BINARY(32) NOT NULL PRIMARY KEY,
    user_id       BIGINT UNSIGNED NOT NULL,
    password_mark BINARY(16) NOT NULL,
    ip            VARCHAR(45) NULL,
    user_agent    VARCHAR(255) NOT NULL,
    created       BIGINT UNSIGNED NOT NULL,
    seen          BIGINT UNSIGNED NOT NULL,
    data          MEDIUMTEXT NOT NULL,
    KEY rp_panel_sessions_user (user_id, seen),
    KEY rp_panel_sessions_seen (seen)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS rp_panel_settings (
    name  VARCHAR(64) NOT NULL PRIMARY KEY,
    value MEDIUMTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS rp_panel_audit (
    id       BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at       BIGINT UNSIGNED NOT NULL,
    actor_id BIGINT UNSIGNED NULL,
    actor    VARCHAR(255) NOT NULL,
    ip       VARCHAR(45) NULL,
    action   VARCHAR(64) NOT NULL,
    subject  VARCHAR(255) NOT NULL,
    details  MEDIUMTEXT NOT NULL,
    KEY rp_panel_audit_at (at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- When a node has had the turn last.
CREATE TABLE IF NOT EXISTS rp_panel_chores (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    at   BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
