// A dump of the PHP product's database, as its own migrations, panel and Laravel would have left it.
//
//   node dump.mjs | mariadb DATABASE

import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import { argv, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';

/** The keys of its .env: today's, and one from before. */
export const APP_KEY = 'base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
export const APP_PREVIOUS_KEYS = 'base64:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=';

/** What stands in its table, in all the ways in which it can. `usable`: clients without an Origin come in. */
export const APPS = [
  { id: 'app-shop-a1b2', key: 'key-shop-000000001', secret: 'shop-secret-0123456789abcdef', stored: 'encrypted', usable: true },
  { id: 'app-news-c3d4', key: 'key-news-000000001', secret: 'news-secret-0123456789abcdef', stored: 'by the previous key', usable: true },
  { id: 'app-old-e5f6', key: 'key-old-0000000001', secret: 'old-secret-0123456789abcdef', stored: 'plain', usable: true },
  { id: 'app-off-g7h8', key: 'key-off-0000000001', secret: 'off-secret-0123456789abcdef', stored: 'encrypted', active: 0, code: 4003 },
  { id: 'app-lost-i9j0', key: 'key-lost-000000001', secret: 'lost-secret-0123456789abcdef', stored: 'by a lost key', code: 4003 },
  { id: 'app-none-k1l2', key: 'key-none-000000001', secret: 'none-secret-0123456789abcdef', stored: 'encrypted', origins: null, code: 4009 },
  { id: 'app-list-m3n4', key: 'key-list-000000001', secret: 'list-secret-0123456789abcdef', stored: 'encrypted', origins: { 0: '*', 2: 'shop.example' }, usable: true },
];

/** Users of its panel; `hash` is bcrypt's of `password`. */
export const USERS = [
  { email: 'ada@example.com', password: 'password', hash: '$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi', active: 1 },
  { email: 'off@example.com', password: 'password', hash: '$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi', active: 0 },
];

const bytes = (key) => Buffer.from(key.slice('base64:'.length), 'base64');
const keys = { encrypted: bytes(APP_KEY), 'by the previous key': bytes(APP_PREVIOUS_KEYS), 'by a lost key': randomBytes(32) };

/** As Laravel's encrypter does: AES-256-CBC, and an HMAC over the base64 of both parts. */
function encrypted(key, text) {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const value = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]).toString('base64');
  const parts = { iv: iv.toString('base64'), value };
  const mac = createHmac('sha256', key).update(parts.iv + parts.value).digest('hex');
  return Buffer.from(JSON.stringify({ ...parts, mac, tag: '' })).toString('base64');
}

const sql = (value) => (value === null ? 'NULL' : typeof value === 'number' ? String(value) : `'${String(value).replace(/[\\']/g, '\\$&')}'`);
const row = (...values) => `(${values.map(sql).join(', ')})`;

const TABLES = `
CREATE TABLE migrations (id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, migration varchar(255) NOT NULL, batch int NOT NULL);
INSERT INTO migrations (migration, batch) VALUES ('0001_01_01_000000_create_users_table', 1), ('2026_05_20_000000_widen_secrets', 2);
CREATE TABLE reverb_apps (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL, app_id varchar(255) NOT NULL,
  app_key varchar(255) NOT NULL, app_secret text NOT NULL, description text DEFAULT NULL, is_active tinyint(1) NOT NULL DEFAULT 1,
  max_connections int NOT NULL DEFAULT 1000, allowed_origins json DEFAULT NULL, created_at timestamp NULL, updated_at timestamp NULL,
  UNIQUE KEY reverb_apps_app_id_unique (app_id), UNIQUE KEY reverb_apps_app_key_unique (app_key),
  KEY reverb_apps_app_id_is_active_index (app_id, is_active)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE users (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL, email varchar(255) NOT NULL,
  email_verified_at timestamp NULL, active tinyint(1) NOT NULL DEFAULT 1, password varchar(255) NOT NULL,
  remember_token varchar(100) DEFAULT NULL, created_at timestamp NULL, updated_at timestamp NULL,
  UNIQUE KEY users_email_unique (email), KEY users_active_index (active)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE sessions (id varchar(255) NOT NULL PRIMARY KEY, user_id bigint unsigned NULL, ip_address varchar(45) NULL,
  user_agent text NULL, payload longtext NOT NULL, last_activity int NOT NULL);
CREATE TABLE cache (\`key\` varchar(255) NOT NULL PRIMARY KEY, value mediumtext NOT NULL, expiration int NOT NULL);
CREATE TABLE jobs (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, queue varchar(255) NOT NULL, payload longtext NOT NULL,
  attempts tinyint unsigned NOT NULL, reserved_at int unsigned NULL, available_at int unsigned NOT NULL, created_at int unsigned NOT NULL);
INSERT INTO cache VALUES ('laravel:reverb:restart', 'i:1716200000;', 2000000000);
INSERT INTO jobs (queue, payload, attempts, available_at, created_at) VALUES ('default', '{}', 0, 1716200000, 1716200000);
`;

/** The whole dump. */
export function dump() {
  const made = '2026-05-20 10:00:30';
  const apps = APPS.map((app) => {
    const secret = app.stored === 'plain' ? app.secret : encrypted(keys[app.stored], app.secret);
    const origins = app.origins === null ? null : JSON.stringify(app.origins ?? ['*']);
    return row(app.id, app.id, app.key, secret, app.active ?? 1, origins, made, made);
  });
  const users = USERS.map((user) => row(user.email, user.email, user.hash, user.active, made, made));
  return `${TABLES}
INSERT INTO reverb_apps (name, app_id, app_key, app_secret, is_active, allowed_origins, created_at, updated_at) VALUES
${apps.join(',\n')};
INSERT INTO users (name, email, password, active, created_at, updated_at) VALUES
${users.join(',\n')};
`;
}

if (argv[1] === fileURLToPath(import.meta.url)) stdout.write(dump());
