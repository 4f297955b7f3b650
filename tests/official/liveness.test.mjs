// Silence: who is asked whether it is still there, and who is let go (PROTOCOL: activity timeout, ping and pong).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, listen, subscribe } from './clients.mjs';
import { app, serve } from './server.mjs';
import { within } from './waiting.mjs';

const shop = app('shop');
const server = await serve({ apps: [shop], settings: { activity_timeout: 1 } });

for (const [name, Client] of VERSIONS) {
  test(`${name} pings after the server's activity_timeout, and lives on`, async (t) => {
    const client = await connect(t, server, shop, { Client });
    const pongs = listen(client, 'pusher:pong');
    await pongs.next('pusher:pong');
    await pongs.next('pusher:pong');
    const orders = await subscribe(client, 'orders');
    await server.sdk(shop).trigger('orders', 'placed', {});
    await orders.next('placed');
  });
}

test('a client that only listens is asked by ping frames, and its pong frames keep it alive', async (t) => {
  const java = await Raw.connect(t, server, shop, { query: '?protocol=5&client=java-client&version=2.4.4' });
  for (let n = 0; n < 3; n++) await within('a ping frame', once(java.socket, 'ping'));
  java.send({ event: 'pusher:ping', data: {} });
  await java.skipTo('pusher:pong');
});

test('a silent client is let go with 4201, though it joined nothing', async (t) => {
  const dead = await Raw.connect(t, server, shop, { autoPong: false });
  // The one test that waits for time: a second until it is asked, and the thirty in which it may answer.
  assert.equal((await dead.skipTo('pusher:error', 60_000)).data.code, 4201);
  assert.equal(await dead.closed(), 4201);
});
