// Starts an example of this repository for a test file, and stops it again.
//
//   const shop = await example('axum_embed', { APP_SECRET: 'secret' });
//   shop.port, shop.url
//
// The programs are in target/debug/examples of this repository, or in the folder that EXAMPLES_BIN names;
// `cargo build --examples` makes them.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join, resolve } from 'node:path';
import { after, afterEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, within } from './waiting.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(here, process.env.EXAMPLES_BIN ?? '../../target/debug/examples');

/** An example that listens on a free port: started now, stopped after the file's last test, its log shown if one fails. */
export async function example(name, env = {}) {
  const binary = join(folder, name);
  const { PATH, HOME } = process.env;
  const child = spawn(binary, ['127.0.0.1:0'], { env: { PATH, HOME, ...env } });
  const left = once(child, 'exit').catch(({ message }) => { throw new Error(`${message}; cargo build --examples makes it`); });
  const started = { log: '', port: 0, url: '', stop };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { started.log += text; });
  }
  after(() => { if (child.exitCode === null) child.kill('SIGKILL'); });
  afterEach((t) => {
    if (t.passed === false) console.error(`--- what ${name} said, after "${t.name}" ---\n${started.log}---`);
  });
  const gone = left.then(([code]) => { throw new Error(`${name} left with ${code} at its start:\n${started.log}`); });
  gone.catch(() => {});
  const up = eventually(`${name} says where it listens`, async () => {
    [started.url, started.port] = started.log.match(/http:\/\/127\.0\.0\.1:(\d+)/) ?? [];
    if (!started.port) throw new Error('not yet');
    started.port = Number(started.port);
  });
  await Promise.race([up, gone]);
  return started;

  /** Asks it to end, as Ctrl-C does, and returns its exit code. */
  async function stop(limit) {
    child.kill('SIGINT');
    const [code] = await within(`${name} ends`, left, limit);
    return code;
  }
}
