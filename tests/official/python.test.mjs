// The HTTP API through the official Python package (PROTOCOL: what each server SDK sends and needs).
//
// PYTHON names an interpreter that has python/requirements.txt installed; ./check makes one under target/.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Raw, connect, errorCodes, listen, signIn, subscribe } from './clients.mjs';
import { app, serve } from './server.mjs';
import { within } from './waiting.mjs';

const shop = app('shop');
const server = await serve({ apps: [shop] });
const ann = { id: '1', info: { name: 'Ann' } };
const bob = { id: '2' };
const masterKey = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');

test('Python triggers events on one channel and on many', async (t) => {
  const python = start(t);
  const client = await connect(t, server, shop, { user: ann });
  const [orders, mine] = [await subscribe(client, 'orders'), await subscribe(client, 'private-orders')];
  assert.deepEqual(await python.call('trigger', ['orders', 'placed', { id: 1, name: 'Zü 😀' }]), {});
  assert.deepEqual(await orders.next('placed'), { id: 1, name: 'Zü 😀' });
  await python.call('trigger', [['orders', 'private-orders'], 'App\\Events\\OrderShipped', 'text']);
  assert.equal(await orders.next('App\\Events\\OrderShipped'), 'text');
  assert.equal(await mine.next('App\\Events\\OrderShipped'), 'text');
});

test('Python leaves out the socket that caused an event', async (t) => {
  const python = start(t);
  const client = await connect(t, server, shop);
  const orders = await subscribe(client, 'orders');
  await python.call('trigger', ['orders', 'placed', {}, client.connection.socket_id]);
  await python.call('trigger', ['orders', 'marker', {}]);
  await orders.next('marker');
});

test('Python triggers a batch', async (t) => {
  const python = start(t);
  const client = await connect(t, server, shop);
  const orders = await subscribe(client, 'orders');
  const batch = [1, 2, 3].map((n) => ({ channel: 'orders', name: 'placed', data: { n } }));
  assert.deepEqual(await python.call('trigger_batch', [batch]), {});
  for (const n of [1, 2, 3]) assert.deepEqual(await orders.next('placed'), { n });
});

test('Python triggers encrypted events that pusher-js reads', async (t) => {
  const python = start(t);
  const notes = await subscribe(await connect(t, server, shop, { user: ann }), 'private-encrypted-notes');
  await python.call('trigger', ['private-encrypted-notes', 'written', { text: 'secret' }]);
  assert.deepEqual(await notes.next('written'), { text: 'secret' });
});

test('Python asks about channels and users', async (t) => {
  const python = start(t);
  assert.deepEqual(await python.call('channels_info', ['presence-']), { channels: {} });
  for (const user of [ann, ann, bob]) await subscribe(await connect(t, server, shop, { user }), 'presence-room');
  await subscribe(await connect(t, server, shop), 'orders');
  assert.deepEqual(await python.call('channels_info'), { channels: { orders: {}, 'presence-room': {} } });
  assert.deepEqual(await python.call('channels_info', ['presence-', ['user_count']]), { channels: { 'presence-room': { user_count: 2 } } });
  assert.deepEqual(await python.call('channel_info', ['presence-room', ['user_count', 'subscription_count']]), {
    occupied: true, user_count: 2, subscription_count: 3,
  });
  assert.deepEqual(await python.call('channel_info', ['nobody-here']), { occupied: false });
  const { users } = await python.call('users_info', ['presence-room']);
  assert.deepEqual(users.map(({ id }) => id).sort(), ['1', '2']);
});

test('Python throws a user out, though it forgets to say of which app', async (t) => {
  const python = start(t);
  const client = await connect(t, server, shop, { user: ann });
  await signIn(client);
  const codes = errorCodes(client);
  const stopped = listen(client.connection, 'disconnected');
  assert.deepEqual(await python.call('terminate_user_connections', [ann.id]), {});
  assert.equal(await codes.next('error'), 4009);
  await stopped.next('disconnected');
});

