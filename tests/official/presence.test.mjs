// Presence channels: who is here, who comes, who goes; one user however many tabs (PROTOCOL: presence).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, errorCodes, subscribe, subscribing } from './clients.mjs';
import { app, serve } from './server.mjs';
import { eventually } from './waiting.mjs';

const shop = app('shop');
const tiny = app('tiny', { limits: { presence_members: 2, presence_member_bytes: 100 } });

const server = await serve({ apps: [shop, tiny] });
const sdk = server.sdk(shop);
const ann = { id: '1', info: { name: 'Ann' } };
const bob = { id: '2', info: { name: 'Zoë 😀', roles: ['admin', { of: '*' }] } };
const cid = { id: '3' };

for (const [name, Client] of VERSIONS) {
  const channel = (room) => `presence-${room}-${name.at(-1)}`;
  const enter = async (t, user, room) => {
    const client = await connect(t, server, shop, { Client, user });
    const heard = subscribing(client, channel(room));
    heard.client = client;
    heard.members = await heard.next('pusher:subscription_succeeded');
    return heard;
  };

  test(`${name} sees who is here, who comes and who goes`, async (t) => {
    const first = await enter(t, ann, 'lobby');
    assert.deepEqual([first.members.count, first.members.members, first.members.me], [1, { 1: ann.info }, { id: '1', info: ann.info }]);
    const second = await enter(t, bob, 'lobby');
    assert.deepEqual([second.members.count, second.members.members], [2, { 1: ann.info, 2: bob.info }]);
    assert.deepEqual(second.members.me, { id: '2', info: bob.info });
    assert.deepEqual(await first.next('pusher:member_added'), { id: '2', info: bob.info });
    assert.equal(first.channel.members.count, 2);

    second.client.unsubscribe(channel('lobby'));
    assert.deepEqual(await first.next('pusher:member_removed'), { id: '2', info: bob.info });
    assert.equal(first.channel.members.count, 1);

    const third = await enter(t, cid, 'lobby');
    await first.next('pusher:member_added');
    third.client.disconnect();
    assert.equal((await first.next('pusher:member_removed')).id, '3');
  });

  test(`${name} hears of a user once, however many tabs`, async (t) => {
    const witness = await enter(t, bob, 'tabs');
    const [one, two] = [await enter(t, ann, 'tabs'), await enter(t, ann, 'tabs')];
    assert.equal(two.members.count, 2);
    assert.equal((await witness.next('pusher:member_added')).id, '1');

    one.client.disconnect();
    await seats('tabs', 2);
    await marker('tabs');
    await witness.next('marker');
    await two.next('marker');

    two.client.unsubscribe(channel('tabs'));
    assert.equal((await witness.next('pusher:member_removed')).id, '1');
  });

  test(`${name} meets a member without user_info`, async (t) => {
    const first = await enter(t, cid, 'anonymous');
    assert.deepEqual(Object.keys(first.members.members), ['3']);
    await enter(t, ann, 'anonymous');
    assert.equal((await first.next('pusher:member_added')).id, '1');
  });

  test(`${name} takes integer user ids, which are the same as their text`, async (t) => {
    const witness = await enter(t, bob, 'numbers');
    const first = await enter(t, { id: 10, info: { name: 'Ten' } }, 'numbers');
    assert.deepEqual(first.members.me, { id: 10, info: { name: 'Ten' } });
    assert.deepEqual(await witness.next('pusher:member_added'), { id: '10', info: { name: 'Ten' } });
    const second = await enter(t, { id: '10', info: { name: 'Ten' } }, 'numbers');
    assert.deepEqual([second.members.count, Object.keys(second.members.members)], [2, ['2', '10']]);
    const users = await (await sdk.get({ path: `/channels/${channel('numbers')}/users` })).json();
    assert.deepEqual(users.users.map(({ id }) => id).sort(), ['10', '2']);
    await marker('numbers');
    await witness.next('marker');
  });

  test(`${name} enters as the user it signed in as, when the application sends no channel_data`, async (t) => {
    const witness = await enter(t, bob, 'signed-in');
    const client = await connect(t, server, shop, { Client, user: ann, bare: true });
    client.signin();
    const heard = subscribing(client, channel('signed-in'));
    const members = await heard.next('pusher:subscription_succeeded');
    assert.deepEqual(members.me, { id: '1', info: ann.info });
    assert.deepEqual(await witness.next('pusher:member_added'), { id: '1', info: ann.info });
  });

  /** Waits until the room has this many subscriptions: the server has noticed who went. */
  async function seats(room, wanted) {
    await eventually(`${wanted} subscriptions`, async () => {
      const response = await sdk.get({ path: `/channels/${channel(room)}`, params: { info: 'subscription_count' } });
      assert.equal((await response.json()).subscription_count, wanted);
    });
  }

  async function marker(room) {
    await sdk.trigger(channel(room), 'marker', {});
  }
}

