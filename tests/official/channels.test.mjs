// Channels of every kind: subscribing, hearing, leaving, being refused (PROTOCOL: channels, authorization).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, errorCodes, listen, subscribe, subscribing } from './clients.mjs';
import { app, serve } from './server.mjs';

const shop = app('shop');
const other = app('other');
const counting = app('counting', { subscription_count: true });
const narrow = app('narrow', { limits: { channels_per_connection: 2 } });

const server = await serve({ apps: [shop, other, counting, narrow] });
const sdk = server.sdk(shop);
const ann = { id: '1', info: { name: 'Ann' } };
const bob = { id: '2', info: { name: 'Bob' } };

for (const [name, Client] of VERSIONS) {
  test(`${name} hears a public channel`, async (t) => {
    const client = await connect(t, server, shop, { Client });
    const orders = await subscribe(client, 'orders');
    const everything = ['text', '', 'null', 7, true, null, [1, 'two'], { deep: { er: [{}] } }, 'Zü 😀 \u2028 <&> "\\', { 'ü': '\ud83d\ude00' }];
    for (const data of everything) await sdk.trigger('orders', 'placed', data);
    // The package sends a string as it is, and pusher-js parses what parses.
    for (const data of everything) assert.deepEqual(await orders.next('placed'), data === 'null' ? null : data);
  });

  test(`${name} hears a private channel`, async (t) => {
    const client = await connect(t, server, shop, { Client, user: ann });
    const orders = await subscribe(client, 'private-orders');
    await sdk.trigger('private-orders', 'placed', { id: 1 });
    assert.deepEqual(await orders.next('placed'), { id: 1 });
  });

  test(`${name} hears an encrypted channel, whose events the server cannot read`, async (t) => {
    const client = await connect(t, server, shop, { Client, user: ann });
    const wire = listen(client.connection, 'message');
    const notes = await subscribe(client, 'private-encrypted-notes');
    await sdk.trigger('private-encrypted-notes', 'written', { text: 'for your eyes only' });
    assert.deepEqual(await notes.next('written'), { text: 'for your eyes only' });
    assert.equal((await wire.next('message')).event, 'pusher_internal:subscription_succeeded');
    assert.deepEqual(Object.keys((await wire.next('message')).data).sort(), ['ciphertext', 'nonce']);
  });

  for (const prefix of ['cache-', 'private-cache-', 'presence-cache-', 'private-encrypted-cache-']) {
    test(`${name} gets the last event of a ${prefix} channel when it comes, and is told when there is none`, async (t) => {
      const channel = `${prefix}weather-${name.at(-1)}`;
      const first = subscribing(await connect(t, server, shop, { Client, user: ann }), channel);
      await first.next('pusher:subscription_succeeded');
      await first.next('pusher:cache_miss');
      await sdk.trigger(channel, 'changed', { sky: 'grey' });
      await sdk.trigger(channel, 'changed', { sky: 'blue' });
      assert.deepEqual(await first.next('changed'), { sky: 'grey' });
      assert.deepEqual(await first.next('changed'), { sky: 'blue' });

      const second = subscribing(await connect(t, server, shop, { Client, user: ann }), channel);
      await second.next('pusher:subscription_succeeded');
      assert.deepEqual(await second.next('changed'), { sky: 'blue' });
      await sdk.trigger(channel, 'changed', { sky: 'red' });
      assert.deepEqual(await second.next('changed'), { sky: 'red' });
    });
  }

  test(`${name} learns on the channel that its signature is wrong, and keeps its connection`, async (t) => {
    const client = await connect(t, server, shop, { Client, user: ann, forge: true });
    const codes = errorCodes(client);
    for (const channel of ['private-orders', 'presence-room', 'private-encrypted-notes']) {
      const refused = subscribing(client, channel);
      const { type, error, status } = await refused.next('pusher:subscription_error');
      assert.deepEqual([type, typeof error, status], ['AuthError', 'string', 401]);
      assert.equal(await codes.next('error'), 4009);
    }
    await subscribe(client, 'orders');
  });

  test(`${name} hears how many subscribe, when the app wants that`, async (t) => {
    const channel = `crowd-${name.at(-1)}`;
    const first = await subscribe(await connect(t, server, counting, { Client }), channel);
    assert.deepEqual(await first.next('pusher:subscription_count'), { subscription_count: 1 });
    const client = await connect(t, server, counting, { Client });
    const second = await subscribe(client, channel);
    assert.deepEqual(await second.next('pusher:subscription_count'), { subscription_count: 2 });
    assert.deepEqual(await first.next('pusher:subscription_count'), { subscription_count: 2 });
    assert.equal(first.channel.subscriptionCount, 2);
    client.unsubscribe(channel);
    assert.deepEqual(await first.next('pusher:subscription_count'), { subscription_count: 1 });
  });
}

