// The distributed cloud on one machine: api, scheduler, a farm of simulated hosts (compute, network, volume) and the objectstore as processes of their
// own, over Redis, on a PostgreSQL that waits for the disk. How many instances a second come to `running`, how long fifty of one call take, and what all of
// it holds in memory. `npm run bench -- cloud`; NOVACT_BENCH_COUNT (default 400), NOVACT_BENCH_HOSTS (default 3,300).
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { openDatabase } from '../../src/db/connect.ts';
import type { Db } from '../../src/db/db.ts';
import { projects } from '../../src/db/schema/all.ts';
import { addImage, countRunning } from '../support/bench-cloud.ts';
import { measureLaunches, openBenchEc2 } from '../support/bench-ec2.ts';
import { startRole, startSharedServices, type RoleProcess, type SharedServices } from '../support/role-process.ts';
import { atLeast, atMost, type BenchRow } from './row.ts';

const count = Number(process.env['NOVACT_BENCH_COUNT'] ?? 400);
const hostCounts = (process.env['NOVACT_BENCH_HOSTS'] ?? '3,300').split(',').map(Number);
const roles = ['api', 'scheduler', 'network', 'volume', 'compute', 'objectstore'] as const;

export async function run(): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const hosts of hostCounts) rows.push(...(await measure(hosts)));
  return rows;
}

async function measure(hosts: number): Promise<BenchRow[]> {
  const shared = await startSharedServices({ name: `bench-${hosts}`, durable: true });
  const started: RoleProcess[] = [];
  const { db, close } = await openDatabase(shared.databaseUrl, { connectionsMax: 2 });
  try {
    const settings = {
      ...shared.host('farm'), NOVACT_SIM_HOSTS: String(hosts), NOVACT_INSTANCES_PER_PROJECT_MAX: '1000000', NOVACT_FIXED_RANGE: '10.64.0.0/16',
      NOVACT_TINY_IMAGE: join(shared.folder, 'none'), NOVACT_LOG_LEVEL: 'warn',
    };
    const startedAt = performance.now();
    for (const role of roles) started.push(await startRole({ role, host: 'farm', settings }));
    const startSeconds = (performance.now() - startedAt) / 1_000;
    const { rate, fiftyMs, answerMs, fifties } = await launches(shared, db, started[0]);
    console.error(`  cloud of ${hosts} hosts: fifty of one call in ${fifties.map((ms) => `${ms.toFixed(0)} ms`).join(', ')}`);
    return [
      { name: `${hosts} hosts: launches to running`, value: rate, unit: '1/s', target: atLeast(rate, 40, '1/s') },
      { name: `${hosts} hosts: 50 of one call running`, value: fiftyMs / 1_000, unit: 's', target: atMost(fiftyMs / 1_000, 2, 's') },
      { name: `${hosts} hosts: RunInstances of ten answered`, value: answerMs, unit: 'ms' },
      { name: `${hosts} hosts: six roles started one after another`, value: startSeconds, unit: 's' },
      ...(await memoryRows(hosts, shared, started)),
    ];
  } catch (error) {
    throw new Error(`the benchmark stopped\n${started.map((role) => `${role.role}: ${role.output().slice(-600)}`).join('\n')}`, { cause: error });
  } finally {
    await close();
    await Promise.all(started.map((role) => role.stop(20_000)));
    await shared.close();
  }
}

async function launches(shared: SharedServices, db: Db, api: RoleProcess | undefined) {
  const novarc = await shared.novarc('farm');
  const [project] = await db.select({ id: projects.id }).from(projects).limit(1);
  const imageId = await addImage({ db }, project?.id ?? '');
  const ec2 = openBenchEc2({
    endpoint: `http://127.0.0.1:${api?.settings['NOVACT_API_PORT']}`, accessKeyId: novarc['EC2_ACCESS_KEY'] ?? '', secretKey: novarc['EC2_SECRET_KEY'] ?? '',
  });
  try {
    return await measureLaunches({ ec2, imageId, countRunning: () => countRunning(db) }, count);
  } finally {
    ec2.close();
  }
}

/**
 * Twice: what is resident of each process, in which the pages of the node program that they share are counted for each of them (of PostgreSQL the
 * proportional sizes, for its processes share their buffers), and the proportional sizes of all, which is what the machine really gives.
 */
async function memoryRows(hosts: number, shared: SharedServices, started: readonly RoleProcess[]): Promise<BenchRow[]> {
  const sizes: { name: string; value: number }[] = [];
  let proportional = 0;
  for (const role of started) {
    const size = await sizesMiB(role.pid());
    sizes.push({ name: role.role, value: size.resident });
    proportional += size.proportional;
  }
  const others = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  let [postgres, redis] = [0, 0];
  for (const pid of others) {
    if ((await readlink(`/proc/${pid}/cwd`).catch(() => '')) === join(shared.folder, 'postgres/data')) postgres += (await sizesMiB(pid)).proportional;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes('redis-server') && command.includes(`:${shared.redis.port}`)) redis += (await sizesMiB(pid)).resident;
  }
  sizes.push({ name: 'redis', value: redis }, { name: 'postgres', value: postgres });
  const all = sizes.reduce((sum, { value }) => sum + value, 0);
  const once = proportional + redis + postgres;
  return [
    { name: `${hosts} hosts: memory of all after the launches`, value: once, unit: 'MiB', target: atMost(once, 667, 'MiB') },
    { name: `${hosts} hosts: the sum of what is resident of each`, value: all, unit: 'MiB' },
    ...sizes.map(({ name, value }): BenchRow => ({ name: `  ${name}`, value, unit: 'MiB' })),
  ];
}

async function sizesMiB(pid: number | undefined): Promise<{ proportional: number; resident: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1024;
  return { proportional: of('Pss'), resident: of('Rss') };
}
