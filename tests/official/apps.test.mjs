// Apps that are made and changed by the command line while clients are connected.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { VERSIONS, connect, connected, errorCodes, open, subscribe } from './clients.mjs';
import { binary, serve } from './server.mjs';
import { eventually } from './waiting.mjs';

const server = await serve({ backendOf: [] });
const cli = (...args) => execFileSync(binary, ['app', ...args, '--data-dir', 'data'], { cwd: server.folder, encoding: 'utf8' });

/** An app that is made now. */
function made(...flags) {
  const app = JSON.parse(cli('create', '--json', ...flags));
  server.backend.add(app);
  return app;
}

for (const [name, Client] of VERSIONS) {
  test(`${name} is served by an app that did not exist when the server started`, async (t) => {
    const app = made('--name', name);
    const client = await connect(t, server, app, { Client });
      const events = await subscribe(client, 'private-orders');
    await server.sdk(app).trigger('private-orders', 'paid', { total: 7 });
    assert.deepEqual(await events.next('paid'), { total: 7 });
  });

  for (const [what, change, code] of [
    ['switched off', (app) => cli('deactivate', app.id), 4003],
    ['deleted', (app) => cli('delete', app.id, '--yes'), 4001],
    ['given another key', (app) => cli('update', app.id, '--key', `${app.key}-2`), 4001],
  ]) {
    test(`${name} is told ${code} within a second when its app is ${what}, stops, and nobody else is dropped`, async (t) => {
      const [app, other] = [made(), made()];
      const [client, neighbour] = [await connect(t, server, app, { Client }), await connect(t, server, other, { Client })];
      const codes = errorCodes(client);
      change(app);
      const since = performance.now();
      assert.equal(await codes.next('error'), code);
      assert.ok(performance.now() - since < 1000, `after ${Math.round(performance.now() - since)} ms`);
      await eventually('it has given up', async () => { assert.equal(client.connection.state, 'disconnected'); });
      assert.equal(neighbour.connection.state, 'connected');
    });
  }
}

/** With which code a newcomer is refused; `undefined` if it is let in, and then it leaves again. */
async function refusal(t, app) {
  const client = open(t, server, app);
  const codes = errorCodes(client);
  const code = await connected(client).catch(() => codes.next('error'));
  client.disconnect();
  return code;
}

test('while a secret is rotated, backends with the old and with the new one go on', async (t) => {
  const app = made();
  const client = await connect(t, server, app);
  const events = await subscribe(client, 'private-orders');
  const { secret } = JSON.parse(cli('rotate-secret', app.id, '--overlap', '30m', '--json'));
  const after = server.sdk({ ...app, secret });
  await eventually('the new secret is accepted', () => after.trigger('private-orders', 'paid', { by: 'new' }));
  await server.sdk(app).trigger('private-orders', 'paid', { by: 'old' });
  assert.deepEqual([await events.next('paid'), await events.next('paid')], [{ by: 'new' }, { by: 'old' }]);
  cli('rotate-secret', app.id, '--overlap', '0', '--force');
  await eventually('neither is accepted any more', async () => {
    for (const sdk of [server.sdk(app), after]) await assert.rejects(sdk.trigger('a', 'e', {}), { status: 401 });
  });
  assert.equal(client.connection.state, 'connected');
});

test('new limits and origins hold for newcomers, and who is in stays', async (t) => {
  const app = made();
  const client = await connect(t, server, app);
  cli('update', app.id, '--max-connections', '1', '--allowed-origin', '*');
  await eventually('the limit holds', async () => { assert.equal(await refusal(t, app), 4004); });
  cli('update', app.id, '--max-connections', 'none', '--allowed-origin', 'shop.example');
  await eventually('the origins hold', async () => { assert.equal(await refusal(t, app), 4009); });
  assert.equal(client.connection.state, 'connected');
});
