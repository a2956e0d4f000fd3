// The servers of exports: one process for each attachment, so that the death or the pause of one is felt by one guest. They outlive novact, as guests
// do; whoever comes next finds them in /proc by an argument that only theirs has: the path of a file in the attachment's folder.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { endProcess, findProcesses, signalProcess, type FoundProcess } from '../../lib/processes.ts';

export interface ExportProgram {
  /** The command, as the first argument of its processes. */
  readonly name: string;
  /** Debian's, which brings it. */
  readonly package: string;
  /** With these it says something of itself, and ends. */
  readonly probeArgs: readonly string[];
  /** The file in an attachment's folder whose path is an argument of its server. */
  readonly markName: string;
  /** May it stand still for as long as a volume is copied? */
  readonly holds: boolean;
}

export interface ExportServersOptions {
  /** In it, each attachment has a folder of its own. */
  readonly folder: string;
  readonly run: Run;
  readonly clock: Clock;
}

export interface ServerStart {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Asked until it is known: true when it serves, false when it cannot. `said`: all that it wrote. */
  serves(said: string): Promise<boolean | undefined>;
}

const watchMs = 500;
const readyMs = 10_000;
const pollMs = 20;
/** A busy host may take its time to make a process. */
const forkMs = 3_000;

/** Out of this process's group, and with no file of it: nothing of novact's end reaches the server. */
const apart = 'log=$1; shift; exec setsid --fork "$@" </dev/null >>"$log" 2>&1';

export class ExportServers {
  readonly #program: ExportProgram;
  readonly #options: ExportServersOptions;
  /** By attachment: the servers that are to live, each with the look at it that counts. */
  readonly #watched = new Map<string, symbol>();
  #onDeath: (attachmentId: string) => void = () => undefined;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(program: ExportProgram, options: ExportServersOptions) {
    this.#program = program;
    this.#options = options;
  }

  get holds(): boolean {
    return this.#program.holds;
  }

  /** Throws `unsupported` when the program is not there. */
  async probe(): Promise<void> {
    const { name, package: brings, probeArgs } = this.#program;
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
    await this.#options.run(name, probeArgs, { okCodes: [0, 1] }).catch((cause: unknown) => {
      throw new DriverError('unsupported', `${name} is not installed; mend it with: apt-get install ${brings}`, { cause });
    });
  }

  folderOf(attachmentId: string): string {
    return join(this.#options.folder, attachmentId);
  }

  markOf(attachmentId: string): string {
    return join(this.folderOf(attachmentId), this.#program.markName);
  }

  async find(attachmentId: string): Promise<FoundProcess | undefined> {
    const mark = this.markOf(attachmentId);
    return (await this.list()).find(({ args }) => args.includes(mark));
  }

  /** The one that is there. One that was held when novact died stands still: it goes on. */
  async resume(attachmentId: string): Promise<FoundProcess | undefined> {
    const found = await this.find(attachmentId);
    if (found !== undefined) signalProcess(found.pid, 'SIGCONT');
    return found;
  }

  /** All of this program on this machine, whoever started them. */
  list(): Promise<readonly FoundProcess[]> {
    return findProcesses((args) => args[0]?.split('/').at(-1) === this.#program.name);
  }

  /** After: no server, and its folder is empty. */
  async clear(attachmentId: string): Promise<string> {
    await this.end(attachmentId);
    const folder = this.folderOf(attachmentId);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  /** In a folder that is there: starts it apart from this process, and waits until it serves. False: it cannot. Unless it serves, it does not run. */
  async start(attachmentId: string, how: ServerStart): Promise<boolean> {
    let isServing = false;
    try {
      isServing = await this.#launch(attachmentId, how);
    } finally {
      if (!isServing) await this.#kill(attachmentId);
    }
    return isServing;
  }

  /** After: it is gone, and so is its folder. */
  async end(attachmentId: string): Promise<void> {
    await this.#kill(attachmentId);
    await rm(this.folderOf(attachmentId), { recursive: true, force: true });
  }

  /** It stands still until the work is done, and goes on however it ends. */
  async hold<T>(attachmentId: string, work: () => Promise<T>): Promise<T> {
    const found = await this.find(attachmentId);
    if (found === undefined) return work();
    signalProcess(found.pid, 'SIGSTOP');
    try {
      return await work();
    } finally {
      signalProcess(found.pid, 'SIGCONT');
    }
  }

  /** Calls back once with each watched attachment whose server is not there any more. */
  onDeath(listener: (attachmentId: string) => void): void {
    this.#onDeath = listener;
  }

  watch(attachmentId: string): void {
    this.#watched.set(attachmentId, Symbol(attachmentId));
    this.#schedule();
  }

  /** Stops watching. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #launch(attachmentId: string, { args, env = {}, serves }: ServerStart): Promise<boolean> {
    const { run, clock } = this.#options;
    const [what, log] = [`${this.#program.name} for ${attachmentId}`, join(this.folderOf(attachmentId), 'log')];
    await run('sh', ['-c', apart, 'sh', log, this.#program.name, ...args], { env });
    for (const startedAt = clock.now(); clock.now() - startedAt < readyMs; await clock.sleep(pollMs)) {
      const isDead = clock.now() - startedAt > forkMs && (await this.find(attachmentId)) === undefined;
      const said = await readFile(log, 'utf8').catch(() => '');
      const isServing = await serves(said);
      if (isServing !== undefined) return isServing;
      if (isDead) throw new DriverError('failed', `${what} ended: ${said.trim().split('\n').at(-1) ?? ''}`, { output: said.slice(-2_000) });
    }
    throw new DriverError('timeout', `${what} does not serve after ${readyMs} ms`);
  }

  /** There is nothing that a server of blocks could still write. */
  async #kill(attachmentId: string): Promise<void> {
    this.#watched.delete(attachmentId);
    for (let found = await this.find(attachmentId); found !== undefined; found = await this.find(attachmentId)) {
      signalProcess(found.pid, 'SIGKILL');
      await endProcess(found, this.#options.clock);
    }
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#isClosed || this.#watched.size === 0) return;
    this.#timer = this.#options.clock.after(watchMs, () => void this.#look(), { unref: true });
  }

  async #look(): Promise<void> {
    // Of one that is watched since then, the list says nothing.
    const watched = [...this.#watched];
    const alive = await this.list();
    this.#timer = undefined;
    for (const [attachmentId, look] of watched) {
      const mark = this.markOf(attachmentId);
      if (this.#isClosed || this.#watched.get(attachmentId) !== look || alive.some(({ args }) => args.includes(mark))) continue;
      this.#watched.delete(attachmentId);
      this.#onDeath(attachmentId);
    }
    this.#schedule();
  }
}
