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

test('every client is told to reconnect at once, with 4200', async (t) => {
  const raws = [];
  for (let n = 0; n < 20; n++) raws.push(await Raw.connect(t, server, shop));
  await raws[0].subscribe(sdk, 'orders');
  await server.stop();
  for (const raw of raws) {
    assert.equal((await raw.next('pusher:error')).data.code, 4200);
    assert.equal(await raw.closed(), 4200);
  }
  await server.start();
});

for (const [name, Client] of VERSIONS) {
  test(`${name} returns after a restart, with everything it had`, async (t) => {
    const client = await connect(t, server, shop, { Client, user: ann });
    await signIn(client);
    const events = listen(client.user);
    const channels = ['orders', 'private-orders', 'private-encrypted-notes', 'presence-room', 'cache-weather'];
    const heard = {};
    for (const channel of channels) heard[channel] = await subscribe(client, channel);
    const socketId = client.connection.socket_id;
    const codes = errorCodes(client);
    const signedIn = listen(client, 'pusher:signin_success');

    await server.stop();
    assert.equal(await codes.next('error'), 4200);
    await server.start();
    await connected(client);
    assert.notEqual(client.connection.socket_id, socketId);
    for (const channel of channels) {
      await heard[channel].skipTo('pusher:subscription_succeeded');
      await sdk.trigger(channel, 'placed', { channel });
      assert.deepEqual(await heard[channel].skipTo('placed'), { channel });
    }
    await signedIn.next('pusher:signin_success');
    await subscribe(client, 'later');
    await sdk.sendToUser(ann.id, 'invited', {});
    await events.next('invited');
  });
}

test('five hundred subscriptions return in one burst', async (t) => {
  const client = await connect(t, server, shop);
  const succeeded = new Heard('the client');
  for (let n = 0; n < 500; n++) {
    client.subscribe(`burst-${n}`).bind('pusher:subscription_succeeded', () => succeeded.add({ event: 'succeeded' }));
  }
  for (let n = 0; n < 500; n++) await succeeded.next('succeeded');
  await server.stop();
  await server.start();
  for (let n = 0; n < 500; n++) await succeeded.next('succeeded');
  const { channels } = await (await sdk.get({ path: '/channels', params: { filter_by_prefix: 'burst-' } })).json();
  assert.equal(Object.keys(channels).length, 500);
});

test('Laravel Echo returns after a restart', async (t) => {
  const echo = await connectEcho(t, server, shop, { broadcaster: 'reverb', user: ann });
  const heard = new Heard('Echo');
  echo.private('orders').subscribed(() => heard.add({ event: 'subscribed' })).listen('.placed', (data) => heard.add({ event: 'placed', data }));
  await heard.next('subscribed');
  await server.stop();
  await server.start();
  await heard.next('subscribed');
  await sdk.trigger('private-orders', 'placed', { id: 1 });
  assert.deepEqual(await heard.next('placed'), { id: 1 });
});

test('the last event of a request is delivered before the server goes', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  await raw.subscribe(sdk, 'last-words');
  await sdk.trigger('last-words', 'goodbye', {});
  await server.stop();
  await raw.next('goodbye');
  assert.equal((await raw.next('pusher:error')).data.code, 4200);
  await server.start();
});