test('the snapshot has string ids, and an entry for each', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  await raw.subscribe(sdk, 'presence-raw', { user_id: 7 });
  const other = await Raw.connect(t, server, shop);
  const { data } = await other.subscribe(sdk, 'presence-raw', { user_id: 'x', user_info: { n: 1 } });
  assert.equal(typeof data, 'string');
  const { presence } = JSON.parse(data);
  assert.equal(presence.count, 2);
  assert.deepEqual(presence.ids.toSorted(), ['7', 'x']);
  assert.deepEqual(Object.keys(presence.hash).sort(), ['7', 'x']);
  assert.deepEqual(presence.hash.x, { n: 1 });
  const added = await raw.next('pusher_internal:member_added');
  assert.deepEqual(JSON.parse(added.data), { user_id: 'x', user_info: { n: 1 } });
});

test('channel_data needs a user_id', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  for (const member of [{}, { user_id: null }, { user_id: '' }, { user_id: [1] }, { user_id: true }, { user_id: { id: 1 } }, 'text', [1]]) {
    const { auth, channel_data } = sdk.authorizeChannel(raw.id, 'presence-strict', member);
    raw.send({ event: 'pusher:subscribe', data: { channel: 'presence-strict', auth, channel_data } });
    await raw.next('pusher:error');
    await raw.next('pusher:subscription_error');
  }
});

test('a full room refuses a new user, but not the tab of one who is in', async (t) => {
  const channel = 'presence-full';
  const atFirst = await subscribe(await connect(t, server, tiny, { user: ann }), channel);
  const second = await connect(t, server, tiny, { user: bob });
  await subscribe(second, channel);
  await atFirst.next('pusher:member_added');

  const late = await connect(t, server, tiny, { user: cid });
  const { type, error, status } = await subscribing(late, channel).next('pusher:subscription_error');
  assert.deepEqual([type, status], ['LimitReached', 4100]);
  assert.match(error, /presence_members/);
  await subscribe(await connect(t, server, tiny, { user: ann }), channel);

  second.unsubscribe(channel);
  await atFirst.next('pusher:member_removed');
  await subscribe(await connect(t, server, tiny, { user: cid }), channel);
});

test('a member may say so much and no more', async (t) => {
  const client = await connect(t, server, tiny, { user: { id: '1', info: { name: 'x'.repeat(100) } } });
  const codes = errorCodes(client);
  const { error } = await subscribing(client, 'presence-talkative').next('pusher:subscription_error');
  assert.match(error, /presence_member_bytes/);
  assert.equal((await codes.take()).event, 'error');
  await subscribe(client, 'still-here');
});

test('twenty users who come and go at once leave a true list', async (t) => {
  const channel = 'presence-rush';
  const witness = await subscribe(await connect(t, server, shop, { user: { id: 'witness' } }), channel);
  const clients = await Promise.all(Array.from({ length: 20 }, async (_, n) => {
    const client = await connect(t, server, shop, { user: { id: `u${n}` } });
    const heard = await subscribe(client, channel);
    return { client, heard };
  }));
  for (const { client } of clients.slice(0, 10)) client.disconnect();
  const here = new Set();
  for (let changes = 0; changes < 30; changes++) {
    const { event, data: { id } } = await witness.take('a change');
    assert.equal(event, here.has(id) ? 'pusher:member_removed' : 'pusher:member_added', id);
    if (!here.delete(id)) here.add(id);
  }
  assert.deepEqual([...here].sort(), Array.from({ length: 10 }, (_, n) => `u${n + 10}`).sort());
  assert.equal(witness.channel.members.count, 11);
});
