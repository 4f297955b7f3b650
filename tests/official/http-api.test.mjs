// The HTTP API through the official npm package (PROTOCOL: HTTP API).

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { test } from 'node:test';
import { connect, signIn, subscribe } from './clients.mjs';
import { app, sdk as sdkFor, serve } from './server.mjs';

const shop = app('shop');
const closed = app('closed', { active: false });
const quiet = app('quiet');
const slowWriter = app('slow-writer', { limits: { events_per_second: 5 } });
const slowReader = app('slow-reader', { limits: { reads_per_second: 5 } });
const strict = app('strict', {
  limits: { event_name_length: 10, event_bytes: 100, channels_per_event: 2, batch_size: 3, channel_name_length: 20 },
});

const server = await serve({ apps: [shop, closed, quiet, slowWriter, slowReader, strict] });
const sdk = server.sdk(shop);
const ann = { id: '1', info: { name: 'Ann' } };
const bob = { id: '2' };

test('a trigger is answered with {}, as JSON, with status 200', async () => {
  const response = await sdk.trigger('nobody-here', 'placed', { id: 1 });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^application\/json/);
  assert.equal(await response.text(), '{}');
  assert.deepEqual(await (await sdk.triggerBatch([{ channel: 'nobody-here', name: 'placed', data: {} }])).json(), {});
  assert.deepEqual(await (await sdk.terminateUserConnections('nobody')).json(), {});
  assert.deepEqual(await (await sdk.sendToUser('nobody', 'invited', {})).json(), {});
});

test('a trigger tells about its channels, when asked', async (t) => {
  await subscribe(await connect(t, server, shop), 'info-public');
  for (const user of [ann, ann, bob]) await subscribe(await connect(t, server, shop, { user }), 'presence-info');
  const info = 'user_count,subscription_count';
  const channels = ['info-public', 'presence-info', 'info-empty', 'presence-info-empty'];
  assert.deepEqual(await (await sdk.trigger(channels, 'placed', {}, { info })).json(), {
    channels: {
      'info-public': { subscription_count: 1 },
      'presence-info': { user_count: 2, subscription_count: 3 },
      'info-empty': { subscription_count: 0 },
      'presence-info-empty': { user_count: 0, subscription_count: 0 },
    },
  });
  assert.deepEqual(await (await sdk.triggerBatch([
    { channel: 'info-public', name: 'placed', data: {} },
    { channel: 'presence-info', name: 'placed', data: {}, info: 'user_count' },
    { channel: 'info-public', name: 'placed', data: {}, info: 'subscription_count' },
  ])).json(), { batch: [{}, { user_count: 2 }, { subscription_count: 1 }] });
});

