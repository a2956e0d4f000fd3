// The servers that are measured: the bare one, and the product as an operator starts it: the objectstore as a role of its own over PostgreSQL, and
// `novact up` with all roles in one process, over its private PostgreSQL or over PGlite. All wait for the disk where they can.
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/postgres-js';
import { AuthManager } from '../../../src/auth/manager.ts';
import { signV4 } from '../../../src/auth/sign-v4.ts';
import { connectPostgres } from '../../../src/db/connect.ts';
import type { Db } from '../../../src/db/db.ts';
import { authDrivers } from '../../../src/drivers/auth/index.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createSealer } from '../../../src/lib/sealed.ts';
import { freePort } from '../../support/free-port.ts';
import { isBuilt } from '../../support/product-command.ts';
import { startRole, startSharedServices } from '../../support/role-process.ts';
import { startSimCloudProcess } from '../../support/sim-cloud-process.ts';
import type { Body, WireRequest } from './load.ts';

export interface Server {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  /** Good for some minutes. */
  request(method: string, path: string, body?: Body, payloadSha256?: string): WireRequest;
  close(): Promise<void>;
}

/** Of the product. */
export interface S3Server extends Server {
  /** Its database, where it can be reached beside it. */
  readonly db?: Db;
}

const headOf = (method: string, path: string, headers: Readonly<Record<string, string>>): Buffer =>
  Buffer.from(`${method} ${path} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`, 'latin1');

const lengthOf = (body: Body | undefined): Record<string, string> =>
  (body === undefined ? {} : { 'content-length': String(body.piece.length * body.times) });

export async function startBare(): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 's3-bench-bare-'));
  const child = fork(new URL('bare-server.ts', import.meta.url), [folder], { execArgv: ['--import', 'tsx'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(message as number)).once('exit', (code) => reject(new Error(`the bare server ended with ${code}`)));
  });
  return {
    name: 'a bare node:http server', port, pid: child.pid ?? 0,
    request: (method, path, body) => ({ head: headOf(method, path, { host: `127.0.0.1:${port}`, ...lengthOf(body) }), body }),
    async close() {
      const ended = new Promise((resolve) => void child.once('exit', resolve));
      child.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Signed by the header, as SDKs do. Without a digest of the body: `UNSIGNED-PAYLOAD`, as they do over TLS. */
export const signing = (port: number, key: Key): Server['request'] => (method, path, body, payloadSha256) => ({
  head: headOf(method, path, signV4({
    method, url: new URL(path, `http://127.0.0.1:${port}`), headers: lengthOf(body), ...key, region: 'nova', service: 's3', date: new Date(),
    ...(body === undefined ? {} : { payloadSha256: payloadSha256 ?? 'UNSIGNED-PAYLOAD' }),
  })),
  body,
});

/** Straight from source, another program would be measured. */
export function checkBuilt(): void {
  if (!isBuilt() && process.env['NOVACT_SPEC_COMMAND'] === undefined) throw new Error('dist is older than src: run bin/bootstrap');
}

/** `bin/novact-objectstore` alone, with a user who is nobody special. */
export async function startObjectstoreRole(): Promise<S3Server> {
  const services = await startSharedServices({ name: 's3-bench', durable: true });
  const port = await freePort();
  const role = await startRole({ role: 'objectstore', host: 'h1', settings: { ...services.host('h1'), NOVACT_S3_PORT: String(port) } });
  const client = connectPostgres(services.databaseUrl, 2);
  const db = drizzle(client) as unknown as Db;
  const sealer = createSealer(readFileSync(services.settings['NOVACT_MASTER_KEY'] ?? ''));
  const auth = new AuthManager({ driver: authDrivers.db({ db, clock: systemClock }), sealer });
  await auth.createUser({ name: 'bench' });
  await auth.createProject({ name: 'bench', manager: 'bench' });
  const key = await auth.createAccessKey({ user: 'bench', project: 'bench' });
  return {
    name: 'objectstore on PostgreSQL', port, pid: role.pid() ?? 0, db, request: signing(port, key),
    async close() {
      await role.stop();
      await client.end({ timeout: 5 });
      await services.close();
    },
  };
}

/** `bin/novact up`. */
export async function startUp(database: 'PostgreSQL' | 'PGlite'): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), 's3-bench-pglite-'));
  const more = database === 'PGlite' ? { NOVACT_DATABASE_URL: `pglite:${join(folder, 'database')}` } : {};
  const cloud = await startSimCloudProcess('s3-bench-up', more);
  // On PGlite there is no second process that could make another user.
  const key = {
    accessKeyId: cloud.environment['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: cloud.environment['AWS_SECRET_ACCESS_KEY'] ?? '',
  };
  return {
    name: `up on ${database}`, port: cloud.s3Port, pid: cloud.pid, request: signing(cloud.s3Port, key),
    async close() {
      await cloud.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
