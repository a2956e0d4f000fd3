// The private PostgreSQL of one novact: made on first use, started as a process of its own that outlives novact, adopted by the next
// start, and started again when it dies. Everything it needs is rendered here; nothing of the machine's own PostgreSQL is touched.
import { chmod, chown, mkdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError, messageOf, SetupError } from '../../lib/errors.ts';
import type { Run, RunOptions, RunResult } from '../../lib/exec.ts';
import { processesIn, worksIn } from '../../lib/folder-processes.ts';
import type { Log } from '../../lib/log.ts';
import { retry } from '../../lib/retry.ts';
import { commandAs, type Account } from '../../lib/server-account.ts';
import { socketDirectoryOf } from '../../lib/socket-directory.ts';
import { serverAccount } from './accounts.ts';
import { databaseName, databaseUrlOf, databaseUser, renderAccess, renderAccounts, renderConfiguration } from './configuration.ts';
import { postmasterOf } from './processes.ts';
import { findPrograms, type Programs } from './programs.ts';

export type ClusterEvent =
  | { readonly type: 'died' }
  | { readonly type: 'restarted'; readonly tries: number }
  /** It could not be started again: nothing works until somebody looks at it. */
  | { readonly type: 'failed'; readonly error: unknown };

export interface ClusterOptions {
  /** Of the cluster's own; made with its parents when it is missing. */
  readonly directory: string;
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
  /** Default true. False, for tests, trades safety for speed. */
  readonly durable?: boolean;
  /** Default 40. */
  readonly connectionsMax?: number;
  readonly onEvent?: (event: ClusterEvent) => void;
  /** How often the server is looked for. Default 500 ms. */
  readonly watchIntervalMs?: number;
}

export interface StartedCluster {
  /** `postgres://novact@localhost/novact?host=…`: through a unix socket. */
  readonly url: string;
  readonly pid: number;
  readonly how: 'created' | 'started' | 'adopted';
}

export interface PostgresCluster {
  /** After: it accepts connections. Repeatable. Throws SetupError where it cannot run at all, DriverError `failed` when it did not start. */
  start(): Promise<StartedCluster>;
  /** After: it has ended cleanly. Not an error if it was not running. */
  stop(): Promise<void>;
  /** Stops watching; the server goes on. */
  leave(): void;
}

const logBytesMax = 8 * 1024 * 1024;

/** Whether a private cluster can run here; otherwise why not. */
export function postgresObstacle(): string | undefined {
  if (findPrograms() === undefined) return 'PostgreSQL 15 or newer is not installed';
  return serverAccount() === undefined ? 'PostgreSQL does not run as root, and there is no account `postgres`' : undefined;
}

export function createPostgresCluster(options: ClusterOptions): PostgresCluster {
  return new Cluster(options);
}

