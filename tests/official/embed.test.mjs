// The hub within a program of one's own: the examples `axum_embed`, `axum_serve` and `chat`, met by unmodified clients.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import WebSocket from 'ws';
import { VERSIONS, connected, errorCodes, listen, subscribe, subscribing } from './clients.mjs';
import { example } from './examples.mjs';
import { sdk } from './server.mjs';
import { within } from './waiting.mjs';

const shops = [];
for (const name of ['axum_embed', 'axum_serve']) shops.push([name, await example(name, { APP_SECRET: 'shop-secret' })]);
const forBrowsers = join(dirname(fileURLToPath(import.meta.url)), 'node_modules/pusher-js/dist/web');
const chat = await example('chat', { PUSHER_JS: forBrowsers });

/** Options that send a client there. */
const to = ({ port }) => ({ cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'] });

for (const [program, shop] of shops) {
  for (const [name, Client] of VERSIONS) {
    test(`${program}: ${name} hears what a route of the program publishes`, async (t) => {
      const client = new Client('my-key', to(shop));
      t.after(() => client.disconnect());
      await connected(client);
      const orders = await subscribe(client, 'orders');
      for (let id = 1; id <= 3; id++) {
        const response = await fetch(`${shop.url}/paid`, { method: 'POST', body: JSON.stringify({ id }) });
        assert.equal(response.status, 202);
        assert.deepEqual(await orders.next('order.paid'), { id });
      }
    });
  }

  test(`${program}: a backend elsewhere publishes over HTTP, on the same port`, async (t) => {
    const client = new VERSIONS[0][1]('my-key', to(shop));
    t.after(() => client.disconnect());
    await connected(client);
    const orders = await subscribe(client, 'orders');
    const backend = sdk(shop.port, { id: '1001', key: 'my-key', secret: 'shop-secret' });
    await backend.trigger('orders', 'order.sent', { id: 1 });
    assert.deepEqual(await orders.next('order.sent'), { id: 1 });
    assert.equal((await fetch(`${shop.url}/elsewhere`)).status, 404);
  });

  test(`${program}: what the program may not publish, its route refuses`, async () => {
    const response = await fetch(`${shop.url}/paid`, { method: 'POST', body: 'x'.repeat(10 * 1024 + 1) });
    assert.equal(response.status, 502);
  });

  test(`${program}: whoever stops it sends its clients away, to come back, whoever stalls`, async (t) => {
    const mine = await example(program, { APP_SECRET: 'shop-secret' });
    const stalled = connect(mine.port, '127.0.0.1');
    t.after(() => stalled.destroy());
    // How it is cut off is not its concern.
    stalled.on('error', () => {});
    stalled.write('POST /paid HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n{');
    const client = new WebSocket(`ws://127.0.0.1:${mine.port}/app/my-key?protocol=7`);
    t.after(() => client.terminate());
    await within('a greeting', new Promise((greeted) => client.once('message', greeted)));
    const closed = new Promise((resolve) => client.once('close', resolve));
    // Five seconds for the clients, and five more for whoever has not ended.
    const stopped = mine.stop(15_000);
    assert.equal(await within('a close frame', closed), 4200);
    assert.equal(await stopped, 0);
  });
}

/** Logs in by the form; returns the cookie. */
async function logIn(name) {
  const response = await fetch(`${chat.url}/login`, { method: 'POST', body: new URLSearchParams({ name }), redirect: 'manual' });
  assert.equal(response.status, 303);
  assert.equal(response.headers.get('location'), '/chat');
  const [cookie] = response.headers.get('set-cookie').split(';');
  assert.match(cookie, /^session=[0-9a-f]{32}$/);
  return cookie;
}

/** A route of the chat, as its page calls it. */
const call = (cookie, path, options = {}) =>
  fetch(chat.url + path, { ...options, redirect: 'manual', headers: { ...(cookie && { cookie }), ...options.headers } });

/** What the page asks of `/auth`. */
const ask = (cookie, socketId, channelName) =>
  call(cookie, '/auth', { method: 'POST', body: new URLSearchParams({ socket_id: socketId, channel_name: channelName }) });

const say = (cookie, room, text) => call(cookie, `/rooms/${room}/messages`, {
  method: 'POST', body: JSON.stringify({ text }), headers: { 'content-type': 'application/json' },
});

/** A client with a cookie, as a browser has it; `undefined` is one that nobody has logged in on. */
function visitor(t, Client, cookie) {
  // Node.js has no cookies of its own: what a browser does for every request, this does for the handshake.
  Client.Runtime.createWebSocket = (url) => new WebSocket(url, { headers: cookie ? { cookie } : {} });
  const client = new Client('chat', {
    ...to(chat),
    channelAuthorization: {
      customHandler: async ({ socketId, channelName }, callback) => {
        const response = await ask(cookie, socketId, channelName);
        if (response.ok) callback(null, await response.json());
        else callback(new Error(await response.text()), null);
      },
    },
  });
  t.after(() => client.disconnect());
  return client;
}

/** Somebody who is in the chat. */
async function guest(t, Client, name) {
  const cookie = await logIn(name);
  const client = visitor(t, Client, cookie);
  await connected(client);
  const { person, rooms, inbox } = await (await call(cookie, '/me')).json();
  assert.equal(person.name, name);
  return { client, cookie, person, rooms: rooms.map(({ id }) => id), inbox };
}

for (const [name, Client] of VERSIONS) {
  test(`${name} sees who is in a room, who types, and what is said`, async (t) => {
    const ann = await guest(t, Client, `Ann ${name}`);
    const zoe = await guest(t, Client, `Zoë ${name}`);
    const atAnn = await subscribe(ann.client, 'presence-garden');
    const atZoe = subscribing(zoe.client, 'presence-garden');
    const members = await atZoe.next('pusher:subscription_succeeded');
    assert.deepEqual(members.members, {
      [ann.person.id]: { name: `Ann ${name}` }, [zoe.person.id]: { name: `Zoë ${name}` },
    });
    assert.deepEqual(await atAnn.next('pusher:member_added'), { id: zoe.person.id, info: { name: `Zoë ${name}` } });

    const typing = listen(atAnn.channel, 'client-typing');
    atZoe.channel.trigger('client-typing', {});
    assert.equal((await typing.take()).user_id, zoe.person.id);
    await atAnn.next('client-typing');

    assert.equal((await say(zoe.cookie, 'garden', '  Hello 😀 <b> ')).status, 204);
    const message = await atAnn.next('message');
    assert.deepEqual([message.text, message.from, message.room], ['Hello 😀 <b>', zoe.person, 'garden']);
    assert.deepEqual(await atZoe.next('message'), message);
    const history = await (await call(ann.cookie, '/rooms/garden/messages')).json();
    assert.deepEqual(history.at(-1), message);

    zoe.client.unsubscribe('presence-garden');
    assert.equal((await atAnn.next('pusher:member_removed')).id, zoe.person.id);
  });

  test(`${name} without a login does not come in`, async (t) => {
    for (const cookie of [undefined, 'session=0123456789abcdef0123456789abcdef']) {
      const client = visitor(t, Client, cookie);
      const codes = errorCodes(client);
      const state = listen(client.connection, 'disconnected');
      assert.equal(await codes.next('error'), 4010);
      await state.take('that it gives up');
      assert.equal((await ask(cookie, '1.1', 'presence-lobby')).status, 401);
      assert.equal((await say(cookie, 'lobby', 'Hello')).status, 401);
      assert.equal((await call(cookie, '/rooms/lobby/messages')).status, 401);
      assert.equal((await call(cookie, '/chat')).headers.get('location'), '/');
    }
  });

  test(`${name} is closed when its person logs out`, async (t) => {
    const ann = await guest(t, Client, `Ann ${name}`);
    await subscribe(ann.client, 'presence-lobby');
    const codes = errorCodes(ann.client);
    const state = listen(ann.client.connection, 'disconnected');
    assert.equal((await call(ann.cookie, '/logout', { method: 'POST' })).status, 303);
    assert.equal(await codes.next('error'), 4009);
    await state.take('that it gives up');
    assert.equal((await call(ann.cookie, '/me')).status, 401);
  });
}

test('a mention finds whom it means, and nobody else', async (t) => {
  const ada = await guest(t, VERSIONS[0][1], 'Ada');
  const zed = await guest(t, VERSIONS[0][1], 'Zed');
  const [atAda, atZed] = [await subscribe(ada.client, ada.inbox), await subscribe(zed.client, zed.inbox)];
  await say(zed.cookie, 'lobby', 'Come, @ADA!');
  const { from, text } = await atAda.next('mention');
  assert.deepEqual([from, text], [zed.person, 'Come, @ADA!']);
  // Not even by name: Zed may not see the workshop.
  await say(ada.cookie, 'workshop', '@Zed is not here');
  await say(ada.cookie, 'lobby', '@Zed');
  assert.equal((await atZed.next('mention')).text, '@Zed');
});

test('nobody sees a room that is not theirs', async (t) => {
  const zed = await guest(t, VERSIONS[0][1], 'Zed');
  assert.deepEqual(zed.rooms, ['lobby', 'garden']);
  const ada = await guest(t, VERSIONS[0][1], 'Ada');
  assert.deepEqual(ada.rooms, ['lobby', 'garden', 'workshop']);
  await subscribe(ada.client, 'presence-workshop');

  const id = zed.client.connection.socket_id;
  for (const channel of ['presence-workshop', ada.inbox, 'private-elsewhere', 'presence-cellar']) {
    assert.equal((await ask(zed.cookie, id, channel)).status, 403, channel);
  }
  for (const room of ['workshop', 'cellar']) {
    assert.equal((await say(zed.cookie, room, 'Hello')).status, 404);
    assert.equal((await call(zed.cookie, `/rooms/${room}/messages`)).status, 404);
  }
  // One who may be there signs for one who may not, or as somebody else: the hub knows whose connection it is.
  zed.client.config.channelAuthorizer = async ({ socketId, channelName }, callback) => {
    callback(null, await (await ask(ada.cookie, socketId, channelName)).json());
  };
  for (const channel of ['presence-workshop', 'presence-lobby']) {
    const refused = await subscribing(zed.client, channel).next('pusher:subscription_error');
    assert.deepEqual([refused.type, refused.status], ['AuthError', 403], channel);
  }
  // A public channel needs no signature at all.
  const gossip = await subscribing(zed.client, 'gossip').next('pusher:subscription_error');
  assert.deepEqual([gossip.type, gossip.status, gossip.error], ['AuthError', 403, 'This room is not yours']);
});

test('what is no message is refused', async () => {
  const cookie = await logIn('Ann');
  assert.equal((await say(cookie, 'lobby', '   ')).status, 422);
  assert.equal((await say(cookie, 'lobby', 'x'.repeat(2001))).status, 422);
  assert.equal((await say(cookie, 'lobby', undefined)).status, 422);
  for (const name of ['', ' ', 'x'.repeat(33)]) {
    const response = await call(undefined, '/login', { method: 'POST', body: new URLSearchParams({ name }) });
    assert.equal(response.status, 422);
  }
});

test('the page has all that it loads', async () => {
  const cookie = await logIn('Ann');
  const page = await (await call(cookie, '/chat')).text();
  const loads = [...page.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path);
  assert.deepEqual(loads, ['/chat.css', '/pusher.js', '/chat.js']);
  for (const path of loads) {
    const response = await call(undefined, path);
    assert.equal(response.status, 200, path);
    assert.match(response.headers.get('content-type'), path.endsWith('.css') ? /^text\/css/ : /^text\/javascript/);
  }
  assert.equal(await (await call(undefined, '/pusher.js')).text(), await readFile(join(forBrowsers, 'pusher.min.js'), 'utf8'));
});

test('when the program ends, clients are told to come back', async (t) => {
  const ann = await guest(t, VERSIONS[0][1], 'Ann');
  const codes = errorCodes(ann.client);
  const closed = new Promise((resolve) => ann.client.connection.bind('connecting', resolve));
  assert.equal(await chat.stop(), 0);
  assert.equal(await codes.next('error'), 4200);
  await within('it tries again', closed);
});
