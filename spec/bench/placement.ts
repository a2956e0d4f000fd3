// What placing an instance costs with 10, 100, 1 000 and 10 000 hosts: the scheduler's own work on rows that launches left, on a PostgreSQL that
// waits for the disk, with a directory in memory. It must not grow faster than the logarithm of the hosts. `npm run bench -- placement`.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { policies } from '../../src/actors/scheduler/policies/index.ts';
import { settleUnplaced, type SchedulerDeps } from '../../src/actors/scheduler/place-instances.ts';
import { openDatabase } from '../../src/db/connect.ts';
import type { Db } from '../../src/db/db.ts';
import { reportHosts } from '../../src/db/farm-hosts.ts';
import { insertOperations } from '../../src/db/operations.ts';
import { hosts, instances, projects, reservations, users } from '../../src/db/schema/all.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId, newMac } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import type { Directory, ServiceRecord } from '../../src/transport/directory.ts';
import { addImage, startBenchDatabase } from '../support/bench-cloud.ts';
import { atMost, median, type BenchRow } from './row.ts';

const hostCounts = [10, 100, 1_000, 10_000] as const;
const singles = 60;
const batches = 6;
const batchSize = 50;
const projectId = '111122223333';

export async function run(): Promise<readonly BenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'novact-bench-'));
  await chmod(directory, 0o755);
  const server = await startBenchDatabase(join(directory, 'postgres'));
  const { db, close } = await openDatabase(server.url);
  try {
    await db.insert(users).values({ id: 'u', name: 'joe', createdAt: clock.date() });
    await db.insert(projects).values({ id: projectId, name: 'joe', description: '', managerId: 'u', createdAt: clock.date() });
    const imageId = await addImage({ db }, projectId);
    const measured: Measured[] = [];
    for (const count of hostCounts) measured.push(await measure(db, count, imageId));
    return measured.flatMap((one) => rowsOf(one, measured[0] ?? one));
  } finally {
    await close();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

interface Measured {
  readonly hosts: number;
  /** Of one instance alone, and of one in a batch of fifty. */
  readonly singleMs: number;
  readonly inBatchMs: number;
}

async function measure(db: Db, count: number, imageId: string): Promise<Measured> {
  const names = Array.from({ length: count }, (_, number) => `host-${number}`);
  await reportHosts(db, names.map((name) => (
    { name, zone: 'nova', hypervisor: 'sim', cores: 1_000, memoryMiB: 10_000_000, diskGiB: 1_000_000, bootId: 'boot' }
  )), clock.date());
  await db.update(hosts).set({ claimedCores: sql`floor(random() * 100)::int` });
  await db.execute(sql`vacuum analyze hosts`);
  const deps = depsOf(db, names);
  await settleUnplaced(deps, await unplaced(db, 10, imageId));
  const single: number[] = [];
  const ids = await unplaced(db, singles, imageId);
  for (const id of ids) single.push(await timed(() => settleUnplaced(deps, [id])));
  const batch: number[] = [];
  for (let round = 0; round < batches; round += 1) {
    const some = await unplaced(db, batchSize, imageId);
    batch.push(await timed(() => settleUnplaced(deps, some)));
  }
  const [left] = await db.execute<{ count: number }>(sql`select count(*)::int as count from instances where host is null`) as unknown as { count: number }[];
  if (left?.count !== 0) throw new Error(`${left?.count} instances were not placed`);
  return { hosts: count, singleMs: median(single), inBatchMs: median(batch) / batchSize };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function depsOf(db: Db, names: readonly string[]): SchedulerDeps {
  const services: readonly ServiceRecord[] = names.map((host) => ({ role: 'compute', host, process: `compute@${host}#1`, epoch: 1, version: '' }));
  const board: Pick<Directory, 'services'> = { services: async () => services };
  return {
    db, clock, log, directory: board as Directory, policy: policies.simple, overcommit: { cores: 1, memory: 1, disk: 1 }, random: Math.random,
    placementsMax: 3, relay: { kick: () => undefined, accepts: () => true },
  };
}

/** As a launch leaves them. */
async function unplaced(db: Db, count: number, imageId: string): Promise<string[]> {
  const now = clock.date();
  const reservationId = newId('r');
  const rows = Array.from({ length: count }, (_, launchIndex) => ({
    id: newId('i'), reservationId, projectId, userId: 'u', launchIndex, imageId, instanceType: 'm1.tiny', cores: 1, memoryMiB: 512, rootGiB: 1,
    architecture: 'x86_64', rootDeviceName: '/dev/vda', state: 'pending' as const, stateChangedAt: now, zone: 'nova', mac: newMac(), launchedAt: now,
  }));
  await db.insert(reservations).values({ id: reservationId, projectId, userId: 'u', requestDigest: '', createdAt: now });
  await db.insert(instances).values(rows);
  await insertOperations(db, rows.map(({ id }) => ({
    kind: 'instance.run', resourceId: id, projectId, userId: 'u', requestId: 'bench', owner: 'scheduler', deadline: new Date(now.getTime() + 600_000),
  })), now);
  return rows.map(({ id }) => id);
}

function rowsOf({ hosts: count, singleMs, inBatchMs }: Measured, least: Measured): BenchRow[] {
  const growth = Math.log(count) / Math.log(least.hosts);
  const row = (name: string, value: number, first: number): BenchRow => ({
    name: `${count} hosts: ${name}`, value, unit: 'ms',
    ...(count === least.hosts ? {} : {
      baseline: `${least.hosts} hosts, ${first.toFixed(2)} ms`, ratio: value / first, target: atMost(value / first, Number(growth.toFixed(1)), '× (log)'),
    }),
  });
  return [
    row('one instance', singleMs, least.singleMs), row('one of a batch of 50', inBatchMs, least.inBatchMs),
    { name: `${count} hosts: placements`, value: 1_000 / inBatchMs, unit: '1/s' },
  ];
}