test('Python signs what the server believes', async (t) => {
  const python = start(t);
  const raw = await Raw.connect(t, server, shop);
  const mine = await python.call('authenticate', ['private-mine', raw.id]);
  const room = await python.call('authenticate', ['presence-room', raw.id, { user_id: 7, user_info: { name: 'Zü' } }]);
  const secret = await python.call('authenticate', ['private-encrypted-notes', raw.id]);
  for (const [channel, { auth, channel_data }] of [['private-mine', mine], ['presence-room', room], ['private-encrypted-notes', secret]]) {
    raw.send({ event: 'pusher:subscribe', data: { channel, auth, channel_data } });
    const { channel: where, data } = await raw.next('pusher_internal:subscription_succeeded');
    assert.equal(where, channel);
    if (channel_data) assert.deepEqual(JSON.parse(data).presence, { count: 1, ids: ['7'], hash: { 7: { name: 'Zü' } } });
  }
  const user = await python.call('authenticate_user', [raw.id, { id: 'u1', name: 'Zü' }]);
  raw.send({ event: 'pusher:signin', data: user });
  assert.equal((await raw.next('pusher:signin_success')).data.user_data, user.user_data);
});

test('Python signs as the protocol\'s published examples do', async (t) => {
  const python = start(t, { app_id: '3', key: '278d425bdf160c739803', secret: '7ad3773142a6692b25b8' });
  assert.deepEqual(await python.call('authenticate', ['private-foobar', '1234.1234']), {
    auth: '278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4',
  });
  const user = await python.call('authenticate', ['private-encrypted-foo', '1234.1234']);
  assert.equal(user.shared_secret, 'mi6ujdNqJtS1E+MI32Ma63nvdhVlkio2R84zbolRcMg=');
});

test('Python is told what is wrong', async (t) => {
  const forger = start(t, { secret: 'wrong' });
  const unsigned = await forger.fails('trigger', ['orders', 'placed', {}]);
  assert.equal(unsigned.type, 'PusherBadAuth');
  assert.match(unsigned.text, /signature/i);
  assert.equal((await forger.fails('channels_info')).type, 'PusherBadAuth');
  const lost = start(t, { app_id: '999999' });
  assert.match((await lost.fails('trigger', ['orders', 'placed', {}])).text, /404/);
  const python = start(t);
  assert.equal((await python.fails('users_info', ['orders'])).type, 'PusherBadRequest');
  assert.equal((await python.fails('channel_info', ['orders', ['user_count']])).type, 'PusherBadRequest');
  assert.match((await python.fails('trigger', ['orders', 'placed', 'x'.repeat(10_241)])).text, /413/);
  const batch = Array.from({ length: 11 }, () => ({ channel: 'orders', name: 'placed', data: '{}' }));
  assert.equal((await python.fails('trigger_batch', [batch])).type, 'PusherBadRequest');
});

/** A Python process with one `pusher.Pusher`, ended with the test. */
function start(t, options = {}) {
  const script = fileURLToPath(new URL('python/call.py', import.meta.url));
  const child = spawn(process.env.PYTHON ?? 'python3', [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.stdin.end();
    await exited;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const gone = exited.then(([code]) => {
    throw new Error(`python left with ${code}; does it have python/requirements.txt? (PYTHON=${process.env.PYTHON ?? 'python3'})`);
  });
  gone.catch(() => {});
  child.stdin.on('error', () => {});
  const send = (message) => child.stdin.write(`${JSON.stringify(message)}\n`);
  send({
    app_id: shop.id, key: shop.key, secret: shop.secret, ssl: false, host: '127.0.0.1', port: server.port,
    encryption_master_key_base64: masterKey, ...options,
  });
  const answer = async (method, args) => {
    send({ method, args });
    const { value } = await within(`python's ${method}`, Promise.race([lines.next(), gone]));
    return JSON.parse(value);
  };
  return {
    async call(method, args) {
      const { result, error } = await answer(method, args);
      assert.equal(error, undefined, JSON.stringify(error));
      return result;
    },
    async fails(method, args) {
      const { result, error } = await answer(method, args);
      assert.ok(error, `${method} was to fail, not to return ${JSON.stringify(result)}`);
      return error;
    },
  };
}