class Cluster implements PostgresCluster {
  readonly #options: ClusterOptions;
  readonly #directory: string;
  readonly #data: string;
  readonly #socketDirectory: string;
  readonly #serverLog: string;
  #watch: { cancel(): void } | undefined;
  #stopping = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#directory = resolve(options.directory);
    this.#data = join(this.#directory, 'data');
    this.#serverLog = join(this.#directory, 'server.log');
    this.#socketDirectory = socketDirectoryOf(this.#directory);
  }

  async start(): Promise<StartedCluster> {
    this.#stopping = false;
    const account = requireAccount();
    await this.#prepareFolders(account);
    const created = await this.#ensureData(account);
    const running = await postmasterOf(this.#data);
    const pid = running ?? (await this.#launch(account));
    if (running !== undefined) await this.#waitUntilReady(account);
    this.#watchOver(pid);
    this.#options.log.info({ pid, socket: this.#socketDirectory }, running === undefined ? 'database started' : 'database adopted');
    return { url: databaseUrlOf(this.#socketDirectory), pid, how: created ? 'created' : running === undefined ? 'started' : 'adopted' };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.leave();
    if ((await postmasterOf(this.#data)) === undefined) return;
    const programs = await this.#programs();
    const account = requireAccount();
    const stopBy = (mode: string) => this.#runAs(account, programs.pgCtl, ['stop', '-D', this.#data, '-m', mode, '-w', '-t', '20'], { timeoutMs: 25_000 });
    try {
      await stopBy('fast');
    } catch (error) {
      this.#options.log.warn({ error: messageOf(error) }, 'database does not stop fast: immediately then; it recovers at its next start');
      await stopBy('immediate');
    }
    // The server's pid file, for which pg_ctl waits, is gone a moment before the server.
    await this.#waitForEnd();
  }

  leave(): void {
    this.#watch?.cancel();
    this.#watch = undefined;
  }

  async #prepareFolders(account: Account): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o711 });
    await ownedFolder(this.#directory, account);
    await mkdir(dirname(this.#socketDirectory), { recursive: true, mode: 0o711 });
    await mkdir(this.#socketDirectory, { recursive: true, mode: 0o700 });
    await ownedFolder(this.#socketDirectory, account);
    try {
      await this.#runAs(account, 'test', ['-w', this.#directory, '-a', '-w', this.#socketDirectory]);
    } catch (cause) {
      throw new SetupError(
        `the account ${account.name}, which runs the database, cannot enter ${this.#directory}`,
        'Give others the right to pass through the folders above it (chmod o+x), or choose another state folder (NOVACT_STATE).',
        { cause },
      );
    }
  }

  /** Made beside its place and moved there when complete, so that a kill in between leaves nothing half. True if it was made. */
  async #ensureData(account: Account): Promise<boolean> {
    if (await exists(join(this.#data, 'PG_VERSION'))) return false;
    const programs = await this.#programs();
    const fresh = `${this.#data}.new`;
    await rm(fresh, { recursive: true, force: true });
    const flags = ['-D', fresh, '-U', databaseUser, '-A', 'peer', '--no-locale', '-E', 'UTF8', '--no-sync'];
    await this.#runAs(account, programs.initdb, flags, { timeoutMs: 120_000 });
    await this.#configure(fresh, account);
    await this.#runAs(account, programs.postgres, ['--single', '-F', '-D', fresh, '-c', 'wal_level=minimal', 'postgres'], {
      input: `create database ${databaseName}\n`,
      timeoutMs: 60_000,
    });
    await this.#options.run('sync', ['-f', fresh], { timeoutMs: 120_000 });
    await rename(fresh, this.#data);
    await this.#options.run('sync', ['-f', this.#directory], { timeoutMs: 120_000 });
    return true;
  }

  async #configure(directory: string, account: Account): Promise<void> {
    const files = {
      'postgresql.conf': renderConfiguration({
        socketDirectory: this.#socketDirectory,
        durable: this.#options.durable ?? true,
        connectionsMax: this.#options.connectionsMax ?? 40,
      }),
      'pg_hba.conf': renderAccess(),
      'pg_ident.conf': renderAccounts([...new Set([account.name, process.getuid?.() === 0 ? 'root' : account.name])]),
    };
    for (const [name, content] of Object.entries(files)) {
      const path = join(directory, name);
      await writeFile(`${path}.new`, content, { mode: 0o600 });
      await chown(`${path}.new`, account.uid, account.gid);
      await rename(`${path}.new`, path);
    }
  }

  async #launch(account: Account): Promise<number> {
    const programs = await this.#programs();
    await this.#waitForLeftovers();
    await this.#configure(this.#data, account);
    await prepareLog(this.#serverLog, account);
    try {
      await this.#runAs(account, programs.pgCtl, ['start', '-D', this.#data, '-w', '-t', '60', '-l', this.#serverLog], { timeoutMs: 65_000 });
    } catch (cause) {
      const last = (await readFile(this.#serverLog, 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('; ');
      throw new DriverError('failed', `the private database did not start: ${last}`, { cause, output: last });
    }
    const pid = await postmasterOf(this.#data);
    if (pid === undefined) throw new DriverError('failed', `the private database ended as soon as it had started; see ${this.#serverLog}`);
    return pid;
  }

  /** Backends of a postmaster that was killed hold on for a moment; and a pid file whose number now belongs to a stranger would stop the server. */
  async #waitForLeftovers(): Promise<void> {
    await this.#waitForEnd();
    await rm(join(this.#data, 'postmaster.pid'), { force: true });
  }

  async #waitForEnd(): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.now() + 15_000;
    for (let left = await processesIn(this.#data); left.length > 0; left = await processesIn(this.#data)) {
      if (clock.now() > deadline) throw new DriverError('busy', `processes ${left.join(', ')} of an earlier database do not end`);
      await clock.sleep(50);
    }
  }

  async #waitUntilReady(account: Account): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.now() + 60_000;
    const isReady = async () => /^(ready|standby) *$/m.test(await readFile(join(this.#data, 'postmaster.pid'), 'utf8').catch(() => ''));
    while (!(await isReady())) {
      if (clock.now() > deadline) {
        throw new DriverError('timeout', `the running database of ${account.name} is not ready after a minute; see ${this.#serverLog}`);
      }
      await clock.sleep(50);
    }
  }

  /** It is not our child, or will not be after the next start, so it is looked at instead of waited for. */
  #watchOver(pid: number): void {
    this.leave();
    const look = async () => {
      if (this.#watch !== timer) return;
      const works = await worksIn(pid, this.#data);
      // Stopped meanwhile, and perhaps started anew: who watches that one is another.
      if (this.#stopping || this.#watch !== timer) return;
      if (works) return again();
      await this.#revive();
    };
    let timer = { cancel: () => undefined as void };
    const again = () => {
      const next = this.#options.clock.after(this.#options.watchIntervalMs ?? 500, () => void look(), { unref: true });
      timer = next;
      this.#watch = next;
    };
    again();
  }

  async #revive(): Promise<void> {
    const { clock, log, onEvent } = this.#options;
    log.error('the private database died: starting it again');
    onEvent?.({ type: 'died' });
    let tries = 0;
    try {
      const account = requireAccount();
      const pid = await retry(
        (number) => {
          tries = number;
          if (this.#stopping) throw new DriverError('failed', 'the database is being stopped');
          return this.#launch(account);
        },
        { clock, triesMax: 6, firstDelayMs: 200, delayMsMax: 5_000, mayRetry: () => !this.#stopping },
      );
      if (this.#stopping) return;
      this.#watchOver(pid);
      log.info({ pid, tries }, 'database started again');
      onEvent?.({ type: 'restarted', tries });
    } catch (error) {
      if (!this.#stopping) onEvent?.({ type: 'failed', error });
    }
  }

  /** A cluster can only be served by the version that made it. */
  async #programs(): Promise<Programs> {
    const made = Number.parseInt(await readFile(join(this.#data, 'PG_VERSION'), 'utf8').catch(() => ''), 10);
    const programs = findPrograms(Number.isNaN(made) ? {} : { version: made });
    if (programs !== undefined) return programs;
    const wanted = Number.isNaN(made) ? 'PostgreSQL 15 or newer' : `PostgreSQL ${made}, which made ${this.#data},`;
    throw new SetupError(`${wanted} is not installed`, `apt-get install postgresql-${Number.isNaN(made) ? 15 : made}`);
  }

  #runAs(account: Account, command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const [file, rest] = commandAs(account, command, args);
    return this.#options.run(file, rest, { cwd: '/', ...options });
  }
}

function requireAccount(): Account {
  const account = serverAccount();
  if (account !== undefined) return account;
  throw new SetupError('PostgreSQL does not run as root, and there is no account `postgres`', 'apt-get install postgresql-15');
}

async function ownedFolder(path: string, account: Account): Promise<void> {
  const { uid } = await stat(path);
  if (uid !== account.uid && process.getuid?.() !== 0) {
    throw new SetupError(`${path} belongs to another user`, 'Choose another state folder (NOVACT_STATE), or remove it.');
  }
  if (uid !== account.uid) await chown(path, account.uid, account.gid);
  await chmod(path, 0o700);
}

async function prepareLog(path: string, account: Account): Promise<void> {
  const size = await stat(path).then((file) => file.size, () => undefined);
  if (size !== undefined && size > logBytesMax) await truncate(path, 0);
  if (size === undefined) await writeFile(path, '', { mode: 0o600, flag: 'a' });
  await chown(path, account.uid, account.gid);
}

const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);
