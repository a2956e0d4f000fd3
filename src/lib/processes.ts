// Finds and ends processes by their command line. `kill -0` takes a zombie for alive and a pid file may be stale or lost; the arguments
// in /proc are what a process really is, and a zombie has none.
import { readdir, readFile } from 'node:fs/promises';
import { DriverError } from './errors.ts';
import type { Clock } from './clock.ts';

/** Empty: no such process, or a zombie. */
export async function argumentsOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0').slice(0, -1);
}

export interface FoundProcess {
  readonly pid: number;
  readonly args: readonly string[];
}

export async function findProcesses(matches: (args: readonly string[]) => boolean): Promise<FoundProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => ({ pid, args: await argumentsOf(pid) })));
  return found.filter((process) => matches(process.args));
}

const politeMs = 2_000;
const forcedMs = 2_000;
const pauseMs = 20;

/** An ending process loses its arguments first and its sockets later: only one that is gone, a zombie or another has let go of them. */
async function holdsOn(found: FoundProcess): Promise<boolean> {
  const status = await readFile(`/proc/${found.pid}/status`, 'utf8').catch(() => '');
  if (!/^State:\s+[^ZX]/m.test(status)) return false;
  const args = await argumentsOf(found.pid);
  return args.length === 0 || args.join('\0') === found.args.join('\0');
}

/** After: the process with these arguments is gone, and what it held is free. Asked first, then killed. */
export async function endProcess(found: FoundProcess, clock: Clock): Promise<void> {
  const lives = () => holdsOn(found);
  for (const [signal, withinMs] of [['SIGTERM', politeMs], ['SIGKILL', forcedMs]] as const) {
    const deadline = clock.now() + withinMs;
    if (!(await lives())) return;
    signalProcess(found.pid, signal);
    while (clock.now() < deadline) {
      if (!(await lives())) return;
      await clock.sleep(pauseMs);
    }
  }
  if (await lives()) throw new DriverError('timeout', `process ${found.pid} (${found.args[0]}) does not end`);
}

/** No error if it is gone. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
