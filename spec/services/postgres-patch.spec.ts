// What scripts/build.mjs mends of postgres.js, seen with and without: a process that writes on a connection which has just closed. When the first
// half fails, a release has mended it, and scripts/postgres-patch.mjs can go.
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { patchedConnection } from '../../scripts/postgres-patch.mjs';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { startPostgres, type PostgresServer } from '../support/postgres-server.ts';

const run = createRun({ log: silentLog });
const obstacle = postgresObstacle();
const library = fileURLToPath(new URL('../../node_modules/postgres', import.meta.url));

/** A pool of one connection, which closes as told; then another statement is asked of it. Prints the code of what failed, what came, and the connections. */
const program = `
import { createConnection } from 'node:net';
import postgres from './src/index.js';
const [url, path, when] = process.argv.slice(2);
const sockets = [];
const socket = () => (sockets.push(createConnection({ path })), sockets.at(-1));
const sql = postgres(url, { path, max: 1, connect_timeout: 2, backoff: () => 0.02, socket });
const said = ({ code }) => console.log(code);
const close = () => sockets[0].destroy();
const deeds = {
  'in a transaction': () => sql.begin(async (transaction) => {
    await transaction\`select 1\`;
    setTimeout(close, 50);
    await transaction\`select pg_sleep(5)\`;
  }).catch(said),
  'before a flush': async () => {
    await sql\`select 1\`;
    const written = sql\`select 1\`.catch(said);
    for (const _ of 'soon') await undefined;
    // As when all connections close at once, and what the end of one makes fail writes on another.
    close();
    sockets[0].emit('close', false);
    await written;
  },
};
await deeds[when]();
console.log(await sql\`select 2 as two\`.then(([row]) => row.two, ({ code }) => code), sockets.length);
await sql.end({ timeout: 1 });
`;

describe.skipIf(obstacle !== undefined)(`postgres.js whose connection closed${obstacle === undefined ? '' : ` (skipped: ${obstacle})`}`, () => {
  let server: PostgresServer;
  let folder: string | undefined;
  let path: string;

  beforeAll(async () => {
    server = await startPostgres('patch');
    const url = new URL(server.url);
    path = `${url.searchParams.get('host')}/.s.PGSQL.${url.port || '5432'}`;
    folder = await mkdtemp('/tmp/novact-spec-patched-');
    await cp(library, folder, { recursive: true });
    await writeFile(join(folder ?? '', 'program.mjs'), program);
  }, 60_000);
  afterAll(async () => {
    await server?.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  const outcome = (when: string) =>
    run(process.execPath, [join(folder ?? '', 'program.mjs'), server.url.replace(/\?.*/, ''), path, when], { okCodes: [0, 1], timeoutMs: 30_000 });

  it('as it is released, ends the process or is silent on its next connection', async () => {
    expect((await outcome('in a transaction')).stderr).toMatch(/Cannot read properties of null \(reading 'write'\)/);
    expect((await outcome('before a flush')).stdout).toBe('CONNECTION_CLOSED\nCONNECT_TIMEOUT 2\n');
  });

  it('as it is built into dist, fails what was under way, and connects again', async () => {
    const connection = join(folder ?? '', 'src/connection.js');
    await writeFile(connection, patchedConnection(await readFile(connection, 'utf8')));
    expect((await outcome('in a transaction')).stdout).toBe('CONNECTION_CLOSED\n2 2\n');
    expect((await outcome('before a flush')).stdout).toBe('CONNECTION_CLOSED\n2 2\n');
  });
});

describe('the patch', () => {
  it('refuses a text that it does not know', () => {
    expect(() => patchedConnection('export default 1')).toThrow('has changed');
  });
});