test('presence channels are not counted, and neither is anything in an app that does not want it', async (t) => {
  const room = await subscribe(await connect(t, server, counting, { user: ann }), 'presence-uncounted');
  await subscribe(await connect(t, server, counting, { user: bob }), 'presence-uncounted');
  await room.next('pusher:member_added');
  await server.sdk(counting).trigger('presence-uncounted', 'marker', {});
  await room.next('marker');
  const orders = await subscribe(await connect(t, server, shop), 'uncounted');
  await sdk.trigger('uncounted', 'marker', {});
  await orders.next('marker');
});

test('a client that has left a channel hears nothing more of it', async (t) => {
  const client = await connect(t, server, shop);
  const messages = listen(client.connection, 'message');
  await subscribe(client, 'left');
  await subscribe(client, 'kept');
  client.unsubscribe('left');
  await pongOf(client, messages);
  await sdk.trigger('left', 'placed', {});
  await sdk.trigger('kept', 'marker', {});
  assert.equal((await messages.next('message')).event, 'marker');
});

test('a client that joins, leaves and joins at once is in', async (t) => {
  const client = await connect(t, server, shop);
  await subscribe(client, 'indecisive');
  client.unsubscribe('indecisive');
  const again = await subscribe(client, 'indecisive');
  client.unsubscribe('indecisive');
  client.subscribe('indecisive');
  client.unsubscribe('indecisive');
  const last = await subscribe(client, 'indecisive');
  await sdk.trigger('indecisive', 'placed', {});
  await last.next('placed');
  assert.deepEqual(again.untaken, []);
});

test('leaving a channel twice, or one never joined, harms nobody', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  await raw.subscribe(sdk, 'orders');
  for (const channel of ['orders', 'orders', 'private-never']) raw.send({ event: 'pusher:unsubscribe', data: { channel } });
  raw.send({ event: 'pusher:ping', data: {} });
  await raw.skipTo('pusher:pong');
});

test('subscribing twice succeeds twice, and events come once', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  await raw.subscribe(sdk, 'private-double');
  await raw.subscribe(sdk, 'private-double');
  await sdk.trigger('private-double', 'placed', {});
  await sdk.trigger('private-double', 'marker', {});
  await raw.next('placed');
  await raw.next('marker');
});

test('a refusal by the application is its own affair: nothing reaches the server', async (t) => {
  const client = await connect(t, server, shop, { user: ann });
  const codes = errorCodes(client);
  const refused = subscribing(client, 'private-forbidden');
  const { type, status } = await refused.next('pusher:subscription_error');
  assert.deepEqual([type, status], ['AuthError', 403]);
  await subscribe(client, 'orders');
  assert.deepEqual(codes.untaken, []);
});

test('a signature for one channel or socket opens no other', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  const stranger = await Raw.connect(t, server, shop);
  const good = sdk.authorizeChannel(raw.id, 'private-mine').auth;
  for (const [who, channel, auth] of [
    [raw, 'private-yours', good],
    [stranger, 'private-mine', good],
    [raw, 'private-mine', `other-key:${good.split(':')[1]}`],
    [raw, 'private-mine', `${shop.key}:${good.split(':')[1].toUpperCase()}`],
    [raw, 'private-mine', 'nonsense'],
    [raw, 'private-mine', ''],
    [raw, 'presence-mine', good],
  ]) {
    who.send({ event: 'pusher:subscribe', data: { channel, auth } });
    assert.equal((await who.next('pusher:error')).data.code, 4009, `${channel} ${auth}`);
    const { channel: where, data } = await who.next('pusher:subscription_error');
    assert.deepEqual([where, data.type, data.status], [channel, 'AuthError', 401]);
  }
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-mine', auth: good } });
  await raw.next('pusher_internal:subscription_succeeded');
});

