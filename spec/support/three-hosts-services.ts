// What the hosts of one cloud share, in a network namespace of its own: a PostgreSQL with a password, a Redis with one (or both with TLS, and a
// Redis user for each role), and a balancer before the APIs. They listen on the management network as they would on machines of their own.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFile, chmod, copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { waitFor } from './patience.ts';

/** A server that can be treated as badly as a server is. */
export interface Server {
  /** Resolves when it has ended. PostgreSQL takes SIGQUIT for `immediate`. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Resolves when it answers. No error if it runs. */
  start(): Promise<void>;
  pause(): void;
  resume(): void;
}

export interface SharedServers {
  readonly databaseUrl: string;
  /** The same database for whoever is not on that network. */
  readonly localDatabaseUrl: string;
  readonly redisUrl: string;
  readonly postgres: Server;
  readonly redis: Server;
  redisCommand(...words: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

export interface SharedServersOptions {
  readonly namespace: string;
  readonly folder: string;
  readonly address: string;
  /** Who may use the database: `192.168.77.0/24`. */
  readonly network: string;
  /** `192.168.77.11:8773`, one for each API. */
  readonly apis: readonly string[];
  /** Absent: passwords only, and no TLS. */
  readonly secured?: Secured | undefined;
}

/** As docs/guide/many-hosts.md has it. */
export interface Secured {
  /** Folder with `ca-cert.pem`, `server-cert.pem` and `server-key.pem` of the address. */
  readonly certificates: string;
  /** File with the users of all roles, for Redis. */
  readonly users: string;
}

const readyMsMax = 60_000;

export async function startSharedServers(options: SharedServersOptions): Promise<SharedServers> {
  const { namespace, folder, address, secured } = options;
  const secret = randomBytes(12).toString('hex');
  const run = createRun({ log: silentLog, networkNamespace: namespace });
  const redisCommand = async (...words: readonly string[]) =>
    (await run('redis-cli', ['-h', address, '--raw', ...redisFlags(secured), ...words], { env: { REDISCLI_AUTH: secret } })).stdout.trimEnd();
  const socket = join(folder, 'postgres');
  const psql = (command: string) => run('setpriv', [...asPostgres, 'psql', '-qAt', '-h', socket, '-U', 'novact', '-d', 'postgres', '-c', command]);
  await preparePostgres(socket, secret, options);
  const postgresCommand = ['setpriv', ...asPostgres, join(await programs(), 'postgres'), '-D', join(socket, 'data')];
  const postgres = new Process([...inside(namespace), ...postgresCommand], () => psql('select 1'));
  const redis = new Process([...inside(namespace), 'redis-server', await prepareRedis(join(folder, 'redis'), secret, options)], async () => {
    if ((await redisCommand('PING')) !== 'PONG') throw new Error('it answers, but not with PONG');
  });
  const balancer = new Process([...inside(namespace), process.execPath, join(import.meta.dirname, 'tcp-balancer.mjs'), `${address}:8773`, ...options.apis]);
  await Promise.all([postgres, redis, balancer].map((server) => server.start()));
  await psql('create database novact');
  return {
    databaseUrl: `postgres://novact:${secret}@${address}/novact${secured === undefined ? '' : '?sslmode=verify-full'}`,
    localDatabaseUrl: `postgres://novact:${secret}@localhost/novact?host=${encodeURIComponent(socket)}`,
    redisUrl: secured === undefined ? `redis://:${secret}@${address}:6379` : securedRedisUrl(address),
    postgres, redis, redisCommand,
    async close() {
      await Promise.all([postgres.kill('SIGQUIT'), redis.kill('SIGKILL'), balancer.kill('SIGKILL')]);
    },
  };
}

const asPostgres = ['--reuid', 'postgres', '--regid', 'postgres', '--clear-groups'] as const;
const inside = (namespace: string): string[] => ['ip', 'netns', 'exec', namespace];

/** What is left of them when this process ends is killed. */
const living = new Set<ChildProcess>();
process.once('exit', () => living.forEach((child) => child.kill('SIGKILL')));

/** Every program of the command becomes the next one, so that the child is the server itself. */
class Process implements Server {
  readonly #command: readonly string[];
  readonly #answers: () => Promise<unknown>;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(command: readonly string[], answers: () => Promise<unknown> = async () => undefined) {
    this.#command = command;
    this.#answers = answers;
  }

  async start(): Promise<void> {
    await waitFor(`${this.#command.join(' ')} answers`, { timeoutMs: readyMsMax, pollMs: 50 }, async () => {
      // One that ends at its start, because a process of its last life still holds what it needs, is started again, as by systemd.
      if (this.#child === undefined) this.#spawn();
      await this.#answers();
      return true;
    });
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.resume();
    this.#child?.kill(signal);
    await this.#ended;
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  #spawn(): void {
    const [program = '', ...args] = this.#command;
    const child = spawn(program, args, { stdio: 'ignore' });
    this.#child = child;
    living.add(child);
    this.#ended = new Promise((resolve) => {
      child.once('exit', () => {
        living.delete(child);
        this.#child = undefined;
        resolve();
      });
    });
  }
}

