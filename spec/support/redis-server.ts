// A private redis-server for one spec file: its own folder, free ports of 127.0.0.1 and a unix socket, AOF as the product wants it, and all
// that can happen to a server: killed, paused, emptied, failed over by sentinels.
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';
import { ServerChild, soon } from './server-child.ts';

const run = promisify(execFile);

export interface Certificates {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

export interface RedisServerOptions {
  /** TLS on the port, with certificates of makeCertificates; the unix socket is plain. */
  readonly tls?: Certificates;
  /** File with the users. */
  readonly aclfile?: string;
  /** Of the default user. */
  readonly password?: string;
  /** More settings, as `['appendfsync', 'always']`. */
  readonly settings?: readonly (readonly [string, string])[];
}

export interface RedisServer {
  /** `redis://127.0.0.1:PORT`, or `rediss://…`, with the password if there is one. */
  readonly url: string;
  readonly port: number;
  readonly socket: string;
  readonly folder: string;
  pid(): number;
  /** Resolves when it answers. Its data is as the AOF has it. */
  start(): Promise<void>;
  /** Resolves when the process is gone. */
  kill9(): Promise<void>;
  /** As SIGTERM. */
  stop(): Promise<void>;
  pause(): void;
  resume(): void;
  /** A command over the unix socket, as the default user, which an aclfile may have switched off. */
  command(...words: readonly string[]): Promise<string>;
  /** Stops it and removes its folder. */
  close(): Promise<void>;
}

/** A started server. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await prepareRedis(options);
  await server.start();
  return server;
}

/** A server that has not been started. */
export async function prepareRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'novact-redis-'));
  const port = await freePort();
  const socket = join(folder, 'redis.sock');
  const authority = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`;
  const child = new ServerChild('redis-server', join(folder, 'redis.conf'));
  writeFileSync(join(folder, 'redis.conf'), settingsText(options, { folder, port, socket }));
  const command = async (...words: readonly string[]): Promise<string> => {
    const env = options.password === undefined ? process.env : { ...process.env, REDISCLI_AUTH: options.password };
    const { stdout } = await run('redis-cli', ['-s', socket, '--raw', ...words], { env, timeout: 30_000, maxBuffer: 64 * 1024 * 1024 });
    return stdout.trimEnd();
  };
  const start = async (): Promise<void> => {
    child.start();
    // A server whose default user is off answers too, with NOAUTH.
    await child.answers(async () => /PONG|NOAUTH/.test(await command('PING'))).catch((cause: unknown) => {
      throw new Error(`redis-server: ${existsSync(join(folder, 'redis.log')) ? readFileSync(join(folder, 'redis.log'), 'utf8').slice(-1500) : ''}`, { cause });
    });
  };
  return {
    url: `${options.tls === undefined ? 'redis' : 'rediss'}://${authority}127.0.0.1:${port}`,
    port, socket, folder, start, command,
    pid: () => child.pid(),
    kill9: () => child.end('SIGKILL'),
    stop: () => child.end('SIGTERM'),
    pause: () => child.signal('SIGSTOP'),
    resume: () => child.signal('SIGCONT'),
    async close() {
      await child.end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function settingsText(options: RedisServerOptions, at: { folder: string; port: number; socket: string }): string {
  const { tls, aclfile, password, settings = [] } = options;
  const lines: (readonly [string, string])[] = [
    ['bind', '127.0.0.1'], ['dir', at.folder], ['unixsocket', at.socket], ['daemonize', 'no'], ['loglevel', 'warning'],
    ['logfile', join(at.folder, 'redis.log')], ['save', '""'], ['appendonly', 'yes'], ['appendfsync', 'everysec'], ['maxmemory-policy', 'noeviction'],
    ['enable-debug-command', 'local'],
    ...(tls === undefined ? [['port', String(at.port)] as const] : [
      ['port', '0'], ['tls-port', String(at.port)], ['tls-ca-cert-file', tls.ca], ['tls-cert-file', tls.certificate], ['tls-key-file', tls.key],
      ['tls-auth-clients', 'no'],
    ] as const),
    ...(aclfile === undefined ? [] : [['aclfile', aclfile] as const]),
    ...(password === undefined ? [] : [['requirepass', JSON.stringify(password)] as const]),
    ...settings,
  ];
  return lines.map(([name, value]) => `${name} ${value}\n`).join('');
}

export interface Sentinels {
  /** `redis+sentinel://127.0.0.1:P,127.0.0.1:P,127.0.0.1:P/nova`. */
  readonly url: string;
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  /** The port of the server that the sentinels hold for the primary. */
  primaryPort(): Promise<number>;
  /** The sentinels alone, all or the first few: who asks them waits. */
  pauseSentinels(count?: number): void;
  resumeSentinels(): void;
  close(): Promise<void>;
}

/** A primary, a replica and three sentinels that fail over after `downAfterMs` (default 1 s). */
export async function startSentinels(options: { downAfterMs?: number } = {}): Promise<Sentinels> {
  const primary = await startRedis();
  const replica = await startRedis({ settings: [['replicaof', `127.0.0.1 ${primary.port}`]] });
  const folder = mkdtempSync(join(tmpdir(), 'novact-sentinel-'));
  const sentinels = await Promise.all([1, 2, 3].map((number) => startSentinel(join(folder, `${number}`), primary.port, options.downAfterMs ?? 1000)));
  const ports = sentinels.map(({ port }) => port);
  const ask = async (port: number, ...words: string[]): Promise<string> => {
    const { stdout } = await run('redis-cli', ['-p', String(port), '--raw', ...words], { timeout: 30_000 });
    return stdout;
  };
  // A fail-over needs sentinels that know each other and the replica.
  await soon(async () => (await Promise.all(ports.map((port) => ask(port, 'INFO', 'sentinel')))).every((info) => /slaves=1,sentinels=3/.test(info)));
  return {
    url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(',')}/nova`,
    primary, replica,
    primaryPort: async () => Number((await ask(ports[0] ?? 0, 'SENTINEL', 'get-master-addr-by-name', 'nova')).split('\n')[1]),
    pauseSentinels: (count = sentinels.length) => { for (const { child } of sentinels.slice(0, count)) child.signal('SIGSTOP'); },
    resumeSentinels: () => { for (const { child } of sentinels) child.signal('SIGCONT'); },
    async close() {
      await Promise.all(sentinels.map(({ child }) => child.end('SIGKILL')));
      await Promise.all([primary.close(), replica.close()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function startSentinel(path: string, primaryPort: number, downAfterMs: number): Promise<{ port: number; child: ServerChild }> {
  const port = await freePort();
  writeFileSync(`${path}.conf`, [
    `port ${port}`, 'bind 127.0.0.1', `logfile ${path}.log`, `dir ${tmpdir()}`, `sentinel monitor nova 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds nova ${downAfterMs}`, 'sentinel failover-timeout nova 6000', '',
  ].join('\n'));
  const child = new ServerChild('redis-sentinel', `${path}.conf`);
  child.start();
  await child.answers(async () => (await run('redis-cli', ['-p', String(port), 'PING'], { timeout: 5_000 })).stdout.includes('PONG'));
  return { port, child };
}

/** An authority and a certificate of 127.0.0.1 in the folder. */
export function makeCertificates(folder: string): Certificates {
  const file = (name: string): string => join(folder, name);
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' });
  writeFileSync(file('extensions'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=novact spec authority', '-keyout', 'ca.key', '-out', 'ca.crt');
  openssl('req', ...newKey, '-subj', '/CN=localhost', '-keyout', 'server.key', '-out', 'server.csr');
  const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'extensions'];
  openssl('x509', '-req', '-in', 'server.csr', ...signing, '-out', 'server.crt');
  chmodSync(file('server.key'), 0o600);
  return { ca: file('ca.crt'), certificate: file('server.crt'), key: file('server.key') };
}
