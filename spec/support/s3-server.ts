// An S3 server of one spec file, over a fresh database and a store of its own. `authenticate` is injected: the project is what the
// header `x-spec-project` says, so that specs of S3 say nothing about signatures: one in an address is never right.
import { request, type IncomingHttpHeaders } from 'node:http';
import type { Authority } from '../../src/auth/authenticate.ts';
import { payloadOf } from '../../src/auth/payload.ts';
import type { Principal } from '../../src/auth/principal.ts';
import type { S3Services } from '../../src/api/s3/call.ts';
import { createS3Server } from '../../src/api/s3/server.ts';
import type { AuditTrail } from '../../src/db/audit.ts';
import type { Db } from '../../src/db/db.ts';
import type { ObjectStoreDriver } from '../../src/drivers/objectstore/driver.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { unlimitedBytes } from '../../src/db/project-bytes.ts';
import { projects, users } from '../../src/db/schema/identity.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { ApiError } from '../../src/lib/errors.ts';
import { createLog, silentLog } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly bytes: Buffer;
  /** Whether `100 Continue` came before the answer. */
  readonly wasContinued: boolean;
}

export interface Ask {
  readonly method: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  /** `one` by default; `none` is anonymous; `admin` may all; `system` is novact itself; `liar` has a bad signature. */
  readonly as?: string;
}

export interface S3Fixture {
  readonly database: TestDatabase;
  readonly store: ObjectStoreDriver;
  readonly port: number;
  ask(ask: Ask): Promise<Reply>;
  close(): Promise<void>;
}

export const projectIds: Readonly<Record<string, string>> = { one: '111111111111', two: '222222222222' };

/** More than a spec stores. */
export const amplyS3 = { buckets: 1_000, bytes: unlimitedBytes };

export interface S3Options {
  readonly store?: ObjectStoreDriver;
  readonly domain?: string;
  readonly authority?: Authority;
  readonly quotas?: S3Services['quotas'];
  readonly olderHosts?: S3Services['olderHosts'];
  /** Who is told what is changed; default: nobody. */
  readonly audit?: (db: Db) => AuditTrail;
  /** What becomes of images that compute hosts bring. */
  readonly receive?: (db: Db, store: ObjectStoreDriver) => S3Services['receiveImage'];
}

export async function startS3(options: S3Options = {}): Promise<S3Fixture> {
  const database = await createTestDatabase();
  const now = systemClock.date();
  await database.db.insert(users).values({ id: 'u-1', name: 'specs', createdAt: now });
  await database.db.insert(projects).values(Object.entries(projectIds).map(([name, id]) => ({ id, name, description: '', managerId: 'u-1', createdAt: now })));
  const store = options.store ?? new MemoryStore({ clock: systemClock });
  const server = createS3Server({
    db: database.db, store, clock: systemClock, log: process.env['SPEC_LOG'] === undefined ? silentLog : createLog({ level: 'debug' }), region: 'nova',
    quotas: options.quotas ?? amplyS3, ...(options.audit === undefined ? {} : { audit: options.audit(database.db) }),
    ...(options.domain === undefined ? {} : { domains: [options.domain] }), ...(options.authority === undefined ? {} : { authority: options.authority }),
    ...(options.olderHosts === undefined ? {} : { olderHosts: options.olderHosts }),
    ...(options.receive === undefined ? {} : { receiveImage: options.receive(database.db, store) }),
    async authenticate(signed) {
      const project = signed.headers['x-spec-project'];
      if (project === 'liar' || signed.rawQuery.includes('X-Amz-Signature=')) throw new ApiError('SignatureDoesNotMatch', 'It does not match.', 403);
      const contentHash = signed.headers['x-amz-content-sha256'];
      const payload = payloadOf(signed, typeof contentHash === 'string' ? contentHash : 'UNSIGNED-PAYLOAD', undefined);
      return { principal: typeof project === 'string' ? principalOf(project) : undefined, payload };
    },
  });
  const port = await server.listen('127.0.0.1', 0);
  return {
    database, store, port,
    ask: (ask) => send(port, ask),
    async close() {
      await server.close({ graceMs: 100 });
      await database.close();
    },
  };
}

export function principalOf(name: string): Principal {
  return {
    userId: 'u-1', userName: 'specs', accessKeyId: 'AKIASPEC', projectId: projectIds[name] ?? '999999999999', projectName: name,
    isSuperuser: name === 'system', isAdmin: name === 'admin', roles: new Set(),
  };
}

function send(port: number, ask: Ask): Promise<Reply> {
  const { method, path, headers = {}, body, as = 'one' } = ask;
  return new Promise((resolve, reject) => {
    let wasContinued = false;
    const outgoing = request({
      port, host: '127.0.0.1', method, path, agent: false,
      headers: { ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }), ...(as === 'none' ? {} : { 'x-spec-project': as }),
        ...headers },
    });
    outgoing.on('continue', () => {
      wasContinued = true;
      outgoing.end(body);
    });
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes.toString('utf8'), bytes, wasContinued });
        outgoing.destroy();
      });
    });
    if (headers['expect'] !== '100-continue') outgoing.end(body);
    else outgoing.flushHeaders();
  });
}

/** The text of every element of that name, unescaped as far as specs need. */
export const texts = (xml: string, name: string): string[] =>
  [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map((match) =>
    (match[1] ?? '').replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'));

/** The status of an answer and, of a refusal, its code: `200`, `403 AccessDenied`. */
export const code = (reply: Reply): string => `${reply.status} ${texts(reply.body, 'Code')[0] ?? ''}`.trim();
