// A server program of a spec: started, paused, killed and started again. Whatever is left at the end of the process is killed.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const startMsMax = 60_000;

/** A server program that is started again and again in the same way. */
export class ServerChild {
  static readonly #running = new Set<ChildProcess>();
  readonly #program: string;
  readonly #words: readonly string[];
  #child: ChildProcess | undefined;

  constructor(program: string, ...words: readonly string[]) {
    this.#program = program;
    this.#words = words;
  }

  static {
    process.on('exit', () => {
      for (const child of ServerChild.#running) child.kill('SIGKILL');
    });
  }

  pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#program} does not run`);
    return pid;
  }

  start(): void {
    if (this.#child !== undefined) throw new Error(`${this.#program} runs already`);
    const child = spawn(this.#program, this.#words, { stdio: 'ignore' });
    this.#child = child;
    ServerChild.#running.add(child);
    child.once('exit', () => {
      ServerChild.#running.delete(child);
      if (this.#child === child) this.#child = undefined;
    });
    child.once('error', () => undefined); // answers() says that it does not run
  }

  async answers(asked: () => Promise<boolean>): Promise<void> {
    await soon(async () => {
      this.pid();
      return asked().catch(() => false);
    });
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT'); // a paused one takes SIGTERM only then
    await ended;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.pid(), signal);
  }
}

export async function soon(condition: () => Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + startMsMax;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error('a server did not start in time');
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}
