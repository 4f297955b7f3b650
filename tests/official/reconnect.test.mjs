// A server that goes and comes back: clients return by themselves (PROTOCOL: close codes, 4200).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, connectEcho, connected, errorCodes, listen, signIn, subscribe } from './clients.mjs';
import { app, serve } from './server.mjs';
import { Heard } from './waiting.mjs';

const shop = app('shop');
const server = await serve({ apps: [shop] });
const sdk = server.sdk(shop);
const ann = { id: '1', info: { name: 'Ann' } };

/** pusher-js tries at once; when nobody listens yet, it tries again after 15 seconds. */
const RETURN = 60_000;

test('every client is told to reconnect at once, after what was published before', async (t) => {
  const raws = [];
  for (let n = 0; n < 20; n++) raws.push(await Raw.connect(t, server, shop));
  for (const raw of raws) await raw.subscribe(sdk, 'last-words');
  await sdk.trigger('last-words', 'goodbye', {});
  await server.stop();
  for (const raw of raws) {
    await raw.next('goodbye');
    assert.equal((await raw.next('pusher:error')).data.code, 4200);
    assert.equal(await raw.closed(), 4200);
  }
  await server.start();
});

test('after a restart', async (t) => {
  const returners = [];
  for (const [name, Client] of VERSIONS) {
    const client = await connect(t, server, shop, { Client, user: ann });
    await signIn(client);
    const channels = {};
    for (const channel of ['orders', 'private-orders', 'private-encrypted-notes', `presence-${name.at(-1)}`, 'cache-weather']) {
      channels[channel] = await subscribe(client, channel);
    }
    const signedIn = listen(client, 'pusher:signin_success');
    returners.push({ name, client, channels, signedIn, events: listen(client.user), codes: errorCodes(client), id: client.connection.socket_id });
  }
  const crowded = await connect(t, server, shop);
  const crowd = new Heard('a client with 500 channels');
  for (let n = 0; n < 500; n++) {
    crowded.subscribe(`crowd-${n}`).bind('pusher:subscription_succeeded', () => crowd.add({ event: 'subscribed' }));
  }
  for (let n = 0; n < 500; n++) await crowd.next('subscribed');
  const echo = await connectEcho(t, server, shop, { broadcaster: 'reverb', user: ann });
  const atEcho = new Heard('Echo');
  echo.private('echo').subscribed(() => atEcho.add({ event: 'subscribed' })).listen('.placed', (data) => atEcho.add({ event: 'placed', data }));
  await atEcho.next('subscribed');

  await server.stop();
  await server.start();
  await Promise.all([...returners.map(({ client }) => client), crowded, echo.connector.pusher].map((client) => connected(client, RETURN)));

  for (const { name, client, channels, signedIn, events, codes, id } of returners) {
    await t.test(`${name} has everything it had`, async () => {
      assert.equal(await codes.next('error'), 4200);
      assert.notEqual(client.connection.socket_id, id);
      for (const [channel, heard] of Object.entries(channels)) {
        await heard.skipTo('pusher:subscription_succeeded');
        await sdk.trigger(channel, 'placed', { channel });
        assert.deepEqual(await heard.skipTo('placed'), { channel });
      }
      await signedIn.next('pusher:signin_success');
      await subscribe(client, 'later');
      await sdk.sendToUser(ann.id, 'invited', {});
      await events.next('invited');
    });
  }

  await t.test('five hundred subscriptions come in one burst, and none is refused', async () => {
    for (let n = 0; n < 500; n++) await crowd.next('subscribed');
    const { channels } = await (await sdk.get({ path: '/channels', params: { filter_by_prefix: 'crowd-' } })).json();
    assert.equal(Object.keys(channels).length, 500);
  });

  await t.test('Laravel Echo listens where it did', async () => {
    await atEcho.next('subscribed');
    await sdk.trigger('private-echo', 'placed', { id: 1 });
    assert.deepEqual(await atEcho.next('placed'), { id: 1 });
  });
});
