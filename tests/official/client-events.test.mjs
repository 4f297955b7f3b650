// Events that clients send each other: where, how often, and what the others hear (PROTOCOL: client events).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, errorCodes, listen, subscribe } from './clients.mjs';
import { app, serve } from './server.mjs';

// Unhurried tests would trip the limit of ten a second; the one that wants to has an app of its own.
const limits = { client_events_per_second: 0 };
const members = app('members', { limits });
const off = app('off', { client_events: 'off' });
const all = app('all', { client_events: 'all', limits });
const hasty = app('hasty');

const server = await serve({ apps: [members, off, all, hasty] });
const ann = { id: '1', info: { name: 'Ann' } };
const bob = { id: 2, info: { name: 'Bob' } };

for (const [name, Client] of VERSIONS) {
  test(`${name} sends to the others of a private channel, and does not hear itself`, async (t) => {
    const [one, two] = await pair(t, members, 'private-chat', { Client });
    one.channel.trigger('client-typing', { on: true });
    assert.deepEqual(await two.next('client-typing'), { on: true });
    two.channel.trigger('client-typing', { on: false });
    // Had the sender heard itself, its own event would come first.
    assert.deepEqual(await one.next('client-typing'), { on: false });
  });

  test(`${name} learns from the server which user sent it, on a presence channel`, async (t) => {
    const [one, two] = await pair(t, members, 'presence-chat', { Client });
    const [atOne, atTwo] = [one, two].map(({ channel }) => listen(channel, 'client-typing'));
    one.channel.trigger('client-typing', { on: true });
    assert.deepEqual(await atTwo.take(), { event: 'client-typing', data: { on: true }, user_id: '1' });
    two.channel.trigger('client-typing', {});
    assert.deepEqual(await atOne.take(), { event: 'client-typing', data: {}, user_id: '2' });
  });

  test(`${name} hears its user's other tab`, async (t) => {
    const [tab, otherTab] = await pair(t, members, 'presence-tabs', { Client, users: [ann, ann] });
    tab.channel.trigger('client-typing', {});
    await otherTab.next('client-typing');
  });

  test(`${name} gets what the sender gave, whatever its type`, async (t) => {
    const [one, two] = await pair(t, members, 'private-types', { Client });
    for (const data of [{ a: [1, { b: null }] }, ['x'], 'plain text', 'Zü 😀', 7.5, true, false, null, '']) {
      one.channel.trigger('client-said', data);
      assert.deepEqual(await two.next('client-said'), data);
    }
    one.channel.trigger('client-said');
    assert.equal(await two.next('client-said'), undefined);
  });

  test(`${name} that hurries gets error 4301, as an event, and stays connected`, async (t) => {
    const [one, two] = await pair(t, hasty, `private-hurry-${name.at(-1)}`, { Client });
    const codes = errorCodes(one.client);
    for (let n = 0; n < 40; n++) one.channel.trigger('client-n', { n });
    assert.equal(await codes.next('error'), 4301);
    await server.sdk(hasty).trigger(one.channel.name, 'marker', {});
    await one.next('marker');
    assert.equal(one.client.connection.state, 'connected');
    let passed = 0;
    while ((await two.take('the marker')).event !== 'marker') passed += 1;
    assert.ok(passed >= 10 && passed < 40, `${passed} of 40 passed`);
  });
}

test('mode members: a public channel carries none', async (t) => {
  const [one, two] = await pair(t, members, 'square');
  await isRefused(one, two);
});

test('mode members: an encrypted channel carries none', async (t) => {
  const sdk = server.sdk(members);
  const [one, two] = [await Raw.connect(t, server, members), await Raw.connect(t, server, members)];
  for (const raw of [one, two]) await raw.subscribe(sdk, 'private-encrypted-chat');
  one.send({ event: 'client-typing', channel: 'private-encrypted-chat', data: {} });
  await one.next('pusher:error');
  await sdk.trigger('private-encrypted-chat', 'marker', {});
  await two.next('marker');
});

test('mode off: no channel carries any', async (t) => {
  for (const channel of ['private-chat', 'presence-chat', 'square']) {
    const [one, two] = await pair(t, off, channel);
    await isRefused(one, two);
  }
});

