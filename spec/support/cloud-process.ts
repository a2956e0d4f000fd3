// The real product as a user starts it: `bin/novact up` as a process of its own, inside a test host's network namespace, with a state
// folder of its own. What real clients are told to do, they are told with the files that it wrote.
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import type { Run } from '../../src/lib/exec.ts';
import { afterEach } from 'vitest';
import { up, type TestHost } from './host.ts';
import { parseNovarc } from './novarc.ts';
import { waitFor } from './patience.ts';
import { productCommand, withoutNovact } from './product-command.ts';

export interface CloudProcessOptions {
  /** Default `postgres`: the private cluster. */
  readonly database?: 'postgres' | 'pglite';
  readonly guests: 'qemu' | 'lxc';
  /** More settings: `{ NOVACT_LOG_LEVEL: 'debug' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface CloudProcess {
  readonly host: TestHost;
  readonly guests: 'qemu' | 'lxc';
  readonly state: string;
  /** For keys and files of the clients. */
  readonly folder: string;
  /** What `novarc` exports. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs a command in the namespace, with that environment. */
  readonly run: Run;
  /** From the call to the line `novact is ready`, of the last start. */
  readyMs(): number;
  /** The process id while it runs. */
  pid(): number | undefined;
  start(): Promise<number>;
  /** Ctrl-C. Resolves with the exit code. */
  stop(): Promise<number | null>;
  kill9(): Promise<void>;
  /** Runs `novact ARGS` on this state. */
  novact(...args: readonly string[]): Promise<string>;
  /** The cloud's own database; with PGlite only while novact is stopped. */
  openDatabase(): Promise<OpenDatabase>;
  /** The last lines of its output and log, for failures. */
  tail(): Promise<string>;
  /** Everything is gone, whatever state it was in. */
  down(): Promise<void>;
}

const readyTimeoutMs = 120_000;
const stopTimeoutMs = 60_000;

/** `name` becomes the namespace and the folder /tmp/NAME: begin it with `clients-`. What an earlier run left of it is removed first. */
export async function startCloudProcess(name: string, options: CloudProcessOptions): Promise<CloudProcess> {
  const folder = `/tmp/${name}`;
  await (await up(name)).down();
  await rm(folder, { recursive: true, force: true });
  const host = await up(name);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const cloud = new Cloud(host, folder, options);
  try {
    await cloud.start();
    return cloud;
  } catch (error) {
    const said = await cloud.tail();
    await cloud.down();
    throw new Error(`novact did not become ready\n${said}`, { cause: error });
  }
}

class Cloud implements CloudProcess {
  readonly host: TestHost;
  readonly guests: 'qemu' | 'lxc';
  readonly state: string;
  readonly folder: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #usesPglite: boolean;
  environment: Record<string, string> = {};
  #child: ChildProcess | undefined;
  #exited: Promise<number | null> = Promise.resolve(null);
  #readyMs = 0;

  constructor(host: TestHost, folder: string, options: CloudProcessOptions) {
    this.host = host;
    this.folder = folder;
    this.guests = options.guests;
    this.state = join(folder, 'state');
    this.#usesPglite = options.database === 'pglite';
    this.#settings = {
      NOVACT_STATE: this.state,
      NOVACT_LIBVIRT_URI: `${options.guests}:///system`,
      NOVACT_LIBVIRT_SOCKET: host.socket,
      NOVACT_HOST: host.namespace,
      ...(this.#usesPglite ? { NOVACT_DATABASE_URL: `pglite:${join(folder, 'pglite')}` } : {}),
      ...options.settings,
    };
  }

  readonly run: Run = (command, args, options = {}) =>
    this.host.run(command, args, { cwd: this.folder, ...options, env: { HOME: this.folder, ...this.environment, ...options.env } });

  readyMs(): number {
    return this.#readyMs;
  }

  pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<number> {
    if (this.#child !== undefined) throw new Error('it runs already');
    const [command, ...args] = [...productCommand().command, 'up'];
    const startedAt = performance.now();
    const child = spawn('ip', ['netns', 'exec', this.host.namespace, command, ...args], {
      cwd: this.folder, env: { ...withoutNovact(process.env), ...this.#settings }, stdio: ['ignore', 'pipe', 'pipe'], detached: true,
    });
    this.#child = child;
    this.#exited = new Promise((resolveExit) => {
      child.once('exit', (code) => {
        this.#child = undefined;
        resolveExit(code);
      });
    });
    const output = createWriteStream(join(this.folder, 'up.out'), { flags: 'a' });
    child.stderr.pipe(output, { end: false });
    await untilReady(child, output);
    this.#readyMs = Math.round(performance.now() - startedAt);
    this.environment = parseNovarc(await readFile(join(this.state, 'novarc'), 'utf8'));
    return this.#readyMs;
  }

  async stop(): Promise<number | null> {
    const child = this.#child;
    child?.kill('SIGINT');
    const timer = setTimeout(() => child?.kill('SIGKILL'), stopTimeoutMs);
    const code = await this.#exited;
    clearTimeout(timer);
    return code;
  }

  async kill9(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  async novact(...args: readonly string[]): Promise<string> {
    const [command, ...rest] = [...productCommand().command, ...args];
    return (await this.host.run(command, rest, { cwd: this.folder, env: this.#settings, timeoutMs: 60_000 })).stdout;
  }

  async openDatabase(): Promise<OpenDatabase> {
    if (!this.#usesPglite) {
      // The socket lies beside the data unless that path is too long; the server itself says where.
      const [, , , , socket] = (await readFile(join(this.state, 'postgres/data/postmaster.pid'), 'utf8')).split('\n');
      return openDatabase(`postgres://novact@localhost/novact?host=${encodeURIComponent(socket ?? '')}`, { connectionsMax: 2 });
    }
    if (this.#child !== undefined) throw new Error('PGlite has one owner at a time: stop novact first');
    return openDatabase(`pglite:${join(this.folder, 'pglite')}`);
  }

  async tail(): Promise<string> {
    const texts = await Promise.all(['up.out', 'state/novact.log'].map((name) => readFile(join(this.folder, name), 'utf8').catch(() => '')));
    return texts.map((text) => text.split('\n').slice(-40).join('\n')).join('\n---\n');
  }

  async down(): Promise<void> {
    await this.kill9();
    await this.host.down();
    // The namespace took its processes with it; the kernel may need a moment to let go of their files.
    await waitFor(`${this.folder} can be removed`, { timeoutMs: 60_000 }, async () => {
      await rm(this.folder, { recursive: true, force: true });
      return true;
    });
  }
}

/** In a spec file: after each failure, the last lines of the cloud's output and log. */
export function onFailureShow(cloud: () => CloudProcess | undefined): void {
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${(await cloud()?.tail()) ?? 'there is no cloud'}\n`);
  });
}

function untilReady(child: ChildProcess, output: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolveReady, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready after ${readyTimeoutMs} ms`)), readyTimeoutMs);
    let line = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      output.write(chunk);
      line = `${line}${chunk.toString('utf8')}`.slice(-10_000);
      if (!/^novact is ready/m.test(line)) return;
      clearTimeout(timer);
      resolveReady();
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`it ended with code ${code} before it was ready`));
    });
  });
}
