CREATE TABLE IF NOT EXISTS reverb_apps (
    id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name            VARCHAR(255) NOT NULL,
    app_id          VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    app_key         VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    app_secret      TEXT NOT NULL,
    description     TEXT NULL,
    is_active       TINYINT(1) NOT NULL DEFAULT 1,
    max_connections INT NOT NULL DEFAULT 1000,
    allowed_origins JSON NULL,
    created_at      TIMESTAMP NULL,
    updated_at      TIMESTAMP NULL,
    UNIQUE KEY reverb_apps_app_id_unique (app_id),
    UNIQUE KEY reverb_apps_app_key_unique (app_key),
    KEY reverb_apps_app_id_is_active_index (app_id, is_active)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS rp_revision (
    one TINYINT NOT NULL PRIMARY KEY,
    n   BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO rp_revision VALUES (1, 0);

CREATE TABLE IF NOT EXISTS rp_apps (
    row_id           BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    app_id           VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    hash             BINARY(16) NOT NULL,
    secret           TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    old_secret       TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    old_secret_until BIGINT UNSIGNED NULL,
    settings         LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    unlimited_at     INT NULL,
    edited_here      TINYINT(1) NOT NULL DEFAULT 0,
    secret_used      BIGINT UNSIGNED NULL,
    old_secret_used  BIGINT UNSIGNED NULL,
    revision         BIGINT UNSIGNED NOT NULL,
    removed_at       DATETIME NULL,
    KEY rp_apps_revision (revision)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS rp_removed_apps (
    app_id   VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    revision BIGINT UNSIGNED NOT NULL,
    KEY rp_removed_apps_revision (revision)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS rp_key (
    one TINYINT NOT NULL PRIMARY KEY,
    id  VARCHAR(16) CHARACTER SET ascii NOT NULL
) ENGINE = InnoDB;
