// Starting the server in the ways the README shows, and meeting it with the official clients.

import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Raw, connect, subscribe } from './clients.mjs';
import { Server, app } from './server.mjs';

test('without any configuration it makes an app, and prints what clients and backends need', async (t) => {
  const server = await started(t, {});
  const env = Object.fromEntries([...server.log.matchAll(/\b(REVERB_\w+)="?([^"\s]*)"?/g)].map(([, name, value]) => [name, value]));
  assert.match(env.REVERB_APP_ID, /^\d{6}$/);
  assert.equal(env.REVERB_HOST, '127.0.0.1');
  assert.equal(Number(env.REVERB_PORT), server.port);
  for (const word of ['Echo', 'Pusher(', 'curl']) assert.ok(server.log.includes(word), `a snippet for ${word}`);
  const made = { id: env.REVERB_APP_ID, key: env.REVERB_APP_KEY, secret: env.REVERB_APP_SECRET };
  await works(t, server, made);

  const printed = server.log.length;
  await server.stop();
  await server.start();
  assert.ok(!server.log.slice(printed).includes(made.secret), 'later starts keep the secret to themselves');
  await works(t, server, made);
  for (const name of await readdir(join(server.folder, 'data'))) {
    const { mode } = await stat(join(server.folder, 'data', name));
    assert.equal(mode & 0o077, 0, `${name} is for its owner alone`);
  }
});

test('an app can come from the environment, as Laravel Reverb names it', async (t) => {
  const shop = app('from-env');
  await works(t, await started(t, {
    env: { REVERB_APP_ID: shop.id, REVERB_APP_KEY: shop.key, REVERB_APP_SECRET: shop.secret },
  }), shop);
});

test('behind a path prefix both WebSockets and the HTTP API live under it', async (t) => {
  const shop = app('prefixed');
  const server = await started(t, { apps: [shop], settings: { path: '/ws' } });
  const client = await connect(t, server, shop, { wsPath: '/ws' });
  const orders = await subscribe(client, 'orders');
  const body = JSON.stringify({ name: 'placed', channels: ['orders'], data: '{"n":1}' });
  const path = `/apps/${shop.id}/events`;
  // SDKs sign the path without the prefix; hand-made backends may sign the whole.
  for (const signed of [path, `/ws${path}`]) {
    const query = server.sdk(shop).createSignedQueryString({ method: 'POST', path: signed, body });
    const response = await fetch(`${server.url}/ws${path}?${query}`, { method: 'POST', body });
    assert.equal(response.status, 200, await response.text());
    assert.deepEqual(await orders.next('placed'), { n: 1 });
  }
  const raw = await Raw.open(t, server, `/app/${shop.key}?protocol=7`);
  assert.equal((await raw.next('pusher:error')).data.code, 4005);
});

test('secrets and payloads do not reach the log', async (t) => {
  const shop = app('secretive');
  const server = await started(t, { apps: [shop], env: { RUST_LOG: 'trace' } });
  await works(t, server, shop);
  await server.sdk(shop).trigger('orders', 'placed', 'the-payload').catch(() => {});
  await server.sdk({ ...shop, secret: 'another-secret' }).trigger('orders', 'placed', 'the-payload').catch(() => {});
  await server.stop();
  for (const word of [shop.secret, 'the-payload']) assert.ok(!server.log.includes(word), `${word} is in the log`);
});

/** A server of this test's own. */
async function started(t, options) {
  const server = new Server(options);
  t.after(() => server.end());
  await server.start();
  return server;
}

/** pusher-js hears what the `pusher` package publishes. */
async function works(t, server, app) {
  const client = await connect(t, server, app);
  const orders = await subscribe(client, 'orders');
  await server.sdk(app).trigger('orders', 'placed', { id: 1 });
  assert.deepEqual(await orders.next('placed'), { id: 1 });
  client.disconnect();
}
