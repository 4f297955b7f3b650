// Users: signing in, their own events, ending their connections, watching each other (PROTOCOL: users).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, errorCodes, listen, signIn, subscribe } from './clients.mjs';
import { app, serve } from './server.mjs';

const shop = app('shop');
const other = app('other');
const unwatched = app('unwatched', { watchlist: false });

const server = await serve({ apps: [shop, other, unwatched] });
const sdk = server.sdk(shop);

let last = 0;
/** A user whom no other test knows. */
const someone = (more = {}) => ({ id: `user-${last += 1}`, info: { name: `No ${last}` }, ...more });

for (const [name, Client] of VERSIONS) {
  test(`${name} signs in and gets its user's events once, in every tab`, async (t) => {
    const [ann, bob] = [someone(), someone()];
    const [one, two] = [await signedIn(t, ann, { Client }), await signedIn(t, ann, { Client })];
    const stranger = await signedIn(t, bob, { Client });
    assert.deepEqual(one.client.user.user_data, { id: ann.id, user_info: ann.info });

    await sdk.sendToUser(ann.id, 'invited', { to: 'tea' });
    await sdk.sendToUser(bob.id, 'marker', {});
    await sdk.sendToUser(ann.id, 'marker', {});
    for (const tab of [one, two]) {
      assert.deepEqual(await tab.events.next('invited'), { to: 'tea' });
      await tab.events.next('marker');
    }
    await stranger.events.next('marker');
  });

  test(`${name} whose user is thrown out gets 4009 and stops, and others stay`, async (t) => {
    const [ann, bob] = [someone(), someone()];
    const [one, two] = [await signedIn(t, ann, { Client }), await signedIn(t, ann, { Client })];
    const stranger = await signedIn(t, bob, { Client });
    const all = [one, two].map(({ client }) => ({
      client,
      codes: errorCodes(client),
      stopped: listen(client.connection, 'disconnected'),
      retries: listen(client.connection, 'connecting_in', 'connecting'),
    }));
    await sdk.terminateUserConnections(ann.id);
    for (const { client, codes, stopped, retries } of all) {
      assert.equal(await codes.next('error'), 4009);
      await stopped.next('disconnected');
      await connect(t, server, shop, { Client });
      assert.deepEqual(retries.untaken, []);
      assert.equal(client.connection.state, 'disconnected');
    }
    await sdk.sendToUser(bob.id, 'marker', {});
    await stranger.events.next('marker');
  });

  test(`${name} sees the users of its watchlist come and go`, async (t) => {
    const [bob, cid] = [someone(), someone()];
    const here = await signedIn(t, bob, { Client });
    const watcher = await connect(t, server, shop, { Client, user: someone({ watchlist: [bob.id, cid.id] }) });
    const watch = listen(watcher.user.watchlist, 'online', 'offline');
    await signIn(watcher);
    const state = [await watch.take(), await watch.take()].map(({ data }) => data);
    assert.deepEqual(state.find(({ name }) => name === 'online').user_ids, [bob.id]);
    assert.deepEqual(state.find(({ name }) => name === 'offline').user_ids, [cid.id]);

    const came = await signedIn(t, cid, { Client });
    assert.deepEqual((await watch.next('online')).user_ids, [cid.id]);
    const secondTab = await signedIn(t, cid, { Client });
    came.client.disconnect();
    here.client.disconnect();
    assert.deepEqual((await watch.next('offline')).user_ids, [bob.id]);
    secondTab.client.disconnect();
    assert.deepEqual((await watch.next('offline')).user_ids, [cid.id]);
  });

  test(`${name} whose sign-in is forged hears an error, and stays connected`, async (t) => {
    const ann = someone();
    const client = await connect(t, server, shop, { Client, user: ann, forge: true });
    const codes = errorCodes(client);
    const events = listen(client.user);
    client.signin();
    assert.equal(await codes.next('error'), 4009);
    await sdk.sendToUser(ann.id, 'invited', {});
    const orders = await subscribe(client, 'orders');
    await sdk.trigger('orders', 'marker', {});
    await orders.next('marker');
    assert.deepEqual(events.untaken, []);
  });
}

test('a user without connections gets nothing, and nobody else does', async () => {
  await sdk.sendToUser('nobody', 'invited', {});
  await sdk.terminateUserConnections('nobody');
});

test('throwing out a user also ends the presence connections under that name', async (t) => {
  const [ann, bob] = [someone(), someone()];
  const client = await connect(t, server, shop, { user: ann });
  await subscribe(client, 'presence-house');
  const witness = await connect(t, server, shop, { user: bob });
  const house = await subscribe(witness, 'presence-house');
  const codes = errorCodes(client);
  const stopped = listen(client.connection, 'disconnected');
  await sdk.terminateUserConnections(ann.id);
  assert.equal(await codes.next('error'), 4009);
  await stopped.next('disconnected');
  assert.equal((await house.next('pusher:member_removed')).id, ann.id);
});