test('names are what the protocol allows', async (t) => {
  const client = await connect(t, server, shop);
  for (const name of ['App.Models.User.1', 'a_-=@,.;Z9', 'privatefoo', 'presenceX', 'my-cache-x', 'x'.repeat(200)]) {
    const channel = await subscribe(client, name);
    await sdk.trigger(name, 'placed', {});
    await channel.next('placed');
  }
  for (const name of ['with space', 'slash/', 'colon:', 'ünïcode', 'x'.repeat(201)]) {
    const refused = subscribing(client, name);
    const { error } = await refused.next('pusher:subscription_error');
    assert.equal(typeof error, 'string', name);
  }
  // pusher-js would not even try these.
  const raw = await Raw.connect(t, server, shop);
  for (const channel of ['', '#', '#hash', '#server-to-user-', '#server-to-user-1']) {
    raw.send({ event: 'pusher:subscribe', data: { channel, auth: '' } });
    await raw.next('pusher:error');
    await raw.next('pusher:subscription_error');
  }
});

test('a connection has as many channels as its app allows', async (t) => {
  const client = await connect(t, server, narrow);
  await subscribe(client, 'one');
  await subscribe(client, 'two');
  const refused = subscribing(client, 'three');
  assert.match((await refused.next('pusher:subscription_error')).error, /channels_per_connection/);
  client.unsubscribe('one');
  await subscribe(client, 'four');
});

test('the socket that caused an event can be left out', async (t) => {
  const [cause, witness] = [await connect(t, server, shop), await connect(t, server, shop)];
  const [atCause, atWitness] = [await subscribe(cause, 'echoless'), await subscribe(witness, 'echoless')];
  await sdk.trigger('echoless', 'placed', {}, { socket_id: cause.connection.socket_id });
  await sdk.triggerBatch([{ channel: 'echoless', name: 'sent', data: {}, socket_id: cause.connection.socket_id }]);
  await sdk.trigger('echoless', 'marker', {});
  await atCause.next('marker');
  for (const event of ['placed', 'sent', 'marker']) await atWitness.next(event);
});

test('one event reaches many channels, and a batch brings many events in order', async (t) => {
  const client = await connect(t, server, shop, { user: ann });
  const messages = listen(client.connection, 'message');
  await subscribe(client, 'many-a');
  await subscribe(client, 'private-many-b');
  for (let n = 0; n < 2; n++) await messages.take();
  await sdk.trigger(['many-a', 'private-many-b', 'many-nobody'], 'placed', { id: 1 });
  const heard = [await messages.next('message'), await messages.next('message')];
  assert.deepEqual(heard.map(({ event, channel }) => `${event} ${channel}`).sort(), ['placed many-a', 'placed private-many-b']);
  await sdk.triggerBatch([
    { channel: 'many-a', name: 'first', data: { n: 1 } },
    { channel: 'private-many-b', name: 'second', data: 'plain' },
    { channel: 'many-a', name: 'third', data: { n: 3 } },
  ]);
  for (const [event, channel, data] of [['first', 'many-a', { n: 1 }], ['second', 'private-many-b', 'plain'], ['third', 'many-a', { n: 3 }]]) {
    const message = await messages.next('message');
    assert.deepEqual([message.event, message.channel, message.data], [event, channel, data]);
  }
});

test('events come in the order in which they were published', async (t) => {
  const heard = await subscribe(await connect(t, server, shop), 'ordered');
  for (let n = 0; n < 200; n += 10) {
    await sdk.triggerBatch(Array.from({ length: 10 }, (_, i) => ({ channel: 'ordered', name: 'count', data: { n: n + i } })));
  }
  for (let n = 0; n < 200; n++) assert.deepEqual(await heard.next('count'), { n });
});

test('apps do not hear each other', async (t) => {
  const mine = await subscribe(await connect(t, server, shop), 'shared-name');
  const yours = await subscribe(await connect(t, server, other), 'shared-name');
  await sdk.trigger('shared-name', 'mine', {});
  await server.sdk(other).trigger('shared-name', 'yours', {});
  await mine.next('mine');
  await yours.next('yours');
  await sdk.trigger('shared-name', 'marker', {});
  await mine.next('marker');
});

/** Waits until the server has worked off everything this client has sent. */
async function pongOf(client, messages) {
  client.send_event('pusher:ping', {});
  for (;;) if ((await messages.next('message')).event === 'pusher:pong') return;
}
