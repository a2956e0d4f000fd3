// An Open vSwitch of its own for a test host: database and switch in its network namespace, the datapath in user space, which needs nothing of the kernel
// but taps. Its one bridge has the host's cable as a port that carries VLANs. Root only.
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Run } from '../../src/lib/exec.ts';
import { waitFor } from './patience.ts';

/** The bridge. */
export const trunkBridge = 'trunk0';

export interface OpenVswitch {
  /** For whoever runs `ovs-vsctl`: the folder of its sockets. */
  readonly environment: Readonly<Record<string, string>>;
  /** What is not running. It remembers its ports. */
  start(): Promise<void>;
  /** `kill -9` of the switch alone: its taps are gone at once. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** What is left of them when a spec file ends is killed. */
const living = new Set<ChildProcess>();
process.once('exit', () => living.forEach((child) => child.kill('SIGKILL')));

/** Known, but not started. `cable`: a link of the namespace; `run` works in it. */
export async function prepareOpenVswitch({ run, namespace, folder, cable }: {
  run: Run; namespace: string; folder: string; cable: string;
}): Promise<OpenVswitch> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const environment = { OVS_RUNDIR: folder, OVS_DBDIR: folder, OVS_LOGDIR: folder, OVS_SYSCONFDIR: folder };
  const socket = join(folder, 'db.sock');
  const database = join(folder, 'conf.db');
  await run('ovsdb-tool', ['create', database, '/usr/share/openvswitch/vswitch.ovsschema'], { env: environment });
  const children = new Map<string, ChildProcess>();

  function begin(program: string, args: readonly string[]): void {
    if (children.has(program)) return;
    const child = spawn('ip', ['netns', 'exec', namespace, program, ...args], { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(folder, `${program}.out`), { flags: 'a' });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    children.set(program, child);
    living.add(child);
    child.once('exit', () => {
      living.delete(child);
      children.delete(program);
    });
  }

  async function end(program: string): Promise<void> {
    const child = children.get(program);
    if (child === undefined) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  const vsctl = (...args: readonly string[]) => run('ovs-vsctl', ['--timeout=30', ...args], { env: environment });
  return {
    environment,
    async start() {
      await run('ip', ['link', 'set', 'dev', cable, 'up']);
      begin('ovsdb-server', [database, `--remote=punix:${socket}`, `--unixctl=${join(folder, 'database.ctl')}`]);
      await waitFor('the database of the switch answers', { timeoutMs: 60_000 }, () => vsctl('--no-wait', 'init').then(() => true as const));
      begin('ovs-vswitchd', [`unix:${socket}`, `--unixctl=${join(folder, 'switch.ctl')}`]);
      await vsctl('--', '--may-exist', 'add-br', trunkBridge, '--', 'set', 'bridge', trunkBridge, 'datapath_type=netdev',
        '--', '--may-exist', 'add-port', trunkBridge, cable);
    },
    kill: () => end('ovs-vswitchd'),
    async stop() {
      await end('ovs-vswitchd');
      await end('ovsdb-server');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