test('an app without connections has {} channels', async () => {
  assert.equal(await text(server.sdk(quiet), '/channels'), '{"channels":{}}');
  assert.equal(await text(server.sdk(quiet), '/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), '{"channels":{}}');
  assert.deepEqual(await get(server.sdk(quiet), '/connections'), { connections: 0 });
});

test('the channels in use are listed, by prefix when asked, and the users\' own are not', async (t) => {
  const prefix = 'list-';
  const client = await connect(t, server, shop, { user: ann });
  await signIn(client);
  await subscribe(client, 'list-a');
  await subscribe(client, 'list-b');
  await subscribe(client, 'presence-list');
  await subscribe(await connect(t, server, shop, { user: bob }), 'presence-list');
  const { channels } = await get(sdk, '/channels');
  for (const name of ['list-a', 'list-b', 'presence-list']) assert.deepEqual(channels[name], {}, name);
  assert.deepEqual(Object.keys(channels).filter((name) => name.startsWith('#')), []);
  assert.deepEqual(await get(sdk, '/channels', { filter_by_prefix: prefix }), { channels: { 'list-a': {}, 'list-b': {} } });
  assert.deepEqual(await get(sdk, '/channels', { filter_by_prefix: 'presence-list', info: 'user_count' }), {
    channels: { 'presence-list': { user_count: 2 } },
  });
  assert.deepEqual(await get(sdk, '/channels', { filter_by_prefix: prefix, info: 'subscription_count' }), {
    channels: { 'list-a': { subscription_count: 1 }, 'list-b': { subscription_count: 1 } },
  });
});

test('users are counted on presence channels only', async () => {
  await fails(sdk.get({ path: '/channels', params: { info: 'user_count' } }), 400, /presence/);
  await fails(sdk.get({ path: '/channels', params: { filter_by_prefix: 'list-', info: 'user_count' } }), 400, /presence/);
  await fails(sdk.get({ path: '/channels/orders', params: { info: 'user_count' } }), 400, /presence/);
  await fails(sdk.get({ path: '/channels/orders/users' }), 400, /presence/);
});

test('a channel tells whether it is occupied, and what was asked', async (t) => {
  assert.deepEqual(await get(sdk, '/channels/one-empty'), { occupied: false });
  assert.deepEqual(await get(sdk, '/channels/one-empty', { info: 'subscription_count' }), { occupied: false, subscription_count: 0 });
  for (const user of [ann, ann, bob]) await subscribe(await connect(t, server, shop, { user }), 'presence-one@x;y=z,1');
  assert.deepEqual(await get(sdk, '/channels/presence-one@x;y=z,1', { info: 'user_count,subscription_count' }), {
    occupied: true, user_count: 2, subscription_count: 3,
  });
  assert.deepEqual(await get(sdk, '/channels/presence-one@x;y=z,1'), { occupied: true });
});

test('a presence channel lists its users, each once', async (t) => {
  assert.deepEqual(await get(sdk, '/channels/presence-nobody/users'), { users: [] });
  for (const user of [ann, ann, { id: 2 }]) await subscribe(await connect(t, server, shop, { user }), 'presence-somebody');
  const { users } = await get(sdk, '/channels/presence-somebody/users');
  assert.deepEqual(users.map(({ id }) => id).sort(), ['1', '2']);
});

test('a cache channel shows what it keeps', async () => {
  assert.deepEqual(await get(sdk, '/channels/cache-shown', { info: 'cache' }), { occupied: false, cache: null });
  await sdk.trigger('cache-shown', 'changed', { sky: 'blue' });
  const { occupied, cache } = await get(sdk, '/channels/cache-shown', { info: 'cache' });
  assert.deepEqual([occupied, cache.data], [false, '{"sky":"blue"}']);
  assert.ok(cache.ttl > 1700 && cache.ttl <= 1800, `${cache.ttl} of 1800 seconds are left`);
  await fails(sdk.get({ path: '/channels/orders', params: { info: 'cache' } }), 400, /cache/);
});

test('every open connection counts, subscribed or not', async (t) => {
  const counted = server.sdk(quiet);
  for (let n = 1; n <= 3; n++) {
    await connect(t, server, quiet);
    assert.deepEqual(await get(counted, '/connections'), { connections: n });
  }
});

test('a wrong secret, key or app is refused with the reason', async () => {
  const publish = (app) => server.sdk(app).trigger('orders', 'placed', {});
  // The string to sign, in Pusher's words, helps those who debug.
  await fails(publish({ ...shop, secret: 'wrong' }), 401, /Invalid signature.*"POST\\n\/apps\/\d+\/events\\nauth_key=/);
  await fails(publish({ ...shop, key: 'wrong' }), 401);
  await fails(publish({ ...shop, key: closed.key, secret: closed.secret }), 401);
  await fails(publish({ ...shop, id: '999999' }), 404, /999999/);
  await fails(publish(closed), 403, /disabled/i);
  await fails(sdk.get({ path: '/no-such-thing' }), 404);
  const unsigned = await fetch(`${server.url}/apps/${shop.id}/channels`);
  assert.equal(unsigned.status, 401);
  assert.equal(typeof (await unsigned.json()).error, 'string');
});

test('what was signed cannot be changed, nor sent much later', async () => {
  const path = `/apps/${shop.id}/events`;
  const body = JSON.stringify({ name: 'placed', channels: ['orders'], data: '{}' });
  const post = (query, sent = body) => fetch(`${server.url}${path}?${query}`, { method: 'POST', body: sent });
  const query = sdk.createSignedQueryString({ method: 'POST', path, body });
  assert.equal((await post(query)).status, 200);
  assert.equal((await post(query, body.replace('orders', 'others'))).status, 401);
  assert.equal((await post(query.replace(/body_md5=\w+/, 'body_md5=d41d8cd98f00b204e9800998ecf8427e'), '')).status, 401);
  assert.equal((await post(sdk.createSignedQueryString({ method: 'POST', path }))).status, 401, 'a body needs its body_md5');
  const now = Date.now;
  for (const [seconds, status] of [[590, 200], [-590, 200], [610, 401], [-610, 401]]) {
    Date.now = () => now() + seconds * 1000;
    const late = sdk.createSignedQueryString({ method: 'POST', path, body });
    Date.now = now;
    assert.equal((await post(late)).status, status, `${seconds} s`);
  }
});

test('limits are named by those whom they stop', async (t) => {
  const narrow = server.sdk(strict);
  await fails(narrow.trigger('orders', 'x'.repeat(11), {}), 400, /event_name_length/);
  await fails(narrow.trigger('x'.repeat(21), 'placed', {}), 400, /channel_name_length/);
  await fails(narrow.trigger(['a', 'b', 'c'], 'placed', {}), 400, /channels_per_event/);
  await fails(narrow.trigger('orders', 'placed', 'x'.repeat(101)), 413, /event_bytes/);
  await fails(narrow.triggerBatch(batch(4)), 400, /batch_size/);
  await narrow.trigger(['a', 'b'], 'x'.repeat(10), 'x'.repeat(100));
  await narrow.triggerBatch(batch(3));

  const heard = await subscribe(await connect(t, server, shop), 'large');
  await sdk.trigger('large', 'x'.repeat(200), 'ü'.repeat(5120));
  assert.equal((await heard.next('x'.repeat(200))).length, 5120);
  await fails(sdk.trigger('large', 'placed', 'ü'.repeat(5121)), 413, /event_bytes/);
  await fails(sdk.triggerBatch(batch(11)), 400, /batch_size/);
  const names = Array.from({ length: 100 }, (_, n) => `${'x'.repeat(190)}-${n}`);
  await sdk.trigger(names, 'placed', 'x'.repeat(10_240));
  await fails(sdk.post({ path: '/events', body: { name: 'placed', channels: [...names, 'more'], data: '{}' } }), 400, /channels_per_event/);
});

test('a batch with one bad event sends none', async (t) => {
  const heard = await subscribe(await connect(t, server, shop), 'batched');
  const good = { channel: 'batched', name: 'placed', data: {} };
  for (const [bad, status] of [
    [{ ...good, channel: 'bad name' }, 400], [{ ...good, name: 'x'.repeat(201) }, 400], [{ ...good, data: 'x'.repeat(10_241) }, 413],
    [{ ...good, socket_id: 'abc' }, 400], [{ ...good, name: 'pusher:ping' }, 400],
  ]) {
    await fails(sdk.triggerBatch([{ ...good }, bad, { ...good }]), status);
  }
  await sdk.trigger('batched', 'marker', {});
  await heard.next('marker');
});

test('requests that make no sense get 400 and a reason', async () => {
  const events = (body) => sdk.post({ path: '/events', body });
  const good = { name: 'placed', channels: ['orders'], data: '{}' };
  for (const body of [
    { ...good, name: undefined }, { ...good, name: '' }, { ...good, channels: undefined }, { ...good, channels: [] },
    { ...good, channels: [1] }, { ...good, channels: ['bad name'] }, { ...good, data: undefined }, { ...good, socket_id: 'abc' },
    { ...good, name: 'pusher:error' }, { ...good, name: 'pusher_internal:member_added' }, [good], 'text', 1,
  ]) {
    await fails(events(body), 400);
  }
  await fails(sdk.post({ path: '/batch_events', body: { batch: [] } }), 400);
  await fails(sdk.post({ path: '/batch_events', body: {} }), 400);
  const path = `/apps/${shop.id}/events`;
  const broken = '{"name":';
  const response = await fetch(`${server.url}${path}?${sdk.createSignedQueryString({ method: 'POST', path, body: broken })}`, { method: 'POST', body: broken });
  assert.equal(response.status, 400);
});

test('what other packages send is understood too', async (t) => {
  const heard = await subscribe(await connect(t, server, shop), 'liberal');
  const good = { name: 'placed', data: '{"n":1}' };
  for (const body of [
    { ...good, channel: 'liberal' },
    { ...good, channels: ['liberal'], channel: null, socket_id: null, info: null, idempotency_key: 'x' },
    { ...good, channels: ['liberal'], data: { n: 1 } },
    { ...good, channels: ['liberal', 'liberal'] },
    { ...good, channels: ['liberal'], socket_id: '1.1' },
  ]) {
    await sdk.post({ path: '/events', body });
    assert.deepEqual(await heard.next('placed'), { n: 1 }, JSON.stringify(body));
  }
  await sdk.trigger('liberal', 'App\\Events\\OrderShipped', {});
  await heard.next('App\\Events\\OrderShipped');
  await sdk.trigger('liberal', 'client-from-server', {});
  await heard.next('client-from-server');
});

test('who publishes or reads too fast gets 429, as a limit of the app', async () => {
  const publish = await Promise.allSettled(Array.from({ length: 20 }, () => server.sdk(slowWriter).trigger('orders', 'placed', {})));
  const read = await Promise.allSettled(Array.from({ length: 20 }, () => server.sdk(slowReader).get({ path: '/channels' })));
  for (const [results, limit] of [[publish, /events_per_second/], [read, /reads_per_second/]]) {
    const refused = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
    assert.ok(refused.length >= 5 && refused.length <= 15, `${refused.length} of 20 were refused`);
    for (const error of refused) {
      assert.equal(error.status, 429);
      assert.match(error.body, limit);
    }
  }
});

test('one connection carries many requests', async (t) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const reusing = sdkFor(server.port, shop, { agent });
  const sockets = new Set();
  agent.on('free', (socket) => sockets.add(socket.localPort));
  for (let n = 0; n < 10; n++) await (await reusing.trigger('orders', 'placed', { n })).text();
  for (let n = 0; n < 10; n++) await (await reusing.get({ path: '/channels' })).text();
  assert.equal(sockets.size, 1, `${sockets.size} connections`);
});

const batch = (size) => Array.from({ length: size }, (_, n) => ({ channel: 'batch', name: 'placed', data: { n } }));

async function text(sdk, path, params) {
  return (await sdk.get({ path, params })).text();
}

async function get(sdk, path, params) {
  return (await sdk.get({ path, params })).json();
}

/** The request is refused with this status, and a JSON body whose `error` says why. */
async function fails(request, status, reason = /./) {
  const error = await request.then(() => assert.fail(`${status} was expected`), (error) => error);
  assert.equal(error.status, status, `${error.message}: ${error.body}`);
  const { error: why } = JSON.parse(error.body);
  assert.match(why, reason);
  return error;
}
