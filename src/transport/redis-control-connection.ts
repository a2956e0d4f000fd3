// The control plane's connection to Redis (node-redis): RESP3 with a cache that the server invalidates, one server or sentinels, TLS. It
// reconnects for ever, its own time-outs included, and no call on it waits longer than its deadline.
import { BasicClientSideCache, BasicPooledClientSideCache, createClient, createSentinel } from 'redis';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { describeRedis, parseRedisUrl, type RedisTarget } from './redis-url.ts';
import { TransportError } from './transport.ts';

export interface ControlConnectionOptions {
  readonly url: string;
  /** The authority's certificate, PEM. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** A silent connection is asked this often, and given up after three times it. */
  readonly pingMs: number;
  readonly callMsMax: number;
  /** Called at every (re)connection. */
  readonly onReady: () => void;
  /** What was cached of this key is not to be relied upon any more; undefined: of any key. */
  readonly onStale: (key: string | undefined) => void;
}

export interface ControlConnection {
  /** From the cache while the server has not said that the key changed. */
  getCached(key: string): Promise<string | null>;
  run(script: string, keys: readonly string[], words: readonly string[]): Promise<unknown>;
  close(): Promise<void>;
}

/** What both kinds of client can do. */
interface Client {
  get(key: string): Promise<string | null>;
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  stop(): Promise<void>;
}

/** A belt: what was cached is asked again after this, whatever the server said. */
export const cacheMsMax = 30_000;
const reconnectMsMax = 1_000;
const logPauseMs = 10_000;

/** Connects in the background. The first calls wait for that, each until its deadline; later ones are refused while the connection is down. */
export function createControlConnection(given: ControlConnectionOptions): ControlConnection {
  const target = parseRedisUrl(given.url);
  let connected: () => void = () => undefined;
  const connection = new Promise<void>((resolve) => {
    connected = resolve;
  });
  const options: ControlConnectionOptions = {
    ...given,
    onReady: () => {
      connected();
      given.onReady();
    },
  };
  const client = target.sentinelName === undefined ? oneServer(target, options) : bySentinels(target, target.sentinelName, options);
  let isClosed = false;
  const call = <T>(work: () => Promise<T>): Promise<T> => {
    if (isClosed) return Promise.reject(new TransportError('closed', 'the directory is closed'));
    return withinDeadline(options, () => connection.then(work));
  };
  return {
    getCached: (key) => call(() => client.get(key)),
    run: (script, keys, words) => call(() => client.eval(script, { keys: [...keys], arguments: [...words] })),
    async close() {
      if (isClosed) return;
      isClosed = true;
      await client.stop();
    },
  };
}

const reconnectStrategy = (retries: number): number => Math.min(25 * 2 ** Math.min(retries, 10), reconnectMsMax);

/** Without a listener an error event would end the process. Repeated ones are told now and then. */
function errorListener({ log, clock, onStale }: ControlConnectionOptions, target: RedisTarget): (error: unknown) => void {
  let saidAt = -Infinity;
  return (error) => {
    onStale(undefined); // nobody tells of changes while the connection is down
    if (clock.now() - saidAt < logPauseMs) return;
    saidAt = clock.now();
    log.warn({ redis: describeRedis(target), error: messageOf(error) }, 'the directory is not reached');
  };
}

const cacheOptions = { maxEntries: 100, ttl: cacheMsMax };

/** Tells of every invalidation, whichever way it comes. */
function heard<Cache extends BasicClientSideCache>(cache: Cache, { onStale }: ControlConnectionOptions): Cache {
  cache.on('invalidate', (key: Buffer | string | null) => onStale(key === null ? undefined : key.toString()));
  return cache;
}

function socketOptions(target: RedisTarget, { pingMs, ca }: ControlConnectionOptions) {
  return { connectTimeout: pingMs, socketTimeout: pingMs * 3, ...(target.tls ? { tls: true as const, ...(ca === undefined ? {} : { ca }) } : {}) };
}

const credentialsOf = (username: string | undefined, password: string | undefined) => ({
  ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }),
});

function oneServer(target: RedisTarget, options: ControlConnectionOptions): Client {
  const [node] = target.nodes;
  const where = target.socketPath === undefined
    ? { host: node?.host ?? '127.0.0.1', port: node?.port ?? 6379 }
    : { path: target.socketPath, tls: false as const };
  const client = createClient({
    RESP: 3, clientSideCache: heard(new BasicClientSideCache(cacheOptions), options), disableOfflineQueue: true, pingInterval: options.pingMs,
    database: target.database,
    maintNotifications: 'disabled',
    ...credentialsOf(target.username, target.password),
    socket: { ...socketOptions(target, options), ...where, reconnectStrategy },
  });
  client.on('error', errorListener(options, target)).on('ready', options.onReady);
  client.connect().catch(() => undefined); // told to the error listener; ends only when it is closed
  return {
    get: (key) => client.get(key),
    eval: (script, what) => client.eval(script, what),
    stop: async () => client.destroy(),
  };
}

function bySentinels(target: RedisTarget, name: string, options: ControlConnectionOptions): Client {
  const sentinel = createSentinel({
    name, RESP: 3, clientSideCache: heard(new BasicPooledClientSideCache(cacheOptions), options),
    sentinelRootNodes: target.nodes.map(({ host, port }) => ({ host, port })),
    passthroughClientErrorEvents: true, scanInterval: options.pingMs, maxCommandRediscovers: 16,
    nodeClientOptions: {
      pingInterval: options.pingMs, database: target.database, maintNotifications: 'disabled', ...credentialsOf(target.username, target.password),
      socket: { ...socketOptions(target, options), reconnectStrategy },
    },
    sentinelClientOptions: {
      maintNotifications: 'disabled', ...credentialsOf(target.sentinelUsername, target.sentinelPassword), socket: socketOptions(target, options),
    },
  });
  const onError = errorListener(options, target);
  sentinel.on('error', onError).on('client-error', onError).on('topology-change', () => {
    options.onStale(undefined);
    options.onReady();
  });
  let isStopped = false;
  void connectForEver(async () => void (await sentinel.connect()), options, () => isStopped, onError).then(options.onReady);
  return {
    get: (key) => sentinel.get(key),
    eval: (script, what) => sentinel.eval(script, what),
    async stop() {
      isStopped = true;
      if (sentinel.isOpen) await sentinel.destroy();
    },
  };
}

/** The first connection through sentinels gives up by itself; this does not. */
async function connectForEver(connect: () => Promise<void>, { clock }: ControlConnectionOptions, isStopped: () => boolean, onError: (error: unknown) => void) {
  for (let tries = 0; !isStopped(); tries += 1) {
    try {
      return await connect();
    } catch (error) {
      onError(error);
      await clock.sleep(reconnectStrategy(tries));
    }
  }
}

async function withinDeadline<T>({ clock, callMsMax }: ControlConnectionOptions, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  try {
    return await Promise.race([
      work().catch((error: unknown) => {
        throw new TransportError('timeout', `the directory does not answer: ${messageOf(error)}`);
      }),
      clock.sleep(callMsMax, done.signal).then(() => {
        throw new TransportError('timeout', `the directory did not answer within ${callMsMax} ms`);
      }),
    ]);
  } finally {
    done.abort(new Error('answered'));
  }
}
