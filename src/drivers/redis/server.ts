// The private Redis of `novact up --services`: made on first use, a process of its own that outlives novact, adopted by the next start, and
// started again when it dies. Its password is generated, and lies beside it for its owner alone.
import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError, SetupError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { processesIn, worksIn } from '../../lib/folder-processes.ts';
import type { Log } from '../../lib/log.ts';
import { retry } from '../../lib/retry.ts';
import { commandAs, type Account } from '../../lib/server-account.ts';
import { socketDirectoryOf } from '../../lib/socket-directory.ts';
import { renderConfiguration } from './configuration.ts';
import { probeRedis } from './probe.ts';

export interface RedisServiceOptions {
  /** Of the server's own; made with its parents when it is missing. */
  readonly directory: string;
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
  /** It could not be started again: nothing works until somebody looks at it. */
  readonly onFailed?: (error: unknown) => void;
  /** How often the server is looked for. Default 500 ms. */
  readonly watchIntervalMs?: number;
}

export interface RedisService {
  /** After: it serves. Repeatable. `redis://:PASSWORD@/path/of/the/socket`. */
  start(): Promise<{ readonly url: string; readonly pid: number; readonly how: 'started' | 'adopted' }>;
  /** After: it has ended and written what it had. Not an error if it was not running. */
  stop(): Promise<void>;
  /** Stops watching; the server goes on. */
  leave(): void;
}

const program = '/usr/bin/redis-server';
const startMsMax = 60_000;
const stopMsMax = 20_000;
const logBytesMax = 8 * 1024 * 1024;

/** Whether a private Redis can run here; otherwise why not. */
export function redisObstacle(): string | undefined {
  try {
    accessSync(program, constants.X_OK);
    return undefined;
  } catch {
    return 'redis-server is not installed';
  }
}

export const createRedisService = (options: RedisServiceOptions): RedisService => new Server(options);

class Server implements RedisService {
  readonly #options: RedisServiceOptions;
  readonly #directory: string;
  readonly #data: string;
  readonly #socketDirectory: string;
  readonly #socket: string;
  #watch: { cancel(): void } | undefined;
  #stopping = false;

  constructor(options: RedisServiceOptions) {
    this.#options = options;
    this.#directory = resolve(options.directory);
    this.#data = join(this.#directory, 'data');
    this.#socketDirectory = socketDirectoryOf(this.#directory);
    this.#socket = join(this.#socketDirectory, 'redis.sock');
  }

