// A database of the PHP product: it opens as it stands, its clients and backends go on, and its panel stays in force.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { connect, errorCodes, open, subscribe } from './clients.mjs';
import { mariadb } from './mariadb.mjs';
import { APPS, APP_KEY, APP_PREVIOUS_KEYS, USERS, dump } from './php/dump.mjs';
import { binary, serve } from './server.mjs';
import { eventually } from './waiting.mjs';

const database = await mariadb('reverb_server');
database.run(dump());
const others = 'SELECT * FROM migrations; SELECT * FROM users; SELECT * FROM sessions; SELECT * FROM cache; SELECT * FROM jobs';
const before = { apps: database.run('SELECT * FROM reverb_apps'), others: database.run(others) };

const env = {
  APP_KEY, APP_PREVIOUS_KEYS, DB_CONNECTION: 'mysql', DB_HOST: '127.0.0.1', DB_PORT: String(database.port),
  DB_DATABASE: 'reverb_server', DB_USERNAME: 'root', REVERB_DATABASE_URL: 'laravel',
};
const server = await serve({ env, backendOf: APPS });
const cli = (...args) => execFileSync(binary, args, { env, cwd: server.folder, encoding: 'utf8' });
const find = (id) => APPS.find((app) => app.id.startsWith(`app-${id}-`));

for (const app of APPS.filter(({ usable }) => usable)) {
  test(`${app.id}, ${app.stored}: pusher-js connects, and the pusher package publishes to a private channel`, async (t) => {
    const client = await connect(t, server, app);
      const events = await subscribe(client, 'private-orders');
    await server.sdk(app).trigger('private-orders', 'paid', { total: 7 });
    assert.deepEqual(await events.next('paid'), { total: 7 });
  });
}

for (const app of APPS.filter(({ usable }) => !usable)) {
  test(`${app.id}, ${app.stored}: pusher-js is told ${app.code}`, async (t) => {
    const codes = errorCodes(open(t, server, app));
    assert.equal(await codes.next('error'), app.code);
  });
}

test('opening and serving it has changed nothing of what was there', () => {
  assert.equal(database.run('SELECT * FROM reverb_apps'), before.apps);
  assert.equal(database.run(others), before.others);
});

test('the apps that cannot be used, and why, are in the list and in the log', () => {
  const listed = JSON.parse(cli('app', 'list', '--json'));
  assert.deepEqual(listed.filter(({ unreadable }) => unreadable).map(({ id }) => id), [find('lost').id]);
  assert.match(server.log, /app-lost-i9j0.*APP_KEY/);
  assert.match(server.log, /lets nobody in from a browser.*app-none-k1l2/);
});

test('what its panel changes is in force within a second, for whom it concerns', async (t) => {
  const [shop, news] = [find('shop'), find('news')];
  const [client, neighbour] = [await connect(t, server, shop), await connect(t, server, news)];
  const codes = errorCodes(client);
  const since = performance.now();
  database.run(`UPDATE reverb_apps SET is_active = 0 WHERE app_id = '${shop.id}'`);
  assert.equal(await codes.next('error'), 4003);
  assert.ok(performance.now() - since < 1000, `after ${Math.round(performance.now() - since)} ms`);
  database.run(`UPDATE reverb_apps SET is_active = 1 WHERE app_id = '${shop.id}'`);
  await eventually('it may be used again', async () => {
    await server.sdk(shop).trigger('a', 'e', {});
  });
  assert.equal(neighbour.connection.state, 'connected');
});

test('what we change can be read by the product again', async () => {
  const old = find('old');
  cli('app', 'rotate-secret', old.id, '--secret', 'another-secret-0123456789', '--overlap', '30m');
  await eventually('both secrets are accepted', async () => {
    await server.sdk({ ...old, secret: 'another-secret-0123456789' }).trigger('a', 'e', {});
    await server.sdk(old).trigger('a', 'e', {});
  });
  const [stored, updated] = database.run(`SELECT app_secret, updated_at FROM reverb_apps WHERE app_id = '${old.id}'`).trim().split('\t');
  const payload = JSON.parse(Buffer.from(stored, 'base64'));
  assert.deepEqual(Object.keys(payload), ['iv', 'value', 'mac', 'tag']);
  assert.ok(Math.abs(Date.parse(`${updated.replace(' ', 'T')}Z`) - Date.now()) < 60_000, updated);
});

test('the passwords of its users are still right', () => {
  for (const { email, password, active } of USERS) {
    const verify = (input) => spawnSync(binary, ['user', 'verify', email], { env, cwd: server.folder, input, encoding: 'utf8' });
    const right = verify(password);
    assert.equal(right.status, 0, right.stderr);
    assert.equal(right.stdout.includes('inactive'), !active);
    assert.equal(verify(`${password}!`).status, 4);
  }
});
