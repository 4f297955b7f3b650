// A private MariaDB for a test file: in a folder of its own, on a free port, stopped after the file's last test.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { eventually } from './waiting.mjs';

const env = { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin`, HOME: process.env.HOME };

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts it. `run(sql)` has statements run and returns what they print, a line per row, tabs between the columns. */
export async function mariadb(database) {
  const folder = await mkdtemp(join(tmpdir(), 'reverb-mariadb-'));
  const [data, socket, port] = [join(folder, 'data'), join(folder, 'socket'), await freePort()];
  const made = ['--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db', `--datadir=${data}`];
  execFileSync('mariadb-install-db', made, { env, stdio: 'pipe' });
  const server = spawn('mariadbd', [
    '--no-defaults', `--datadir=${data}`, `--socket=${socket}`, `--port=${port}`, '--user=root', '--bind-address=127.0.0.1',
    '--innodb-buffer-pool-size=32M', '--skip-name-resolve',
  ], { env, stdio: 'ignore' });
  after(async () => {
    server.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });
  const run = (sql, ...args) => execFileSync(
    'mariadb', ['--no-defaults', `--socket=${socket}`, '--user=root', '--batch', '--skip-column-names', ...args],
    { env, input: sql, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] },
  );
  await eventually('MariaDB answers', async () => { assert.equal(run('SELECT 1').trim(), '1'); });
  run(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`);
  return { port, run: (sql) => run(sql, database) };
}
