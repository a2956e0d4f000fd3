// The servers of exports: one process for each, so that the death or the pause of one is felt by one guest. They outlive novact, as guests
// do; whoever comes next finds them in /proc by an argument that only theirs has.
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Run } from '../../lib/exec.ts';
import { endProcess, findProcesses, signalProcess, type FoundProcess } from '../../lib/processes.ts';

export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where it writes what it says. */
  readonly logPath: string;
}

const watchMs = 500;

/** Out of this process's group, and with no file of it: nothing of novact's end reaches the server. */
const apart = 'log=$1; shift; exec setsid --fork "$@" </dev/null >>"$log" 2>&1';

export class ExportServers {
  readonly #program: string;
  readonly #run: Run;
  readonly #clock: Clock;
  /** By mark: the servers that are to live. */
  readonly #watched = new Map<string, () => void>();
  #timer: Timer | undefined;
  #isClosed = false;

  /** `program`: the name of the command, as the first argument of its processes. */
  constructor(program: string, run: Run, clock: Clock) {
    this.#program = program;
    this.#run = run;
    this.#clock = clock;
  }

  async find(mark: string): Promise<FoundProcess | undefined> {
    return (await this.list()).find(({ args }) => args.includes(mark));
  }

  /** All of this program on this machine, whoever started them. */
  list(): Promise<readonly FoundProcess[]> {
    return findProcesses((args) => args[0]?.split('/').at(-1) === this.#program);
  }

  /** Starts it apart from this process; that it serves is the caller's to find out. */
  async start({ command, args, env = {}, logPath }: ServerCommand): Promise<void> {
    await this.#run('sh', ['-c', apart, 'sh', logPath, command, ...args], { env });
  }

  /** After: it is gone, killed: there is nothing that a server of blocks could still write. */
  async end(mark: string): Promise<void> {
    this.#watched.delete(mark);
    for (let found = await this.find(mark); found !== undefined; found = await this.find(mark)) {
      signalProcess(found.pid, 'SIGKILL');
      await endProcess(found, this.#clock);
    }
  }

  /** It stands still until the work is done, and goes on however it ends. */
  async hold<T>(mark: string, work: () => Promise<T>): Promise<T> {
    const found = await this.find(mark);
    if (found === undefined) return work();
    signalProcess(found.pid, 'SIGSTOP');
    try {
      return await work();
    } finally {
      signalProcess(found.pid, 'SIGCONT');
    }
  }

  /** Calls back once when it is not there any more. */
  watch(mark: string, onDeath: () => void): void {
    this.#watched.set(mark, onDeath);
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#isClosed || this.#watched.size === 0) return;
    this.#timer = this.#clock.after(watchMs, () => void this.#look(), { unref: true });
  }

  async #look(): Promise<void> {
    // Of one that is watched since then, the list says nothing.
    const watched = [...this.#watched];
    const alive = await this.list();
    this.#timer = undefined;
    for (const [mark, onDeath] of watched) {
      if (this.#isClosed || this.#watched.get(mark) !== onDeath || alive.some(({ args }) => args.includes(mark))) continue;
      this.#watched.delete(mark);
      onDeath();
    }
    this.#schedule();
  }
}