  async start(): Promise<{ url: string; pid: number; how: 'started' | 'adopted' }> {
    this.#stopping = false;
    const obstacle = redisObstacle();
    if (obstacle !== undefined) throw new SetupError(obstacle, 'apt-get install -y --no-install-recommends redis-server');
    await this.#prepare();
    const [running] = await processesIn(this.#data);
    const pid = running ?? (await this.#launch());
    if (running !== undefined) await this.#untilReady();
    this.#watchOver(pid);
    this.#options.log.info({ pid, socket: this.#socket }, running === undefined ? 'redis started' : 'redis adopted');
    const url = `redis://:${encodeURIComponent(await this.#password())}@${this.#socket}`;
    return { url, pid, how: running === undefined ? 'started' : 'adopted' };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.leave();
    const { clock } = this.#options;
    const pids = await processesIn(this.#data);
    for (const pid of pids) process.kill(pid, 'SIGTERM');
    const deadline = clock.now() + stopMsMax;
    while ((await processesIn(this.#data)).length > 0) {
      if (clock.now() > deadline) throw new DriverError('timeout', `redis-server (${pids.join(', ')}) does not end after ${stopMsMax / 1_000} s`);
      await clock.sleep(50);
    }
  }

  leave(): void {
    this.#watch?.cancel();
    this.#watch = undefined;
  }

  async #prepare(): Promise<void> {
    const account = accountOfServer();
    for (const path of [dirname(this.#directory), dirname(this.#socketDirectory)]) await mkdir(path, { recursive: true, mode: 0o711 });
    for (const path of [this.#directory, this.#data, this.#socketDirectory]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
      await this.#give(path, account, 0o700);
    }
    const [file, args] = commandAs(account, 'test', ['-w', this.#data, '-a', '-w', this.#socketDirectory]);
    await this.#options.run(file, args, { cwd: '/' }).catch((cause: unknown) => {
      throw new SetupError(
        `the account ${account.name}, which runs Redis, cannot enter ${this.#directory}`,
        'Give others the right to pass through the folders above it (chmod o+x), or choose another state folder (NOVACT_STATE).', { cause },
      );
    });
  }

  async #password(): Promise<string> {
    const path = join(this.#directory, 'password');
    const known = (await readFile(path, 'utf8').catch(() => '')).trim();
    if (known.length >= 40) return known;
    const password = randomBytes(32).toString('base64url');
    await writeFile(path, `${password}\n`, { mode: 0o600 });
    return password;
  }

  async #launch(): Promise<number> {
    const account = accountOfServer();
    const configuration = join(this.#directory, 'redis.conf');
    const logFile = join(this.#directory, 'server.log');
    await rm(this.#socket, { force: true });
    if ((await stat(logFile).then((file) => file.size, () => 0)) > logBytesMax) await truncate(logFile, 0);
    const text = renderConfiguration({
      directory: this.#data, socket: this.#socket, pidFile: join(this.#directory, 'redis.pid'), logFile, password: await this.#password(),
    });
    await writeFile(`${configuration}.new`, text, { mode: 0o600 });
    await this.#give(`${configuration}.new`, account, 0o600);
    await rename(`${configuration}.new`, configuration);
    const [file, args] = commandAs(account, program, [configuration]);
    await this.#options.run(file, args, { cwd: '/', timeoutMs: startMsMax });
    await this.#untilReady();
    const [pid] = await processesIn(this.#data);
    if (pid === undefined) throw new DriverError('failed', `the private Redis ended as soon as it had started; see ${logFile}`);
    return pid;
  }

  /** Its file may be long: loading is waited for, silence only for a while. */
  async #untilReady(): Promise<void> {
    const { clock } = this.#options;
    const password = await this.#password();
    const deadline = clock.now() + startMsMax;
    while ((await probeRedis({ socket: this.#socket, password, clock })) !== 'ready') {
      if (clock.now() > deadline) {
        throw new DriverError('timeout', `the private Redis does not serve after ${startMsMax / 1_000} s; see ${this.#directory}/server.log`);
      }
      await clock.sleep(20);
    }
  }

  /** It is not our child, so it is looked at instead of waited for. */
  #watchOver(pid: number): void {
    this.leave();
    const { clock, watchIntervalMs = 500 } = this.#options;
    const look = async () => {
      if (await worksIn(pid, this.#data)) return again();
      if (!this.#stopping && this.#watch === timer) await this.#revive();
    };
    let timer: { cancel(): void } = { cancel: () => undefined };
    const again = () => {
      if (this.#watch !== undefined && this.#watch !== timer) return;
      timer = clock.after(watchIntervalMs, () => void look(), { unref: true });
      this.#watch = timer;
    };
    again();
  }

  async #revive(): Promise<void> {
    const { clock, log, onFailed } = this.#options;
    log.error('the private Redis died: starting it again');
    const mayRetry = () => !this.#stopping;
    try {
      const pid = await retry(() => this.#launch(), { clock, triesMax: 6, firstDelayMs: 200, delayMsMax: 5_000, mayRetry });
      if (this.#stopping) return;
      this.#watchOver(pid);
      log.info({ pid }, 'redis started again');
    } catch (error) {
      if (!this.#stopping) onFailed?.(error);
    }
  }

  async #give(path: string, account: Account, mode: number): Promise<void> {
    if (process.getuid?.() === 0) await chown(path, account.uid, account.gid);
    await chmod(path, mode);
  }
}

/** Root hands it to the distribution's account, where there is one. */
function accountOfServer(): Account {
  const own: Account = { name: process.env['USER'] ?? 'this user', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (own.uid !== 0) return own;
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((one) => one.startsWith('redis:'));
  const [name, , uid, gid] = line?.split(':') ?? [];
  return name === undefined ? { ...own, name: 'root' } : { name, uid: Number(uid), gid: Number(gid) };
}