/** Without a user: each role has its own. */
export const securedRedisUrl = (address: string): string => `rediss://${address}:6379`;

/** Of the spec itself, who may do everything. */
const redisFlags = (secured: Secured | undefined): string[] =>
  (secured === undefined ? [] : ['--tls', '--cacert', join(secured.certificates, 'ca-cert.pem'), '--user', 'spec']);

async function prepareRedis(folder: string, secret: string, { address, secured }: SharedServersOptions): Promise<string> {
  await mkdir(folder);
  if (secured !== undefined) await appendFile(secured.users, `user spec on >${secret} ~* &* +@all\n`);
  const at = (name: string) => join(secured?.certificates ?? '', name);
  const file = join(folder, 'redis.conf');
  await writeFile(file, [
    `bind ${address}`, `dir ${folder}`, 'save ""', 'appendonly yes', 'appendfsync everysec', `logfile ${folder}/redis.log`,
    'maxmemory-policy noeviction', 'enable-debug-command local',
    ...(secured === undefined ? ['port 6379', `requirepass ${secret}`] : [
      'port 0', 'tls-port 6379', `tls-cert-file ${at('server-cert.pem')}`, `tls-key-file ${at('server-key.pem')}`, `tls-ca-cert-file ${at('ca-cert.pem')}`,
      'tls-auth-clients no', `aclfile ${secured.users}`,
    ]),
    '',
  ].join('\n'), { mode: 0o600 });
  return file;
}

async function programs(): Promise<string> {
  const [newest] = (await readdir('/usr/lib/postgresql')).toSorted((a, b) => Number(b) - Number(a));
  return `/usr/lib/postgresql/${newest}/bin`;
}

async function preparePostgres(folder: string, secret: string, { address, network, secured }: SharedServersOptions): Promise<void> {
  const run = createRun({ log: silentLog });
  await mkdir(folder);
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'password'), secret, { mode: 0o600 });
  await run('chown', ['-R', 'postgres:postgres', folder]);
  const data = join(folder, 'data');
  const flags = [
    '-D', data, '-U', 'novact', `--pwfile=${folder}/password`, '--auth-host=scram-sha-256', '--auth-local=trust', '--no-locale', '-E', 'UTF8', '--no-sync',
  ];
  await run('setpriv', ['--reuid', 'postgres', '--regid', 'postgres', '--clear-groups', join(await programs(), 'initdb'), ...flags], { timeoutMs: 60_000 });
  // Without fsync, but with synchronous commits: what was answered survives the death of every process, if not of the machine.
  await appendFile(join(data, 'postgresql.conf'), [
    `listen_addresses = '${address}'`, `unix_socket_directories = '${folder}'`, 'max_connections = 300', 'fsync = off', '',
  ].join('\n'));
  await appendFile(join(data, 'pg_hba.conf'), `${secured === undefined ? 'host' : 'hostssl'} all all ${network} scram-sha-256\n`);
  if (secured === undefined) return;
  for (const name of ['server-cert.pem', 'server-key.pem']) await copyFile(join(secured.certificates, name), join(data, name));
  await run('chown', ['postgres:postgres', join(data, 'server-key.pem')]);
  await chmod(join(data, 'server-key.pem'), 0o600);
  await appendFile(join(data, 'postgresql.conf'), "ssl = on\nssl_cert_file = 'server-cert.pem'\nssl_key_file = 'server-key.pem'\n");
}