test('a user id of any characters is thrown out by its name', async (t) => {
  const ann = someone({ id: 'ann@example.com,1' });
  const client = await signedIn(t, ann);
  const stopped = listen(client.client.connection, 'disconnected');
  await sdk.terminateUserConnections(ann.id);
  await stopped.next('disconnected');
});

test('users of one app are strangers in another', async (t) => {
  const ann = someone();
  const here = await signedIn(t, ann);
  const there = await connect(t, server, other, { user: ann });
  await signIn(there);
  const events = listen(there.user);
  await sdk.sendToUser(ann.id, 'invited', {});
  await here.events.next('invited');
  await server.sdk(other).sendToUser(ann.id, 'marker', {});
  await events.next('marker');
  await sdk.terminateUserConnections(ann.id);
  await server.sdk(other).sendToUser(ann.id, 'marker', {});
  await events.next('marker');
});

test('only the user hears its channel', async (t) => {
  const [ann, bob] = [someone(), someone()];
  const raw = await Raw.connect(t, server, shop);
  const channel = `#server-to-user-${ann.id}`;
  const subscription = { event: 'pusher:subscribe', data: { channel, auth: '' } };
  raw.send(subscription);
  await raw.next('pusher:error');
  await raw.next('pusher:subscription_error');
  await signInRaw(raw, bob);
  raw.send(subscription);
  await raw.next('pusher:error');
  await raw.next('pusher:subscription_error');
  await sdk.sendToUser(ann.id, 'invited', {});
  await sdk.sendToUser(bob.id, 'marker', {});
  assert.equal((await raw.next('marker')).channel, `#server-to-user-${bob.id}`);
});

test('signing in tells the user data back, as it was signed', async (t) => {
  const ann = someone({ watchlist: ['nobody'] });
  const raw = await Raw.connect(t, server, shop);
  const sent = await signInRaw(raw, ann);
  assert.equal(raw.answer.data.user_data, sent);
  const { channel, data } = await raw.next('pusher_internal:watchlist_events');
  assert.equal(channel, undefined);
  assert.deepEqual(JSON.parse(data), { events: [{ name: 'offline', user_ids: ['nobody'] }] });
});

test('a connection keeps its user: signing in again is harmless, as someone else is refused', async (t) => {
  const [ann, bob] = [someone(), someone()];
  const raw = await Raw.connect(t, server, shop);
  await signInRaw(raw, ann);
  await signInRaw(raw, ann);
  const { auth, user_data } = sdk.authenticateUser(raw.id, { id: bob.id });
  raw.send({ event: 'pusher:signin', data: { auth, user_data } });
  await raw.next('pusher:error');
  await sdk.sendToUser(bob.id, 'invited', {});
  await sdk.sendToUser(ann.id, 'marker', {});
  await raw.next('marker');
});

test('a watchlist is watched up to its hundredth user', async (t) => {
  const watchlist = Array.from({ length: 101 }, (_, n) => `watched-${n}`);
  const raw = await Raw.connect(t, server, shop);
  await signInRaw(raw, someone({ watchlist }));
  const heard = [await raw.take('a watchlist'), await raw.take('an error')];
  const error = heard.find(({ event }) => event === 'pusher:error');
  const watched = heard.find(({ event }) => event === 'pusher_internal:watchlist_events');
  assert.equal(error.data.data.code, 4302);
  assert.deepEqual(JSON.parse(watched.data.data).events, [{ name: 'offline', user_ids: watchlist.slice(0, 100) }]);
});

test('an app without watchlists shows nobody', async (t) => {
  const bob = someone();
  const watcher = await connect(t, server, unwatched, { user: someone({ watchlist: [bob.id] }) });
  const watch = listen(watcher.user.watchlist, 'online', 'offline');
  await signIn(watcher);
  const came = await connect(t, server, unwatched, { user: bob });
  await signIn(came);
  const orders = await subscribe(watcher, 'orders');
  await server.sdk(unwatched).trigger('orders', 'marker', {});
  await orders.next('marker');
  assert.deepEqual(watch.untaken, []);
});

/** A client that has signed in, and what its user hears. */
async function signedIn(t, user, options) {
  const client = await connect(t, server, shop, { user, ...options });
  const events = listen(client.user);
  await signIn(client);
  return { client, events };
}

async function signInRaw(raw, { id, info, watchlist }) {
  const { auth, user_data } = sdk.authenticateUser(raw.id, { id, user_info: info, watchlist });
  raw.send({ event: 'pusher:signin', data: { auth, user_data } });
  raw.answer = await raw.next('pusher:signin_success');
  return user_data;
}
