// Connecting: who is let in, who is not, and what each is told (PROTOCOL: connection).

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { Raw, VERSIONS, connect, errorCodes, listen, open, subscribe } from './clients.mjs';
import { app, serve } from './server.mjs';
import { eventually, within } from './waiting.mjs';

const shop = app('shop');
const closed = app('closed', { active: false });
const small = app('small', { max_connections: 1 });
const guarded = app('guarded', { allowed_origins: ['shop.example', '*.shop.example'] });
const secure = app('secure', { force_tls: true });
const nobody = { id: '1', key: 'no-such-key', secret: 'x' };

const server = await serve({ apps: [shop, closed, small, guarded, secure] });

for (const [name, Client] of VERSIONS) {
  test(`${name} connects and learns its socket id`, async (t) => {
    const client = await connect(t, server, shop, { Client });
    assert.equal(client.connection.state, 'connected');
    assert.match(client.connection.socket_id, /^\d+\.\d+$/);
  });

  test(`${name} is told that its key is unknown, and stops`, (t) => isRefused(t, nobody, 4001, Client));

  test(`${name} is told that its app is disabled, and stops`, (t) => isRefused(t, closed, 4003, Client));

  test(`${name} is told that the app has all the connections it may have, and stops`, async (t) => {
    const first = await connect(t, server, small, { Client });
    await isRefused(t, small, 4004, Client);
    first.disconnect();
    await eventually('the place is free again', async () => {
      assert.equal(await connections(small), 0);
    });
    await connect(t, server, small, { Client });
  });

  test(`${name} without an Origin is no page of a guarded app, and stops`, (t) => isRefused(t, guarded, 4009, Client));

  test(`${name} asks with pusher:ping when it has heard nothing, and is answered`, async (t) => {
    const client = await connect(t, server, shop, { Client, activityTimeout: 200, pongTimeout: 5000 });
    const messages = listen(client.connection, 'message');
    assert.equal((await messages.next('message')).event, 'pusher:pong');
    assert.equal((await messages.next('message')).event, 'pusher:pong');
    assert.equal(client.connection.state, 'connected');
  });

  test(`${name} is sent to wss:// by an app that wants TLS`, async (t) => {
    const tls = createServer();
    const firstByte = new Promise((resolve) => tls.on('connection', (socket) => {
      socket.on('error', () => {}).once('data', (data) => { resolve(data[0]); socket.destroy(); });
    }));
    await new Promise((resolve) => tls.listen(0, '127.0.0.1', resolve));
    t.after(() => tls.close());
    const client = open(t, server, secure, { Client, wssPort: tls.address().port, enabledTransports: ['ws', 'wss'] });
    const codes = errorCodes(client);
    assert.equal(await codes.next('error'), 4000);
    assert.equal(await within('the client comes back with TLS', firstByte), 22, 'a TLS handshake begins with 22');
    client.disconnect();
  });
}

test('a page of an allowed origin is let in, whatever its scheme and port', async (t) => {
  for (const origin of ['https://shop.example', 'http://shop.example:8080', 'https://WWW.shop.example']) {
    await Raw.connect(t, server, guarded, { origin });
  }
});

test('a page of any other origin gets 4009', async (t) => {
  for (const origin of ['https://evil.example', 'https://shop.example.evil.example', 'https://notshop.example', 'null']) {
    await isClosed(t, `/app/${guarded.key}?protocol=7`, 4009, { origin });
  }
});

test('the first message is the greeting, its data a string', async (t) => {
  const raw = await Raw.open(t, server, `/app/${shop.key}?protocol=7&client=js&version=8.6.0&flash=false`);
  const message = await raw.next('pusher:connection_established');
  assert.deepEqual(Object.keys(message).sort(), ['data', 'event']);
  assert.equal(typeof message.data, 'string');
  const { socket_id, activity_timeout } = JSON.parse(message.data);
  assert.match(socket_id, /^\d+\.\d+$/);
  assert.equal(activity_timeout, 30);
});

test('protocols 5, 6 and 7 are spoken, and 7 is taken when none is named', async (t) => {
  for (const query of ['?protocol=5&client=java-client&version=2.4.4', '?protocol=6', '?protocol=7', '?client=js', '', '?unknown=1']) {
    await Raw.connect(t, server, shop, { query });
  }
});

test('any other protocol is refused', async (t) => {
  for (const [protocol, code] of [['3', 4007], ['8', 4007], ['seven', 4006], ['', 4006]]) {
    await isClosed(t, `/app/${shop.key}?protocol=${protocol}`, code);
  }
});

test('a sub-protocol that was offered is chosen, and none when none was', async (t) => {
  const swift = await Raw.connect(t, server, shop, { protocols: ['pusher-channels-protocol-7'] });
  assert.equal(swift.socket.protocol, 'pusher-channels-protocol-7');
  const plain = await Raw.connect(t, server, shop);
  assert.equal(plain.socket.protocol, '');
});

