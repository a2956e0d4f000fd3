// A cloud of simulated hosts in one process, on a private PostgreSQL that is as durable as in production: the product's own roles, the farm of
// hosts included, over the local mailboxes. For benchmarks that look at what a launch costs the product itself.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { loadSettings } from '../../src/config/load.ts';
import { surroundings, type OptionName } from '../../src/config/options.ts';
import { connectPostgres } from '../../src/db/connect.ts';
import type { Db } from '../../src/db/db.ts';
import { images, instances } from '../../src/db/schema/all.ts';
import { createPostgresCluster } from '../../src/drivers/postgres/cluster.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { layFoundation, type Foundation } from '../../src/roles/foundation.ts';
import { startApi } from '../../src/roles/api.ts';
import { ensureFounding } from '../../src/roles/founding.ts';
import { startScheduler } from '../../src/roles/scheduler.ts';
import { startSimComputes, startSimNetworks } from '../../src/roles/sim-farm.ts';
import { freePort } from './free-port.ts';

export interface BenchCloud {
  readonly foundation: Foundation;
  readonly endpoint: string;
  readonly founder: { readonly projectId: string; readonly accessKeyId: string; readonly secretKey: string };
  /** An image that is available and never read. */
  readonly imageId: string;
  /** `postgres://…` of the private server. */
  readonly databaseUrl: string;
  close(): Promise<void>;
}

export interface BenchDatabase {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** The server of a benchmark: durable, as an operator's. `statements`: it counts them, for `topStatements`. */
export async function startBenchDatabase(directory: string, options: { statements: boolean } = { statements: false }): Promise<BenchDatabase> {
  const cluster = createPostgresCluster({ directory, run: createRun({ log }), log, clock });
  let started = await cluster.start();
  if (options.statements) {
    const admin = connectPostgres(started.url, 1);
    await admin.unsafe("alter system set shared_preload_libraries = 'pg_stat_statements'");
    await admin.end();
    await cluster.stop();
    started = await cluster.start();
    const again = connectPostgres(started.url, 1);
    await again.unsafe('create extension pg_stat_statements');
    await again.end();
  }
  return { ...started, stop: () => cluster.stop() };
}

/** What the server was asked since the last reset, the dearest first. */
export async function topStatements(url: string, limit: number): Promise<readonly { calls: number; totalMs: number; query: string }[]> {
  const admin = connectPostgres(url, 1);
  try {
    return await admin`select calls::int, round(total_exec_time + total_plan_time)::int as "totalMs",
        left(regexp_replace(query, '\\s+', ' ', 'g'), 150) as query
      from pg_stat_statements order by calls desc limit ${limit}`;
  } finally {
    await admin.end();
  }
}

export async function startBenchCloud(options: { hosts: number; statements?: boolean; settings?: Partial<Record<OptionName, string>> }): Promise<BenchCloud> {
  const directory = await mkdtemp(join(tmpdir(), 'novact-bench-'));
  await chmod(directory, 0o755); // the account of the database passes through
  const database = await startBenchDatabase(join(directory, 'postgres'), { statements: options.statements ?? false });
  const apiPort = await freePort();
  const { settings } = loadSettings({
    environment: {}, directory, around: surroundings(),
    flags: {
      state: directory, databaseUrl: database.url, hypervisor: 'sim', simHosts: String(options.hosts), host: 'farm', apiPort: String(apiPort),
      instancesPerProjectMax: '1000000', fixedRange: '10.64.0.0/16', logLevel: 'silent', ...options.settings,
    },
  });
  const foundation = await layFoundation({ ...settings, databaseUrl: database.url }, {
    log, version: 'bench', onFatal: (error) => { throw error; },
  });
  const { founder } = await ensureFounding(foundation);
  const imageId = await addImage(foundation, founder.projectId);
  await startSimNetworks(foundation);
  await startSimComputes(foundation, { bootDelayMs: 200 });
  await startScheduler(foundation);
  await startApi(foundation, { observe: () => undefined });
  return {
    foundation, founder, imageId, endpoint: `http://127.0.0.1:${apiPort}`, databaseUrl: database.url,
    async close() {
      await foundation.close();
      await database.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Asked of the database: what a client would see, without the cost of its asking. */
export function countRunning(db: Db): Promise<number> {
  return db.$count(instances, eq(instances.state, 'running'));
}

/** As if it had been registered: nobody reads what stands in a simulated image. */
export async function addImage({ db }: Pick<Foundation, 'db'>, projectId: string): Promise<string> {
  const id = newId('ami');
  const now = clock.date();
  await db.insert(images).values({
    id, projectId, name: 'bench', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available', rootDeviceName: '/dev/vda',
    virtualizationType: 'hvm', format: 'raw', sizeBytes: 1_000, virtualSizeBytes: 1_000, sha256: '00', blobId: 'blob', createdAt: now, stateChangedAt: now,
  });
  return id;
}
