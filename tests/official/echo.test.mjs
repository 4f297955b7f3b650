// Laravel Echo, with both broadcasters (PROTOCOL: Laravel and Echo).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectEcho } from './clients.mjs';
import { app, serve } from './server.mjs';
import { Heard } from './waiting.mjs';

// Reverb lets whispers pass on public channels in this mode.
const shop = app('shop', { client_events: 'all' });
const server = await serve({ apps: [shop] });
const sdk = server.sdk(shop);
const ann = { id: '1', info: { name: 'Ann' } };
const bob = { id: '2', info: { name: 'Bob' } };

for (const broadcaster of ['reverb', 'pusher']) {
  const echoOf = (t, user, options) => connectEcho(t, server, shop, { broadcaster, user, ...options });

  test(`${broadcaster}: Echo is connected and knows its socket id`, async (t) => {
    const echo = await echoOf(t, ann);
    assert.match(echo.socketId(), /^\d+\.\d+$/);
    assert.equal(echo.connectionStatus(), 'connected');
  });

  test(`${broadcaster}: events of Laravel are heard by class, by alias, and all together`, async (t) => {
    const echo = await echoOf(t, ann);
    const channel = echo.channel('orders');
    const heard = await hears(channel, (tell) => channel
      .listen('OrderShipped', tell('class'))
      .listen('Shop.Orders.Paid', tell('nested'))
      .listen('.order.sent', tell('alias'))
      .listenToAll((event, data) => tell(`all ${event}`)(data)));
    await sdk.trigger('orders', 'App\\Events\\OrderShipped', { id: 1 });
    assert.deepEqual(await heard.next('all OrderShipped'), { id: 1 });
    assert.deepEqual(await heard.next('class'), { id: 1 });
    await sdk.trigger('orders', 'App\\Events\\Shop\\Orders\\Paid', { id: 2 });
    await heard.skipTo('nested');
    await sdk.trigger('orders', 'order.sent', { id: 3 });
    await heard.skipTo('alias');
    channel.stopListening('.order.sent').stopListeningToAll();
    await sdk.trigger('orders', 'order.sent', {});
    await sdk.trigger('orders', 'App\\Events\\OrderShipped', {});
    await heard.next('class');
  });

  test(`${broadcaster}: a private channel, its notifications and whispers`, async (t) => {
    const [one, two] = [await echoOf(t, ann), await echoOf(t, bob)];
    const atOne = one.private('App.Models.User.1');
    const atTwo = two.private('App.Models.User.1');
    const [first, second] = await Promise.all([atOne, atTwo].map((channel) => hears(channel, (tell) => channel
      .listen('OrderShipped', tell('event'))
      .notification(tell('notification'))
      .listenForWhisper('typing', tell('whisper')))));
    await sdk.trigger('private-App.Models.User.1', 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', { id: 'n1', type: 'Paid' });
    for (const heard of [first, second]) assert.deepEqual(await heard.next('notification'), { id: 'n1', type: 'Paid' });
    atOne.whisper('typing', { on: true });
    assert.deepEqual(await second.next('whisper'), { on: true });
    // As broadcast(...)->toOthers() does it, with the X-Socket-Id of the one who caused it.
    await sdk.trigger('private-App.Models.User.1', 'App\\Events\\OrderShipped', { id: 1 }, { socket_id: two.socketId() });
    await sdk.trigger('private-App.Models.User.1', 'App\\Events\\OrderShipped', { id: 2 });
    assert.deepEqual(await first.next('event'), { id: 1 });
    assert.deepEqual(await first.next('event'), { id: 2 });
    assert.deepEqual(await second.next('event'), { id: 2 });
  });

  test(`${broadcaster}: joining a room shows who is here, joining and leaving`, async (t) => {
    const one = await echoOf(t, ann);
    const room = one.join('room');
    const heard = new Heard('Ann');
    const tell = (event) => (data) => heard.add({ event, data });
    room.here(tell('here')).joining(tell('joining')).leaving(tell('leaving')).listenForWhisper('typing', tell('whisper')).listen('.said', tell('said'));
    assert.deepEqual(await heard.next('here'), [ann.info]);

    const two = await echoOf(t, bob);
    const here = new Heard('Bob');
    const roomOfTwo = two.join('room').here((members) => here.add({ event: 'here', data: members }));
    assert.deepEqual(await here.next('here'), [ann.info, bob.info]);
    assert.deepEqual(await heard.next('joining'), bob.info);
    roomOfTwo.whisper('typing', { on: true });
    assert.deepEqual(await heard.next('whisper'), { on: true });
    await sdk.trigger('presence-room', 'said', 'hello');
    assert.equal(await heard.next('said'), 'hello');
    two.leave('room');
    assert.deepEqual(await heard.next('leaving'), bob.info);
    two.join('room');
    await heard.next('joining');
    two.disconnect();
    assert.deepEqual(await heard.next('leaving'), bob.info);
  });

  test(`${broadcaster}: an encrypted channel is readable`, async (t) => {
    const echo = await echoOf(t, ann);
    const channel = echo.encryptedPrivate('notes');
    const heard = await hears(channel, (tell) => channel.listen('.written', tell('written')));
    await sdk.trigger('private-encrypted-notes', 'written', { text: 'secret' });
    assert.deepEqual(await heard.next('written'), { text: 'secret' });
  });

  test(`${broadcaster}: leaving ends the events`, async (t) => {
    const echo = await echoOf(t, ann);
    const left = echo.private('left');
    const atLeft = await hears(left, (tell) => left.listen('.placed', tell('placed')));
    await sdk.trigger('private-left', 'placed', {});
    await atLeft.next('placed');
    echo.leave('left');
    echo.leave('never-joined');
    const kept = echo.channel('kept');
    const atKept = await hears(kept, (tell) => kept.listen('.marker', tell('marker')));
    await sdk.trigger('private-left', 'placed', {});
    await sdk.trigger('kept', 'marker', {});
    await atKept.next('marker');
    assert.deepEqual(atLeft.untaken, []);
    const { occupied } = await (await sdk.get({ path: '/channels/private-left' })).json();
    assert.equal(occupied, false);
  });

  test(`${broadcaster}: error() is called when the application says no, and when the signature is wrong`, async (t) => {
    const echo = await echoOf(t, ann);
    const heard = new Heard('Echo');
    echo.private('forbidden').error((error) => heard.add({ event: 'error', data: error }));
    assert.equal((await heard.next('error')).status, 403);
    const forger = await echoOf(t, ann, { auth: { headers: {}, params: { forge: true } } });
    forger.private('orders').error((error) => heard.add({ event: 'error', data: error }));
    assert.deepEqual(pick(await heard.next('error')), { type: 'AuthError', status: 401 });
  });

  test(`${broadcaster}: a whisper passes on a public channel, in mode all`, async (t) => {
    const [one, two] = [await echoOf(t, ann), await echoOf(t, bob)];
    const [atOne, atTwo] = [one.channel('square'), two.channel('square')];
    const [, heard] = await Promise.all([
      hears(atOne, () => {}),
      hears(atTwo, (tell) => atTwo.listenForWhisper('typing', tell('whisper'))),
    ]);
    atOne.subscription.trigger('client-typing', { on: true });
    assert.deepEqual(await heard.next('whisper'), { on: true });
  });

  test(`${broadcaster}: signing in brings the user's own events`, async (t) => {
    const echo = await echoOf(t, ann);
    const heard = new Heard('Echo');
    echo.connector.pusher.user.bind('invited', (data) => heard.add({ event: 'invited', data }));
    const subscribed = new Heard('Echo');
    echo.connector.pusher.connection.bind('message', ({ event, channel }) => subscribed.add({ event: channel ?? event }));
    echo.connector.signin();
    await subscribed.skipTo(`#server-to-user-${ann.id}`);
    await sdk.sendToUser(ann.id, 'invited', { to: 'tea' });
    assert.deepEqual(await heard.next('invited'), { to: 'tea' });
  });
}

/** What the listeners that `bind` attaches are told, once the channel is subscribed. */
async function hears(channel, bind) {
  const heard = new Heard(channel.name);
  const subscribed = new Heard(channel.name);
  channel.subscribed(() => subscribed.add({ event: 'subscribed' }));
  await subscribed.next('subscribed');
  bind((event) => (data) => heard.add({ event, data }));
  return heard;
}

const pick = ({ type, status }) => ({ type, status });
