// The rival that issue 5 names: Ceph's radosgw of Debian, over one monitor and one OSD (BlueStore in a file, no copies), all on loopback and without its
// own authentication between daemons: the least that it can be run with. Measured only where it is installed
// (`apt-get install --no-install-recommends radosgw ceph-mon ceph-osd`): it is no part of novact.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRun, type Run } from '../../../src/lib/exec.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { freePort } from '../../support/free-port.ts';
import { waitUntil } from '../../support/patience.ts';
import { signing, type Server } from './servers.ts';

const programs = ['ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin'];
const name = 'radosgw';
const key = { accessKeyId: 'NOVACTBENCH', secretAccessKey: 'novact-bench' };
const patience = { timeoutMs: 120_000, pollMs: 500 };

/** What is missing for it, or undefined. */
export function radosgwObstacle(): string | undefined {
  const missing = programs.filter((program) => !existsSync(`/usr/bin/${program}`));
  return missing.length === 0 ? undefined : `${missing.join(', ')} not installed`;
}

const configuration = (folder: string, id: string, monitor: string, port: number): string => `[global]
fsid = ${id}
mon_host = v1:${monitor}
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
run_dir = ${folder}
admin_socket = ${folder}/$name.asok
log_file = ${folder}/$name.log
mon_cluster_log_file = ${folder}/cluster.log
crash_dir = ${folder}
[mon.a]
mon_data = ${folder}/mon
[osd.0]
osd_data = ${folder}/osd
osd_objectstore = bluestore
bluestore_block_size = ${8 * 1024 ** 3}
osd_memory_target = ${1024 ** 3}
[client.rgw.a]
rgw_data = ${folder}
rgw_frontends = beast endpoint=127.0.0.1:${port}
rgw_run_sync_thread = false
`;

/** With a user whom `request` signs for. Ready when it has answered. */
export async function startRadosgw(): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 's3-bench-radosgw-'));
  const [monitorPort, port] = [await freePort(), await freePort()];
  const daemons: ChildProcess[] = [];
  const environment = { CEPH_CONF: join(folder, 'ceph.conf') };
  process.once('exit', () => daemons.forEach((child) => child.kill('SIGKILL')));
  const run = createRun({ log: silentLog });
  const command = (program: string, ...args: string[]) => run(program, args, { env: environment, cwd: folder, timeoutMs: 120_000 });
  const daemon = (program: string, ...args: string[]): ChildProcess => {
    const child = spawn(program, ['-f', ...args], { cwd: folder, env: { ...process.env, ...environment }, stdio: 'ignore' });
    daemons.push(child);
    return child;
  };
  const close = async (): Promise<void> => {
    for (const child of daemons.toReversed()) await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const id = randomUUID();
    await writeFile(environment.CEPH_CONF, configuration(folder, id, `127.0.0.1:${monitorPort}`, port));
    await startCluster({ folder, id, monitor: `127.0.0.1:${monitorPort}`, command, daemon });
    const gateway = daemon('radosgw', '-n', 'client.rgw.a');
    await waitUntil('radosgw answers', patience, async () => (await fetch(`http://127.0.0.1:${port}/`)).status === 200);
    const keys = [`--access-key=${key.accessKeyId}`, `--secret-key=${key.secretAccessKey}`];
    await command('radosgw-admin', 'user', 'create', '--uid=bench', '--display-name=bench', ...keys);
    return { name, port, pid: gateway.pid ?? 0, request: signing(port, key), close };
  } catch (error) {
    const said = await readFile(join(folder, 'client.rgw.a.log'), 'utf8').catch(() => '');
    await close();
    throw new Error(`radosgw did not start: ${said.slice(-2_000)}`, { cause: error });
  }
}

interface Cluster {
  readonly folder: string;
  readonly id: string;
  readonly monitor: string;
  readonly command: (program: string, ...args: string[]) => ReturnType<Run>;
  readonly daemon: (program: string, ...args: string[]) => ChildProcess;
}

async function startCluster({ folder, id, monitor, command, daemon }: Cluster): Promise<void> {
  for (const part of ['mon', 'osd']) await mkdir(join(folder, part));
  await command('monmaptool', '--create', '--fsid', id, '--addv', 'a', `[v1:${monitor}]`, 'monmap');
  await command('ceph-mon', '-i', 'a', '--mkfs', '--monmap', 'monmap');
  daemon('ceph-mon', '-i', 'a');
  const disk = randomUUID();
  await command('ceph', 'osd', 'new', disk);
  await command('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', disk);
  daemon('ceph-osd', '-i', '0');
  await command('ceph', 'osd', 'crush', 'add', 'osd.0', '1', 'root=default', 'host=a');
  await waitUntil('the OSD is up', patience, async () => (await command('ceph', 'osd', 'stat')).stdout.includes('1 up'));
}

/** Asked to, and after ten seconds no more. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => void child.once('exit', resolve));
  child.kill();
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended;
  clearTimeout(timer);
}
