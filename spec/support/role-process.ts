// Roles as an operator starts them: `bin/novact-ROLE` as processes of their own, on a PostgreSQL and a Redis that they share. For specs of what
// many processes do together, and for whoever kills them.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RoleName } from '../../src/config/options.ts';
import { createPostgresCluster } from '../../src/drivers/postgres/cluster.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { freePort } from './free-port.ts';
import type { ReleaseBuild } from './kept-release.ts';
import { parseNovarc } from './novarc.ts';
import { productCommand, withoutNovact } from './product-command.ts';
import { startRedis, type RedisServer, type RedisServerOptions } from './redis-server.ts';

export interface RoleOptions {
  readonly role: RoleName;
  /** NOVACT_HOST. Several processes of one host share its state folder. */
  readonly host: string;
  /** NOVACT_* and their values; NOVACT_STATE must be among them. Ports that are not named are free ones. */
  readonly settings: Readonly<Record<string, string>>;
  /** A network namespace to run in. */
  readonly namespace?: string | undefined;
  /** A command that runs what follows it, in the namespace: `['nice']`. */
  readonly wrap?: readonly string[];
  /** More of the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How a signal reaches it, where `wrap` makes it a process of another machine. */
  readonly signal?: (signal: NodeJS.Signals) => Promise<unknown>;
  /** Default 240 s: two loaded cores start a dozen roles at once. */
  readonly readyMsMax?: number;
}

export interface RoleProcess {
  readonly role: RoleName;
  readonly host: string;
  readonly opsPort: number;
  readonly settings: Readonly<Record<string, string>>;
  /** Undefined when it has ended. */
  pid(): number | undefined;
  /**
   * Resolves when it says that it is ready; rejects with its output when it ends before. Again after stop or kill9: the same process anew.
   * Of an older release, if one is named.
   */
  start(release?: ReleaseBuild): Promise<void>;
  /** SIGTERM; resolves with the exit code. After `stopMsMax` (default 60 s) SIGKILL, and `null`. */
  stop(stopMsMax?: number): Promise<number | null>;
  kill9(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** Resolves when this run of the process has ended, with its code. */
  ended(): Promise<number | null>;
  /** What it said so far, of all its runs. */
  output(): string;
}

/** Started and ready. */
export async function startRole(options: RoleOptions): Promise<RoleProcess> {
  const role = await prepareRole(options);
  await role.start();
  return role;
}

/** Known, but not started. */
export async function prepareRole(options: RoleOptions): Promise<RoleProcess> {
  const ports: Record<string, string> = {};
  for (const name of ['API', 'S3', 'METADATA', 'DASHBOARD', 'OPS'].map((word) => `NOVACT_${word}_PORT`)) {
    ports[name] = options.settings[name] ?? String(await freePort());
  }
  return new Role({ ...options, settings: { ...ports, ...options.settings, NOVACT_HOST: options.host } });
}

/** What is left of them when a spec file ends is killed. */
const living = new Set<ChildProcess>();
process.once('exit', () => living.forEach((child) => child.kill('SIGKILL')));

class Role implements RoleProcess {
  readonly role: RoleName;
  readonly host: string;
  readonly opsPort: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly #options: RoleOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<number | null> = Promise.resolve(null);
  #output = '';

  constructor(options: RoleOptions) {
    this.#options = options;
    this.role = options.role;
    this.host = options.host;
    this.settings = options.settings;
    this.opsPort = Number(options.settings['NOVACT_OPS_PORT']);
  }

  pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(release?: ReleaseBuild): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.role}@${this.host} runs already`);
    const { namespace, wrap = [], env, readyMsMax = 240_000 } = this.#options;
    const { command: [file, ...args], environment } = release === undefined ? productCommand(this.role) : release.command(this.role);
    const state = this.settings['NOVACT_STATE'] ?? '/';
    mkdirSync(state, { recursive: true, mode: 0o711 });
    const [program, ...rest] = [...(namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace]), ...wrap, file, ...args];
    const child = spawn(program ?? file, rest, {
      cwd: state, env: { ...withoutNovact(process.env), ...environment, ...this.settings, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    living.add(child);
    this.#ended = new Promise((resolve) => {
      child.once('exit', (code) => {
        living.delete(child);
        this.#child = undefined;
        resolve(code);
      });
    });
    await this.#untilReady(child, readyMsMax);
  }

  async stop(stopMsMax = 60_000): Promise<number | null> {
    const timer = setTimeout(() => void this.kill9(), stopMsMax);
    await this.#send('SIGTERM');
    const code = await this.#ended;
    clearTimeout(timer);
    return code;
  }

  async kill9(): Promise<void> {
    await this.#send('SIGKILL');
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  pause(): void {
    void this.#send('SIGSTOP');
  }

  resume(): void {
    void this.#send('SIGCONT');
  }

  ended(): Promise<number | null> {
    return this.#ended;
  }

  output(): string {
    return this.#output;
  }

  async #send(signal: NodeJS.Signals): Promise<void> {
    if (this.#child === undefined) return;
    if (this.#options.signal === undefined) this.#child.kill(signal);
    else await this.#options.signal(signal);
  }

  #untilReady(child: ChildProcess, readyMsMax: number): Promise<void> {
    const from = this.#output.length;
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new Error(`novact-${this.role} on ${this.host} ${why}:\n${this.#output.slice(from)}`));
      };
      const timer = setTimeout(() => fail(`is not ready after ${readyMsMax} ms`), readyMsMax);
      const hear = (chunk: Buffer) => {
        this.#output = `${this.#output}${chunk.toString('utf8')}`.slice(-100_000);
        if (!new RegExp(`^novact-${this.role} is ready`, 'm').test(this.#output.slice(Math.min(from, this.#output.length)))) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout?.on('data', hear);
      child.stderr?.on('data', hear);
      child.once('error', (error) => fail(error.message));
      child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
    });
  }
}

export interface SharedServices {
  readonly folder: string;
  readonly redis: RedisServer;
  readonly databaseUrl: string;
  /** Takes the database away for a while: no server runs in between. */
  readonly database: { stop(): Promise<void>; start(): Promise<void> };
  /** What every role of this cloud is given: database, Redis, master key, sim guests. */
  readonly settings: Readonly<Record<string, string>>;
  /** The settings of a host, with a state folder of its own. */
  host(name: string): Readonly<Record<string, string>>;
  /** `novarc` of a host with an api, as variables. */
  novarc(host: string): Promise<Readonly<Record<string, string>>>;
  close(): Promise<void>;
}

/** A PostgreSQL and a Redis of one cloud, in a folder of their own. `durable` (default false): the database waits for the disk. */
export async function startSharedServices(options: { name: string; redis?: RedisServerOptions; durable?: boolean }): Promise<SharedServices> {
  const folder = mkdtempSync(join(tmpdir(), `novact-${options.name}-`));
  chmodSync(folder, 0o711); // The database runs under an account of its own.
  const cluster = createPostgresCluster({
    directory: join(folder, 'postgres'), run: createRun({ log: silentLog }), log: silentLog, clock: systemClock,
    durable: options.durable ?? false, connectionsMax: 300,
  });
  const redis = await startRedis(options.redis);
  const { url: databaseUrl } = await cluster.start();
  const masterKey = join(folder, 'master.key');
  writeFileSync(masterKey, randomBytes(32), { mode: 0o600 });
  const settings = {
    NOVACT_DATABASE_URL: databaseUrl, NOVACT_REDIS_URL: redis.url, NOVACT_MASTER_KEY: masterKey, NOVACT_HYPERVISOR: 'sim',
    NOVACT_MEMORY_RESERVED_MIB: '0', NOVACT_DISK_RESERVED_GIB: '0',
  };
  return {
    folder, redis, databaseUrl, settings,
    database: { stop: () => cluster.stop(), start: async () => void (await cluster.start()) },
    host: (name) => ({ ...settings, NOVACT_STATE: join(folder, name) }),
    async novarc(host) {
      return parseNovarc(await readFile(join(folder, host, 'novarc'), 'utf8'));
    },
    async close() {
      await redis.close();
      await cluster.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