test('mode all: a public channel carries them too', async (t) => {
  for (const channel of ['square', 'private-chat', 'presence-chat']) {
    const [one, two] = await pair(t, all, channel);
    one.channel.trigger('client-typing', { on: true });
    assert.deepEqual(await two.next('client-typing'), { on: true });
  }
});

test('whoever is not subscribed sends nothing, in any mode', async (t) => {
  for (const app of [members, all]) {
    const sdk = server.sdk(app);
    const [stranger, member] = [await Raw.connect(t, server, app), await Raw.connect(t, server, app)];
    await member.subscribe(sdk, 'private-members');
    stranger.send({ event: 'client-typing', channel: 'private-members', data: {} });
    await stranger.next('pusher:error');
    await sdk.trigger('private-members', 'marker', {});
    await member.next('marker');
  }
});

test('fields that a client forges are dropped', async (t) => {
  const sdk = server.sdk(members);
  const [one, two] = [await Raw.connect(t, server, members), await Raw.connect(t, server, members)];
  const forged = { user_id: 'root', userId: 'root', socket_id: two.id, extra: 1 };
  for (const [channel, member, known] of [
    ['private-forged', undefined, {}],
    ['presence-forged', { user_id: 5 }, { user_id: '5' }],
  ]) {
    await one.subscribe(sdk, channel, member);
    await two.subscribe(sdk, channel, member);
    one.send({ event: 'client-typing', channel, data: { n: 1 }, ...forged });
    assert.deepEqual(await two.next('client-typing'), { event: 'client-typing', channel, data: '{"n":1}', ...known });
  }
});

test('names of the protocol cannot be sent, and other names must begin with client-', async (t) => {
  const sdk = server.sdk(members);
  const [one, two] = [await Raw.connect(t, server, members), await Raw.connect(t, server, members)];
  for (const raw of [one, two]) await raw.subscribe(sdk, 'private-names');
  for (const event of ['pusher_internal:member_added', 'pusher:subscription_succeeded', 'typing', 'clienttyping', `client-${'x'.repeat(200)}`]) {
    one.send({ event, channel: 'private-names', data: {} });
    await one.next('pusher:error');
  }
  await sdk.trigger('private-names', 'marker', {});
  await two.next('marker');
});

test('a client event is as large as a published one may be, and no larger', async (t) => {
  const [one, two] = await pair(t, members, 'private-large');
  const codes = errorCodes(one.client);
  one.channel.trigger('client-large', 'x'.repeat(10_240));
  assert.equal((await two.next('client-large')).length, 10_240);
  one.channel.trigger('client-large', 'x'.repeat(10_241));
  assert.equal((await codes.take()).event, 'error');
  one.channel.trigger('client-marker', {});
  await two.next('client-marker');
});

test('a client event is not what a cache channel keeps', async (t) => {
  const [one, two] = await pair(t, members, 'private-cache-news');
  for (const heard of [one, two]) await heard.next('pusher:cache_miss');
  one.channel.trigger('client-typing', {});
  await two.next('client-typing');
  const late = await subscribe(await connect(t, server, members, { user: ann }), 'private-cache-news');
  await late.next('pusher:cache_miss');
});

/** Two clients in one channel; what they heard up to then is taken. */
async function pair(t, app, channel, { Client, users = [ann, bob] } = {}) {
  const heard = [];
  for (const user of users) {
    const client = await connect(t, server, app, { Client, user });
    heard.push(Object.assign(await subscribe(client, channel), { app, client }));
  }
  if (channel.startsWith('presence-') && users[0] !== users[1]) await heard[0].next('pusher:member_added');
  return heard;
}

/** The sender gets an error; the other gets nothing before the next event. */
async function isRefused(one, two) {
  const errors = listen(one.client.connection, 'error');
  one.channel.trigger('client-typing', {});
  const { data } = await errors.next('error');
  assert.equal(typeof data.message, 'string');
  one.client.send_event('client-typing', {}, one.channel.name);
  await errors.next('error');
  await server.sdk(one.app).trigger(one.channel.name, 'marker', {});
  await two.next('marker');
}
