// Starts the real server for a test file, and stops it again.
//
//   const server = await serve({ apps: [shop] });         // one per file, stopped after its last test
//   const sdk = server.sdk(shop);                          // the official `pusher` package, pointed at it
//
// The binary is target/debug/reverb-server of this repository, or the one that REVERB_SERVER_BIN names.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, afterEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import PusherServer from 'pusher';
import { Backend } from './backend.mjs';
import { eventually, within } from './waiting.mjs';

const here = dirname(fileURLToPath(import.meta.url));
export const binary = resolve(here, process.env.REVERB_SERVER_BIN ?? '../../target/debug/reverb-server');

/** What applications and their clients encrypt with; the server never learns it. */
const masterKey = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');

let apps = 1000;

/** An app as the configuration file describes it; `settings` are keys of `[[apps]]`, with `limits` inside. */
export function app(name, settings = {}) {
  apps += 1;
  return { id: String(apps), key: `${name}-key`, secret: `${name}-secret`, ...settings };
}

/** The official `pusher` package for this app. */
export function sdk(port, { id, key, secret }, options = {}) {
  return new PusherServer({
    appId: id,
    key,
    secret,
    host: '127.0.0.1',
    port,
    useTLS: false,
    encryptionMasterKeyBase64: masterKey,
    ...options,
  });
}

/** A server for one test file: started now, stopped after the file's last test, its log shown when a test fails. */
export async function serve(options) {
  const server = new Server(options);
  after(() => server.end());
  afterEach((t) => {
    if (t.passed === false) console.error(`--- the server's log, after "${t.name}" ---\n${server.log}---`);
  });
  await server.start();
  return server;
}

export class Server {
  /** The port it listens on; the same one after a restart. */
  port = 0;
  /** Everything it has printed. */
  log = '';
  #options;
  #folder;
  #process;
  #backend;

  /**
   * apps      what to write under [[apps]]; left out, there is no configuration file at all
   * settings  the file's other keys
   * env       environment of the server, besides PATH and HOME
   * backendOf the apps that the backend signs for, if they are not those of the file
   */
  constructor({ apps, settings = {}, env = {}, backendOf = apps ?? [] } = {}) {
    this.#options = { apps, settings, env, backendOf };
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The folder in which it runs and keeps its data. */
  get folder() {
    return this.#folder;
  }

  /** Answers the auth requests of clients, as an application does. */
  get backend() {
    return this.#backend;
  }

  /** The official `pusher` package for this app, pointed at this server. */
  sdk(app, options) {
    return sdk(this.port, app, options);
  }

  async start() {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'reverb-official-'));
    this.#backend ??= await Backend.start([...this.#options.backendOf]);
    const args = ['--host', '127.0.0.1', '--port', String(this.port), '--data-dir', join(this.#folder, 'data')];
    if (this.#options.apps) {
      const file = join(this.#folder, 'reverb.toml');
      await writeFile(file, toml(this.#options));
      args.push('--config', file);
    }
    const { PATH, HOME } = process.env;
    this.#process = spawn(binary, args, { cwd: this.#folder, env: { PATH, HOME, ...this.#options.env } });
    const from = this.log.length;
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.log += text; });
    }
    const gone = Promise.race([
      once(this.#process, 'error').then(([error]) => { throw new Error(`cannot start ${binary}: ${error.message}`); }),
      once(this.#process, 'exit').then(([code]) => { throw new Error(`the server left with ${code} at its start:\n${this.log}`); }),
    ]);
    gone.catch(() => {});
    const up = eventually('the server answers /up', async () => {
      const [, port] = this.log.slice(from).match(/http:\/\/127\.0\.0\.1:(\d+)/) ?? assert.fail('it names no port yet');
      this.port = Number(port);
      assert.equal((await fetch(`${this.url}/up`)).status, 200);
    });
    await Promise.race([up, gone]);
  }

  /** Asks it to go, by SIGTERM, and sees it leave with exit code 0. */
  async stop() {
    const process = this.#process;
    if (!process || process.exitCode !== null) return;
    const left = once(process, 'exit');
    process.kill('SIGTERM');
    try {
      const [code, signal] = await within('the server stops after SIGTERM', left);
      assert.deepEqual({ code, signal }, { code: 0, signal: null }, 'the server leaves with exit code 0');
    } catch (error) {
      process.kill('SIGKILL');
      console.error(`--- the server's log ---\n${this.log}---`);
      throw error;
    }
  }

  /** Stops it for good and tidies up. */
  async end() {
    try {
      await this.stop();
    } finally {
      await this.#backend?.stop();
      if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
    }
  }
}

/** The configuration file, as README shows it. */
function toml({ apps, settings }) {
  const table = (values) => Object.entries(values)
    .filter(([, value]) => Array.isArray(value) || typeof value !== 'object')
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return [
    ...table(settings),
    ...apps.flatMap((app) => [
      '', '[[apps]]', ...table(app), ...(app.limits ? ['[apps.limits]', ...table(app.limits)] : []),
    ]),
    '',
  ].join('\n');
}
