// One owner for a folder: a lock file with the owner's process id and start time. A process that ended, or a machine that restarted, does
// not hold it; a lock is never taken away because of its age. PGlite would destroy its data under two owners, so this must hold: looking
// at a lock and replacing a stale one is one step, under the kernel's own lock on a file beside it (flock of util-linux, for Node has none).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { z } from 'zod';

const holderType = z.object({
  pid: z.number().int().positive(),
  /** Clock ticks since the boot: tells two processes of one number apart. */
  startTicks: z.string(),
  bootId: z.string(),
  host: z.string(),
  /** ISO 8601. */
  since: z.string(),
  /** What the owner wants others to know: where it can be asked. */
  notes: z.record(z.string(), z.string()),
});

export type LockHolder = z.infer<typeof holderType>;

export interface Lock {
  /** After: free. Repeatable; never removes the lock of another. */
  release(): Promise<void>;
}

/** Somebody else has it, or may have it. */
export class LockHeld extends Error {
  override readonly name = 'LockHeld';
  /** Undefined: the file cannot be read as a lock. */
  readonly holder: LockHolder | undefined;

  constructor(path: string, holder: LockHolder | undefined) {
    super(holder === undefined ? `${path} is not a lock of novact` : `${path} is held by process ${holder.pid} on ${holder.host} since ${holder.since}`);
    this.holder = holder;
  }
}

/** Takes the lock or throws LockHeld at once. */
export async function acquireLock(path: string, options: { now: Date; notes?: Record<string, string> }): Promise<Lock> {
  const mine: LockHolder = { ...(await ownIdentity()), since: options.now.toISOString(), notes: options.notes ?? {} };
  const content = `${JSON.stringify({ ...mine, token: randomUUID() })}\n`;
  await underGuard(path, async () => {
    const holder = await lockHolder(path);
    if (holder !== undefined) throw new LockHeld(path, holder);
    // Written whole under another name: a reader without the guard never sees half of it.
    await writeFile(`${path}.draft`, content, { mode: 0o644 });
    await rename(`${path}.draft`, path);
  });
  return { release: () => underGuard(path, () => releaseIf(path, content)) };
}

/** Who holds the lock and is alive; undefined when it is free. */
export async function lockHolder(path: string): Promise<LockHolder | undefined> {
  const content = await contentOf(path);
  if (content === undefined) return undefined;
  const holder = parse(content);
  if (holder === undefined) throw new LockHeld(path, undefined);
  return (await mayBeAlive(holder)) ? holder : undefined;
}

async function releaseIf(path: string, content: string): Promise<void> {
  if ((await contentOf(path)) === content) await rm(path, { force: true });
}

const guardSeconds = 10;

/** One at a time on this machine, whatever happens to this process: the kernel frees the guard when its holder's input ends. */
async function underGuard<T>(path: string, work: () => Promise<T>): Promise<T> {
  const guard = spawn('flock', ['--wait', String(guardSeconds), `${path}.guard`, 'sh', '-c', 'echo held; exec cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const ended = once(guard, 'close');
  try {
    const [first] = await Promise.race([once(guard.stdout, 'data'), ended.then(() => [undefined])]);
    if (first === undefined) throw new Error(`${path}.guard could not be locked within ${guardSeconds} s`);
    return await work();
  } finally {
    guard.stdin.end();
    await ended.catch(() => undefined);
  }
}

/** Of another host nothing can be known, so its lock counts as held. */
async function mayBeAlive(holder: LockHolder): Promise<boolean> {
  if (holder.host !== hostname()) return true;
  return holder.bootId === (await bootId()) && holder.startTicks === (await startTicks(holder.pid));
}

async function ownIdentity(): Promise<Pick<LockHolder, 'pid' | 'startTicks' | 'bootId' | 'host'>> {
  return { pid: process.pid, startTicks: (await startTicks(process.pid)) ?? 'unknown', bootId: await bootId(), host: hostname() };
}

const bootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();

/** Field 22 of /proc/PID/stat; undefined for a process that ended, a zombie included. */
export async function startTicks(pid: number): Promise<string | undefined> {
  const stat = await contentOf(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function parse(content: string): LockHolder | undefined {
  try {
    return holderType.parse(JSON.parse(content));
  } catch {
    return undefined; // Not ours, or torn by a full disk: the caller refuses it.
  }
}

async function contentOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
