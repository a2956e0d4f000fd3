// The private PostgreSQL, really started: durable folder, adoption, death, and what is left of a kill.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectPostgres, openDatabase } from '../../src/db/connect.ts';
import { createPostgresCluster, postgresObstacle, type ClusterEvent, type PostgresCluster } from '../../src/drivers/postgres/cluster.ts';
import { worksIn } from '../../src/lib/folder-processes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

const run = createRun({ log: silentLog });
let state: string;
const clusters: PostgresCluster[] = [];

function cluster(options: { directory?: string; onEvent?: (event: ClusterEvent) => void } = {}): PostgresCluster {
  const made = createPostgresCluster({
    directory: options.directory ?? join(state, 'postgres'),
    run,
    log: silentLog,
    clock: systemClock,
    watchIntervalMs: 50,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  clusters.push(made);
  return made;
}

async function query<T>(url: string, text: string): Promise<readonly T[]> {
  const client = connectPostgres(url, 1);
  try {
    return (await client.unsafe(text)) as unknown as readonly T[];
  } finally {
    await client.end({ timeout: 2 });
  }
}

const obstacle = postgresObstacle();

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? 'the private cluster' : `the private cluster (skipped: ${obstacle})`, () => {
  beforeEach(async () => {
    state = await mkdtemp('/tmp/novact-spec-postgres-');
    await chmod(state, 0o711);
  });

  afterEach(async () => {
    // The one that watches goes first: it would start again what another stops.
    for (const one of clusters.splice(0).toReversed()) await one.stop();
    await rm(state, { recursive: true, force: true });
  });

  it('is made, migrated, and keeps its rows over a stop and a start', async () => {
    const first = cluster();
    const { url, how } = await first.start();
    expect(how).toBe('created');
    const opened = await openDatabase(url);
    await opened.close();
    await query(url, "insert into settings values ('cloudId', 'c-1')");
    await first.stop();
    const startedAt = performance.now();
    const again = await cluster().start();
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    expect(again.how).toBe('started');
    expect(await query(again.url, 'select value from settings')).toEqual([{ value: 'c-1' }]);
    const settings = "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit', 'listen_addresses') order by name";
    expect(await query(again.url, settings)).toEqual([
      { name: 'fsync', setting: 'on' },
      { name: 'listen_addresses', setting: '' },
      { name: 'synchronous_commit', setting: 'on' },
    ]);
  });

  it('goes on when novact is killed, and is adopted by the next start', async () => {
    const owner = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, '../support/start-cluster.ts'), join(state, 'postgres')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const started = JSON.parse(line.toString()) as { pid: number };
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const adopted = await cluster().start();
    expect(adopted).toMatchObject({ how: 'adopted', pid: started.pid });
    expect(await query(adopted.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('is started again after it was killed, and says so', async () => {
    const events: ClusterEvent[] = [];
    let restarted: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (restarted = resolve));
    const one = cluster({ onEvent: (event) => (events.push(event), event.type === 'restarted' && restarted()) });
    const { url, pid } = await one.start();
    await query(url, 'create table kept (n integer)');
    await query(url, 'insert into kept values (7)');
    process.kill(pid, 'SIGKILL');
    await done;
    expect(events.map((event) => event.type)).toEqual(['died', 'restarted']);
    expect(await query(url, 'select n from kept')).toEqual([{ n: 7 }]);
  });

  it('starts over a stale pid file whose number belongs to a stranger', async () => {
    const one = cluster();
    await one.start();
    await one.stop();
    const file = join(state, 'postgres/data/postmaster.pid');
    await writeFile(file, `${process.ppid}\n${join(state, 'postgres/data')}\n1\n5432\n/nowhere\n\n  1 1\nready   \n`);
    expect((await cluster().start()).how).toBe('started');
  });

  it('makes the folder anew when the first start was killed half way', async () => {
    await cluster().start();
    await clusters[0]?.stop();
    await run('mv', [join(state, 'postgres/data'), join(state, 'postgres/data.new')]);
    await rm(join(state, 'postgres/data.new/global'), { recursive: true });
    expect((await cluster().start()).how).toBe('created');
  });

  it('finds a short place for its socket when the state folder is deep', async () => {
    const directory = join(state, 'd'.repeat(60), 'e'.repeat(60), 'postgres');
    const { url } = await cluster({ directory }).start();
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
    const socket = new URL(url).searchParams.get('host') ?? '';
    expect((await stat(socket)).mode & 0o777).toBe(0o700);
    await clusters[0]?.stop();
    await rm(socket, { recursive: true, force: true });
  });

  it('tells what to do when its account cannot enter the folder', async () => {
    await chmod(state, 0o700);
    await expect(cluster().start()).rejects.toMatchObject({ name: 'SetupError', remedy: expect.stringContaining('chmod o+x') });
  });

  it('ends with its last process when it is stopped', async () => {
    const one = cluster();
    const { pid } = await one.start();
    await one.stop();
    expect(await worksIn(pid, join(state, 'postgres/data'))).toBe(false);
    await one.stop();
  });

  it('stays small', async () => {
    const { pid } = await cluster().start();
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    expect(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1])).toBeLessThan(64 * 1024);
  });
});