test('a WebSocket on another path gets 4005', (t) => isClosed(t, '/elsewhere', 4005));

test('a client that is refused while it is still talking learns why', async (t) => {
  const raw = await Raw.open(t, server, `/app/${nobody.key}?protocol=7`);
  for (let n = 0; n < 200; n++) raw.send({ event: 'pusher:subscribe', data: { channel: `c${n}`, auth: '' } });
  assert.equal((await raw.next('pusher:error')).data.code, 4001);
  assert.equal(await raw.closed(), 4001);
});

test('commands sent before the greeting has arrived are not lost', async (t) => {
  const client = open(t, server, shop);
  const orders = await subscribe(client, 'orders');
  await server.sdk(shop).trigger('orders', 'placed', { id: 1 });
  assert.deepEqual(await orders.next('placed'), { id: 1 });
});

test('pusher:ping is answered with or without data', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  for (const ping of ['{"event":"pusher:ping","data":{}}', '{"event": "pusher:ping"}', '{"event":"pusher:ping","data":""}']) {
    raw.send(ping);
    await raw.next('pusher:pong');
  }
});

test('a ping frame is answered with a pong frame', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  const pong = new Promise((resolve) => raw.socket.once('pong', resolve));
  raw.socket.ping('hello');
  assert.equal(String(await within('a pong frame', pong)), 'hello');
});

test('nonsense is answered with pusher:error, and the connection stays', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  for (const nonsense of ['{', '[]', '{"data":{}}', '{"event":"pusher:dance","data":{}}', '{"event":"hello","channel":"orders","data":{}}',
    '{"event":"pusher:subscribe","data":{}}', '{"event":"pusher:signin","data":{}}']) {
    raw.send(nonsense);
    const { data } = await raw.next('pusher:error');
    assert.equal(typeof data.message, 'string', nonsense);
    assert.ok(!(data.code >= 4200 && data.code < 4300), `${nonsense}: ${data.code} would mean "reconnect at once"`);
  }
  raw.send({ event: 'pusher:ping', data: {} });
  await raw.next('pusher:pong');
});

test('a message may come in fragments', async (t) => {
  const raw = await Raw.connect(t, server, shop);
  raw.socket.send('{"event":"pusher:subscribe",', { fin: false });
  raw.socket.ping();
  raw.socket.send('"data":{"channel":"fragments","auth":""}}', { fin: true });
  assert.equal((await raw.next('pusher_internal:subscription_succeeded')).channel, 'fragments');
});

test('a binary frame closes with 1003, an endless one with 1009', async (t) => {
  const binary = await Raw.connect(t, server, shop);
  binary.socket.send(Buffer.from([1, 2, 3]));
  assert.equal(await binary.closed(), 1003);
  const endless = await Raw.connect(t, server, shop);
  endless.send(`{"event":"pusher:ping","data":"${'x'.repeat(1_000_000)}"}`);
  assert.equal(await endless.closed(), 1009);
});

test('health checks are answered, and the SockJS fallback of old clients gets a fast 404', async () => {
  for (const path of ['/up', '/health']) assert.equal((await fetch(server.url + path)).status, 200, path);
  const fallback = await fetch(`${server.url}/pusher/app/${shop.key}/123/abcdefgh/xhr_streaming?protocol=7&t=1&n=1`, { method: 'POST' });
  assert.equal(fallback.status, 404);
  const plain = await fetch(`${server.url}/app/${shop.key}`);
  assert.ok(plain.status >= 400 && plain.status < 500, `a GET without an upgrade gets ${plain.status}`);
});

/** pusher-js hears this code, stops, and does not try again. */
async function isRefused(t, app, code, Client) {
  const client = open(t, server, app, { Client });
  const codes = errorCodes(client);
  const retries = listen(client.connection, 'connecting_in', 'connecting');
  const stopped = listen(client.connection, 'disconnected');
  assert.equal(await codes.next('error'), code);
  await stopped.next('disconnected');
  // A retry would have begun by the time a newcomer is through.
  await connect(t, server, shop, { Client });
  assert.deepEqual(retries.untaken, []);
  assert.equal(client.connection.state, 'disconnected');
}

/** The upgrade succeeds, `pusher:error` tells the code, and the close frame repeats it. */
async function isClosed(t, path, code, options) {
  const raw = await Raw.open(t, server, path, options);
  const { data } = await raw.next('pusher:error');
  assert.deepEqual([data.code, typeof data.message], [code, 'string']);
  assert.equal(await raw.closed(), code);
}

async function connections(app) {
  const response = await server.sdk(app).get({ path: '/connections' });
  return (await response.json()).connections;
}
