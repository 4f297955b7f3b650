// The official clients, and a bare WebSocket for what they would never send.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import Pusher7 from 'pusher-js-7';
import WebSocket from 'ws';
import { Heard, within } from './waiting.mjs';

/** Both major versions in use, for tests that run with each. */
export const VERSIONS = [['pusher-js 8', Pusher], ['pusher-js 7', Pusher7]];

/** Options that send a client to this server, and its auth requests to the server's backend. */
function options(server, app, { user, forge, bare, ...rest }) {
  const params = {
    ...(user && { user: JSON.stringify(user) }), ...(forge && { forge }), ...(bare && { bare }),
  };
  return {
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: server.port,
    forceTLS: false,
    enabledTransports: ['ws'],
    channelAuthorization: { endpoint: server.backend.url(app, '/pusher/auth'), transport: 'ajax', params },
    userAuthentication: { endpoint: server.backend.url(app, '/pusher/user-auth'), transport: 'ajax', params },
    ...rest,
  };
}

/** A pusher-js client that begins to connect. `user` is whom the backend takes it for; see backend.mjs. */
export function open(t, server, app, { Client = Pusher, ...rest } = {}) {
  const client = new Client(app.key, options(server, app, rest));
  t.after(() => client.disconnect());
  return client;
}

/** A pusher-js client that is connected. */
export async function connect(t, server, app, rest) {
  const client = open(t, server, app, rest);
  await connected(client);
  return client;
}

/** Waits until this client is connected. */
export async function connected(client, limit) {
  if (client.connection.state === 'connected') return;
  await within('the client connects', new Promise((resolve, reject) => {
    client.connection.bind('connected', resolve);
    client.connection.bind('failed', () => reject(new Error('the client failed')));
    client.connection.bind('disconnected', () => reject(new Error('the client was refused')));
  }), limit);
}

/** A Laravel Echo that is connected; `broadcaster` is `reverb` or `pusher`. */
export async function connectEcho(t, server, app, { broadcaster, user, ...rest }) {
  const { cluster, ...common } = options(server, app, {});
  delete common.channelAuthorization;
  delete common.userAuthentication;
  const params = { user: JSON.stringify(user) };
  const echo = new Echo({
    ...common,
    ...(broadcaster === 'pusher' && { cluster: 'mt1' }),
    broadcaster,
    key: app.key,
    wssPort: server.port,
    Pusher,
    auth: { headers: {}, params },
    authEndpoint: server.backend.url(app, '/broadcasting/auth'),
    userAuthentication: { endpoint: server.backend.url(app, '/broadcasting/user-auth'), headers: {}, params },
    ...rest,
  });
  t.after(() => echo.disconnect());
  await connected(echo.connector.pusher);
  return echo;
}

/** What this emitter of pusher-js tells: of the events named, or of all. */
export function listen(emitter, ...events) {
  const heard = new Heard(emitter.name ?? 'the client');
  if (events.length === 0) emitter.bind_global((event, data) => heard.add({ event, data }));
  for (const event of events) {
    emitter.bind(event, (data, metadata) => heard.add({ event, data, ...metadata }));
  }
  return heard;
}

/** Subscribes, and returns what the channel tells after `subscription_succeeded`. */
export async function subscribe(client, name) {
  const heard = subscribing(client, name);
  await heard.next('pusher:subscription_succeeded');
  return heard;
}

/** Begins to subscribe, and returns what the channel tells from the start. */
export function subscribing(client, name) {
  const channel = client.subscribe(name);
  const heard = listen(channel);
  heard.channel = channel;
  return heard;
}

/** Signs in, and waits until the server sends the user's own events here. */
export async function signIn(client) {
  const messages = listen(client.connection, 'message');
  client.signin();
  for (;;) {
    const { data: message } = await messages.take('the answer to the sign-in');
    assert.notEqual(message.event, 'pusher:error', JSON.stringify(message));
    if (message.event === 'pusher_internal:subscription_succeeded' && message.channel?.startsWith('#server-to-user-')) return;
  }
}

/** The codes of the errors that this client reports, as they come. */
export function errorCodes(client) {
  const heard = new Heard('the client');
  client.connection.bind('error', (error) => heard.add({ event: 'error', data: (error.data ?? error.error?.data)?.code }));
  return heard;
}

/** A bare WebSocket: what it hears are whole messages. */
export class Raw extends Heard {
  #closed;

  static async open(t, server, path, { protocols = [], ...options } = {}) {
    const raw = new Raw(path);
    raw.socket = new WebSocket(`ws://127.0.0.1:${server.port}${path}`, protocols, options);
    raw.socket.on('message', (text) => {
      const message = JSON.parse(text);
      raw.add({ event: message.event, data: message });
    });
    raw.socket.on('error', () => {});
    raw.#closed = new Promise((resolve) => raw.socket.on('close', resolve));
    t.after(() => raw.socket.terminate());
    await within(`the handshake of ${path}`, once(raw.socket, 'open'));
    return raw;
  }

  /** One that is through with the greeting, whose socket id is `id`. */
  static async connect(t, server, app, { query = '?protocol=7&client=test&version=1.0', ...options } = {}) {
    const raw = await Raw.open(t, server, `/app/${app.key}${query}`, options);
    const { data } = await raw.next('pusher:connection_established');
    raw.id = JSON.parse(data).socket_id;
    return raw;
  }

  /** The code with which the server closes. */
  async closed() {
    return within(`${this.who} is closed`, this.#closed);
  }

  send(message) {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  /** Subscribes with a signature from the official package, and waits for the success. */
  async subscribe(sdk, channel, member) {
    const auth = /^(private|presence)-/.test(channel) ? sdk.authorizeChannel(this.id, channel, member) : { auth: '' };
    this.send({ event: 'pusher:subscribe', data: { channel, auth: auth.auth, channel_data: auth.channel_data } });
    return this.next('pusher_internal:subscription_succeeded');
  }
}
