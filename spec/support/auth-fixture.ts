// An auth manager over a store in memory with one user, project and key, a clock that stands still, and requests as node:http would give them.
import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AuthManager } from '../../src/auth/manager.ts';
import type { SignedRequest } from '../../src/auth/request.ts';
import { createFakeAuthDriver } from '../../src/drivers/auth/fake.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { createSealer } from '../../src/lib/sealed.ts';

export interface AuthFixture {
  readonly auth: AuthManager;
  readonly clock: Clock;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly deps: { readonly auth: AuthManager; readonly clock: Clock };
}

/** The instant at which the fixture's clock stands. */
export const fixtureNow = Date.UTC(2026, 10, 22, 14, 7, 54);

export const standingClock = (now: number): Clock => ({ ...systemClock, now: () => now, date: () => new Date(now) });

/** `ann`, the manager of the project `ann`, with a key for it. */
export async function createAuthFixture(options: { clock?: Clock } = {}): Promise<AuthFixture> {
  const clock = options.clock ?? standingClock(fixtureNow);
  const auth = new AuthManager({ driver: createFakeAuthDriver(), sealer: createSealer(randomBytes(32)) });
  await auth.createUser({ name: 'ann' });
  await auth.createProject({ name: 'ann', manager: 'ann' });
  const key = await auth.createAccessKey({ user: 'ann', project: 'ann' });
  return { auth, clock, ...key, deps: { auth, clock } };
}

export interface RequestParts {
  readonly method?: string;
  /** Path and query as on the wire. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly virtualHostBucket?: string;
}

/** As node:http would hand it over. */
export function requestOf(parts: RequestParts): SignedRequest {
  const mark = parts.target.indexOf('?');
  const headers: IncomingHttpHeaders = Object.fromEntries(Object.entries(parts.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
  return {
    method: parts.method ?? 'GET',
    rawPath: mark === -1 ? parts.target : parts.target.slice(0, mark),
    rawQuery: mark === -1 ? '' : parts.target.slice(mark + 1),
    headers,
    rawHeaders: Object.entries(parts.headers ?? {}).flat(),
    ...(parts.body === undefined ? {} : { body: Buffer.from(parts.body) }),
    ...(parts.virtualHostBucket === undefined ? {} : { virtualHostBucket: parts.virtualHostBucket }),
  };
}
