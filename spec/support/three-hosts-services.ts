// What the hosts of one cloud share, in a network namespace of its own: a PostgreSQL with a password, a Redis with one, and a balancer
// before the APIs. They listen on the management network as they would on machines of their own.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFile, chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { waitFor } from './patience.ts';

export interface SharedServers {
  readonly databaseUrl: string;
  /** The same database for whoever is not on that network. */
  readonly localDatabaseUrl: string;
  readonly redisUrl: string;
  redis(...words: readonly string[]): Promise<string>;
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
}

const readyMsMax = 20_000;

export async function startSharedServers(options: SharedServersOptions): Promise<SharedServers> {
  const { namespace, folder, address } = options;
  const run = createRun({ log: silentLog, networkNamespace: namespace });
  const children: ChildProcess[] = [];
  const start = (command: string, ...args: readonly string[]): void => {
    const child = spawn('ip', ['netns', 'exec', namespace, command, ...args], { stdio: 'ignore' });
    children.push(child);
    process.once('exit', () => child.kill('SIGKILL'));
  };
  const secret = randomBytes(12).toString('hex');
  const postgres = join(folder, 'postgres');
  await preparePostgres(postgres, secret, options);
  const asPostgres = ['--reuid', 'postgres', '--regid', 'postgres', '--clear-groups'] as const;
  start('setpriv', ...asPostgres, join(await programs(), 'postgres'), '-D', join(postgres, 'data'));

  const redis = join(folder, 'redis');
  await mkdir(redis);
  await writeFile(join(redis, 'redis.conf'), [
    `bind ${address}`, 'port 6379', `dir ${redis}`, `requirepass ${secret}`, 'save ""', 'appendonly yes', 'appendfsync everysec', `logfile ${redis}/redis.log`,
    'maxmemory-policy noeviction', '',
  ].join('\n'), { mode: 0o600 });
  start('redis-server', join(redis, 'redis.conf'));
  const command = async (...words: readonly string[]) =>
    (await run('redis-cli', ['-h', address, '--raw', ...words], { env: { REDISCLI_AUTH: secret } })).stdout.trimEnd();
  start(process.execPath, join(import.meta.dirname, 'tcp-balancer.mjs'), `${address}:8773`, ...options.apis);

  const psql = (...args: readonly string[]) => run('setpriv', [...asPostgres, 'psql', '-qAt', '-h', postgres, '-U', 'novact', '-d', 'postgres', ...args]);
  await waitFor('PostgreSQL answers', { timeoutMs: readyMsMax, pollMs: 50 }, () => psql('-c', 'select 1'));
  await psql('-c', 'create database novact');
  await waitFor('Redis answers', { timeoutMs: readyMsMax, pollMs: 50 }, async () => ((await command('PING')) === 'PONG' ? true : undefined));
  return {
    databaseUrl: `postgres://novact:${secret}@${address}/novact`,
    localDatabaseUrl: `postgres://novact:${secret}@localhost/novact?host=${encodeURIComponent(postgres)}`,
    redisUrl: `redis://:${secret}@${address}:6379`,
    redis: command,
    async close() {
      await Promise.all(children.map((child) => new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve(undefined);
        child.once('exit', resolve);
        child.kill('SIGKILL');
      })));
    },
  };
}

async function programs(): Promise<string> {
  const [newest] = (await readdir('/usr/lib/postgresql')).toSorted((a, b) => Number(b) - Number(a));
  return `/usr/lib/postgresql/${newest}/bin`;
}

async function preparePostgres(folder: string, secret: string, { address, network }: SharedServersOptions): Promise<void> {
  const run = createRun({ log: silentLog });
  await mkdir(folder);
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'password'), secret, { mode: 0o600 });
  await run('chown', ['-R', 'postgres:postgres', folder]);
  const data = join(folder, 'data');
  const flags = ['-D', data, '-U', 'novact', `--pwfile=${folder}/password`, '--auth-host=scram-sha-256', '--auth-local=trust', '--no-locale', '-E', 'UTF8', '--no-sync'];
  await run('setpriv', ['--reuid', 'postgres', '--regid', 'postgres', '--clear-groups', join(await programs(), 'initdb'), ...flags], { timeoutMs: 60_000 });
  await appendFile(join(data, 'postgresql.conf'), [
    `listen_addresses = '${address}'`, `unix_socket_directories = '${folder}'`, 'max_connections = 300', 'fsync = off', 'synchronous_commit = off', '',
  ].join('\n'));
  await appendFile(join(data, 'pg_hba.conf'), `host all all ${network} scram-sha-256\n`);
}
