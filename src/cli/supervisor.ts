// Keeps processes of novact running: started together, started again with a growing pause when one dies, ended one after another.
import { spawn, type ChildProcess } from 'node:child_process';
import type { Clock, Timer } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { backOffMs } from '../lib/retry.ts';

export interface Program {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  /** In its output: it is ready. */
  readonly readyPattern: RegExp;
}

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly onEvent: (name: string, text: string) => void;
  readonly stopMsMax: number;
}

export interface Supervisor {
  /** Resolves when all are ready. Rejects when one ends before it was ever ready. */
  start(programs: readonly Program[]): Promise<void>;
  /** One after another, in the order given at the start, backwards. SIGKILL after the deadline. */
  stop(): Promise<void>;
}

const pauses = { firstDelayMs: 500, delayMsMax: 30_000 };
/** Who ran so long did not fail at its start: the pauses begin anew. */
const settledMs = 60_000;
const outputKept = 4_000;

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const kept: Kept[] = [];
  return {
    async start(programs) {
      kept.push(...programs.map((program) => new Kept(program, options)));
      await Promise.all(kept.map((one) => one.start()));
    },
    async stop() {
      for (const one of kept) one.holdOff();
      for (const one of kept.splice(0).toReversed()) await one.stop();
    },
  };
}

class Kept {
  readonly #program: Program;
  readonly #options: SupervisorOptions;
  #child: ChildProcess | undefined;
  #pause: Timer | undefined;
  #deaths = 0;
  #wasReady = false;
  #isStopping = false;

  constructor(program: Program, options: SupervisorOptions) {
    this.#program = program;
    this.#options = options;
  }

  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#run(resolve, reject));
  }

  /** From here on it is not started again. */
  holdOff(): void {
    this.#isStopping = true;
    this.#pause?.cancel();
  }

  stop(): Promise<void> {
    this.holdOff();
    const child = this.#child;
    if (child === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const late = this.#options.clock.after(this.#options.stopMsMax, () => {
        this.#options.onEvent(this.#program.name, `does not end after ${this.#options.stopMsMax / 1_000} s: killed`);
        child.kill('SIGKILL');
      });
      child.once('close', () => {
        late.cancel();
        resolve();
      });
      child.kill('SIGTERM');
    });
  }

  #run(onReady: () => void, onFailed: (error: Error) => void): void {
    const { clock } = this.#options;
    const [file, ...args] = this.#program.command;
    // A group of its own: Ctrl-C reaches the supervisor alone, which ends them in order. The pipe tells it that its supervisor is gone.
    const child = spawn(file, args, { env: { ...process.env, ...this.#program.environment }, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#child = child;
    const startedAt = clock.now();
    let said = '';
    let isReady = false;
    const hear = (chunk: Buffer) => {
      said = `${said}${chunk.toString('utf8')}`.slice(-outputKept);
      if (isReady || !this.#program.readyPattern.test(said)) return;
      isReady = true;
      if (this.#wasReady) this.#options.onEvent(this.#program.name, 'is ready again');
      this.#wasReady = true;
      onReady();
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.stdin.on('error', () => undefined); // It ended; the exit tells.
    child.once('error', (error) => onFailed(new Error(`${this.#program.name} could not be started: ${messageOf(error)}`)));
    child.once('close', (code, signal) => {
      if (this.#child === child) this.#child = undefined;
      if (this.#isStopping) return onFailed(new Error(`${this.#program.name} was stopped`));
      this.#ended({ how: `ended with ${signal ?? `code ${code}`}`, said, ranMs: clock.now() - startedAt }, onFailed);
    });
  }

  #ended({ how, said, ranMs }: { how: string; said: string; ranMs: number }, onFailed: (error: Error) => void): void {
    const { clock, log, onEvent } = this.#options;
    const { name } = this.#program;
    log.error({ program: name, how, said: said.slice(-500) }, 'a process ended');
    if (!this.#wasReady) return onFailed(new Error(`${name} ${how}:\n${said.trim()}`));
    this.#deaths = ranMs > settledMs ? 1 : this.#deaths + 1;
    const delayMs = backOffMs(this.#deaths, pauses);
    onEvent(name, `${how}; started again in ${delayMs / 1_000} s`);
    this.#pause = clock.after(delayMs, () => this.#run(() => undefined, () => undefined));
  }
}
