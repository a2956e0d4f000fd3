// Sees to it that the system's libvirt daemons run before novact needs them: through systemd where there is one, by hand elsewhere
// (containers, small distributions). Running daemons are left alone.
import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';

export interface DaemonOptions {
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
  /** For specs: where the sockets are, and whether systemd runs the machine. */
  readonly socketDirectory?: string;
  readonly systemd?: boolean;
}

export interface DaemonReport {
  /** What was started; empty when all was running. */
  readonly started: readonly string[];
  readonly socket: string;
  /** For the start-up text: `libvirtd was running`, `started virtlogd and libvirtd`. */
  readonly text: string;
}

const startTimeoutMs = 20_000;
const pollMs = 50;

/** After: somebody answers at the system socket. Throws DriverError `unsupported` when libvirt is not installed, `failed` or `timeout` when it does not start. */
export async function ensureSystemLibvirtd(options: DaemonOptions): Promise<DaemonReport> {
  const directory = options.socketDirectory ?? '/run/libvirt';
  const socket = `${directory}/libvirt-sock`;
  if (await answers(socket)) return { started: [], socket, text: 'libvirtd was running' };
  const started = (options.systemd ?? existsSync('/run/systemd/system')) ? await startUnits(options) : await startByHand(options, directory);
  await waitFor(socket, options.clock);
  const text = `started ${started.join(' and ')}`;
  options.log.info({ started, socket }, text);
  return { started, socket, text };
}

async function startUnits({ run }: DaemonOptions): Promise<string[]> {
  await run('systemctl', ['start', 'libvirtd.service'], { timeoutMs: startTimeoutMs });
  return ['libvirtd.service'];
}

/** The log daemon first: without it no guest with a console log starts. */
async function startByHand({ run, clock }: DaemonOptions, directory: string): Promise<string[]> {
  const started: string[] = [];
  for (const [daemon, socket] of [['virtlogd', 'virtlogd-sock'], ['libvirtd', 'libvirt-sock']] as const) {
    if (await answers(`${directory}/${socket}`)) continue;
    await run(daemon, ['-d'], { timeoutMs: startTimeoutMs });
    await waitFor(`${directory}/${socket}`, clock);
    started.push(daemon);
  }
  return started;
}

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
