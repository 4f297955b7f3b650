// Starting the server in the ways the README shows, and meeting it with the official clients.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import { connect, connected, subscribe } from './clients.mjs';
import { Server, app } from './server.mjs';
import { Heard, within } from './waiting.mjs';

test('without any configuration it makes an app, and prints what clients and backends need', async (t) => {
  const server = await started(t, {});
  const env = Object.fromEntries([...server.log.matchAll(/\b(REVERB_\w+)="?([^"\s]*)"?/g)].map(([, name, value]) => [name, value]));
  assert.match(env.REVERB_APP_ID, /^\d{6}$/);
  assert.equal(env.REVERB_HOST, '127.0.0.1');
  assert.equal(Number(env.REVERB_PORT), server.port);
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

test('what it prints at first works as it stands: Echo, pusher-js and curl', async (t) => {
  const server = await started(t, {});
  const [echoCode, pusherCode, curlCode] = ['// Laravel Echo', '// pusher-js', '# curl'].map((title) => {
    const [, code] = server.log.split(/^(?=# |\/\/ |  listening )/m).find((part) => part.startsWith(title)).match(/^.*\n([^]*)/);
    return code.replace(/^import .*$/gm, '');
  });
  globalThis.window = {}; // a browser's, in which Echo looks for Pusher
  const printed = new Heard('the snippet');
  const console = { log: (data) => printed.add({ event: 'logged', data }) };
  const pusher = new Function('Pusher', 'console', `${pusherCode}; return pusher;`)(Pusher, console);
  t.after(() => pusher.disconnect());
  new Function('Echo', 'Pusher', 'console', echoCode)(Echo, Pusher, { log: () => {} });
  const echo = window.Echo;
  delete globalThis.window;
  t.after(() => echo.disconnect());
  await connected(echo.connector.pusher);
  await connected(pusher);
  const channel = pusher.channel('my-channel');
  const subscribed = new Promise((resolve) => channel.bind('pusher:subscription_succeeded', resolve));
  if (!channel.subscribed) await within('the snippet subscribes', subscribed); // it may be so already
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', curlCode]);
  assert.equal(stdout.trim(), '{}');
  assert.deepEqual(await printed.next('logged'), { hello: 'world' });
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
  const query = server.sdk(shop).createSignedQueryString({ method: 'POST', path, body });
  assert.equal((await fetch(`${server.url}${path}?${query}`, { method: 'POST', body })).status, 404);
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
