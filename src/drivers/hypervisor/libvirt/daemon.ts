// Sees to it that the system's libvirt daemons run before novact needs them: through systemd where there is one, by hand elsewhere
// (containers, small distributions). Running daemons are left alone.
import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, normalize } from 'node:path';
import { systemClock, type Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';

export interface DaemonOptions {
  readonly run: Run;
  readonly log: Log;
  readonly clock?: Clock;
  /** Whose daemon: only the system's is started, never a user's own. */
  readonly uri: string;
  /** Where it is expected. Another one than the usual is somebody's own arrangement: it is only looked at. */
  readonly socket?: string;
  /** For specs. */
  readonly systemd?: boolean;
}

const systemSocket = '/run/libvirt/libvirt-sock';
const startTimeoutMs = 20_000;
const pollMs = 50;

/**
 * After: somebody answers at the socket. Returns what was done, in lines for the start-up text; none when all was running.
 * Throws DriverError `unsupported` when libvirt is not installed, `failed` or `timeout` when it does not start or is not ours to start.
 */
export async function ensureSystemLibvirtd(options: DaemonOptions): Promise<readonly string[]> {
  const { socket = systemSocket, uri, log } = options;
  if (await answers(socket)) return [];
  if (normalize(socket).replace(/^\/var\/run\//, '/run/') !== systemSocket || !uri.includes(':///system')) {
    throw new DriverError('failed', `nobody answers at ${socket}, where libvirtd for ${uri} should be: start it, or unset NOVACT_LIBVIRT_SOCKET`);
  }
  const started = (options.systemd ?? existsSync('/run/systemd/system')) ? await startUnits(options) : await startByHand(options);
  await waitFor(socket, options.clock ?? systemClock);
  log.info({ started, socket }, 'started the libvirt daemons');
  return [`started ${started.join(' and ')}`];
}

async function startUnits({ run }: DaemonOptions): Promise<string[]> {
  await run('systemctl', ['start', 'libvirtd.service'], { timeoutMs: startTimeoutMs });
  return ['libvirtd.service'];
}

/** The log daemon first: without it no guest with a console log starts. */
async function startByHand({ run, clock = systemClock }: DaemonOptions): Promise<string[]> {
  const directory = dirname(systemSocket);
  const started: string[] = [];
  if (!(await answers(`${directory}/virtlogd-sock`))) {
    await run('virtlogd', ['-d'], { timeoutMs: startTimeoutMs });
    await waitFor(`${directory}/virtlogd-sock`, clock);
    started.push('virtlogd');
  }
  await run('libvirtd', ['--version'], { timeoutMs: startTimeoutMs }); // says here, and not in a log, that it is not installed
  await run('setsid', ['--fork', 'perl', '-e', reaper, 'libvirtd'], { timeoutMs: startTimeoutMs });
  await waitFor(systemSocket, clock);
  return [...started, 'libvirtd'];
}

/**
 * Runs libvirtd under a process that reaps. Emulators that die fall to the nearest one; without systemd that is PID 1 of a container,
 * which may do it late or never, and libvirt waits for half a minute for a zombie to vanish. PR_SET_CHILD_SUBREAPER is 36, and prctl
 * is system call 157 on x86-64. perl-base is part of every Debian.
 */
const reaper = `open STDIN, '<', '/dev/null'; open STDOUT, '>', '/dev/null'; open STDERR, '>', '/dev/null';
syscall(157, 36, 1, 0, 0, 0); fork or exec @ARGV; 1 while wait > 0`;

async function waitFor(socket: string, clock: Clock): Promise<void> {
  const until = clock.now() + startTimeoutMs;
  while (!(await answers(socket))) {
    if (clock.now() >= until) throw new DriverError('timeout', `nobody answers at ${socket} ${startTimeoutMs} ms after the start of its daemon`);
    await clock.sleep(pollMs);
  }
}

/** A socket file alone proves nothing: a daemon that died leaves it behind. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = createConnection(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}
