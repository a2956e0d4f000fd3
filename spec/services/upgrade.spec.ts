// From a release to this one: the kept dump of the database of each is brought up to date on PostgreSQL and on PGlite with everything in it, looks
// as a fresh one looks, and its unfinished work goes on. A newer schema is refused. Roles of both at once: rolling-upgrade.spec.ts.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectPostgres, openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import { takeEpoch } from '../../src/db/hosts.ts';
import { loadInstances } from '../../src/db/instances.ts';
import { insertOperation, takeOperation, unfinishedOperations } from '../../src/db/operations.ts';
import { dumpOf, keptReleases } from '../support/kept-release.ts';
import { waitUntil } from '../support/patience.ts';
import { createPglite } from '../support/pglite.ts';
import { startPostgres, type PostgresServer } from '../support/postgres-server.ts';

type Row = Readonly<Record<string, unknown>>;

const root = resolve(import.meta.dirname, '../..');
const [oldest = ''] = keptReleases;
const newest = keptReleases.at(-1) ?? '';

/** A database that is not opened as novact's yet: looked at as psql would. */
interface Raw {
  rows(query: string): Promise<readonly Row[]>;
  open(): Promise<OpenDatabase>;
  /** Stops looking; what `open` made is closed by its caller. */
  close(): Promise<void>;
}

let server: PostgresServer;
let databasesMade = 0;
beforeAll(async () => {
  server = await startPostgres('upgrade');
});
afterAll(() => server.close());

async function onPostgres(content: string | undefined): Promise<Raw> {
  const url = await server.createDatabase(`upgrade_${(databasesMade += 1)}`);
  if (content !== undefined) await server.load(url, content);
  const client = connectPostgres(url, 1);
  return {
    rows: async (query) => (await client.unsafe(query)) as unknown as Row[], open: () => openDatabase(url, { connectionsMax: 3 }), close: () => client.end(),
  };
}

/** By what was loaded into it: making one takes six times as long as opening a copy. */
const loaded = new Map<string, Blob>();

async function load(content: string): Promise<Blob> {
  const pglite = await PGlite.create('memory://');
  await pglite.exec(`${content}\nreset search_path;`);
  const made = await pglite.dumpDataDir('none');
  await pglite.close();
  loaded.set(content, made);
  return made;
}

async function onPglite(content: string | undefined): Promise<Raw> {
  const pglite = content === undefined ? await createPglite() : await PGlite.create({ loadDataDir: loaded.get(content) ?? (await load(content)) });
  return {
    rows: async (query) => (await pglite.query<Row>(query)).rows, open: () => openDatabase('pglite:memory', { pglite }), close: async () => undefined,
  };
}

async function everything(raw: Raw): Promise<Map<string, readonly Row[]>> {
  const tables = await raw.rows("select table_name from information_schema.tables where table_schema = 'public' order by 1");
  const found = new Map<string, readonly Row[]>();
  for (const { table_name: table } of tables) {
    const rows = await raw.rows(`select to_jsonb(t) as row from public."${String(table)}" t order by to_jsonb(t)::text`);
    found.set(String(table), rows.map(({ row }) => row as Row));
  }
  return found;
}

const shape = async (raw: Raw): Promise<unknown> => [
  await raw.rows(`select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns where table_schema = 'public'
    order by 1, 2`),
  await raw.rows("select indexdef from pg_indexes where schemaname = 'public' order by 1"),
  await raw.rows(`select conrelid::regclass::text as of, pg_get_constraintdef(oid) as says from pg_constraint where connamespace = 'public'::regnamespace
    and contype <> 'n' order by 1, 2`),
];

const databases = [['PostgreSQL', onPostgres], ['PGlite', onPglite]] as const;
const upgrades = keptReleases.flatMap((release) => databases.map(([name, begin]) => [release, name, begin] as const));

describe.each(upgrades)('G6 a database of release %s on %s', (release, _name, begin) => {
  const dump = dumpOf(release);

  it('is brought up to date with every row as it was', async () => {
    const raw = await begin(dump);
    const before = await everything(raw);
    expect([...before.values()].every((rows) => rows.length > 0)).toBe(true);
    expect(before.size).toBeGreaterThan(20);
    const opened = await raw.open();
    const after = await everything(raw);
    for (const [table, rows] of before) {
      const now = after.get(table) ?? [];
      expect(now.length, table).toBe(rows.length);
      for (const row of rows) expect(now, table).toContainEqual(expect.objectContaining(row));
    }
    await raw.close();
    await opened.close();
  });

  it('then has the tables, columns, indexes and constraints of a fresh one', async () => {
    const [old, fresh] = [await begin(dump), await begin(undefined)];
    const opened = [await old.open(), await fresh.open()];
    expect(await shape(old)).toEqual(await shape(fresh));
    for (const raw of [old, fresh]) await raw.close();
    for (const each of opened) await each.close();
  });

  it('goes on with the work that the old release left in the middle', async () => {
    const raw = await begin(dump);
    const { db, close } = await raw.open();
    expect((await loadInstances(db, '444455556666')).map((row) => [row.id, row.state, row.address])).toEqual([
      ['i-run', 'running', '10.1.0.2'], ['i-stop', 'stopped', undefined],
    ]);
    const [waiting] = await unfinishedOperations(db, 'i-wait');
    const now = new Date();
    const epoch = await takeEpoch(db, { host: 'h1', role: 'compute' }, now);
    expect(epoch).toBe(8);
    const taken = await takeOperation(db, { id: waiting?.id ?? '', owner: 'compute@h1', epoch, firstStep: 'port', now });
    expect(taken).toMatchObject({ steps: waiting?.steps, state: 'running', epoch: 8, attempts: 2, replyTo: null });
    await insertOperation(db, {
      kind: 'instance.terminate', resourceId: 'i-wait', projectId: 'p', userId: 'u', requestId: 'r', owner: 'compute@h1', deadline: now,
    }, now);
    expect((await unfinishedOperations(db, 'i-wait')).map((operation) => operation.kind)).toEqual(['instance.run', 'instance.terminate']);
    await raw.close();
    await close();
  });

  it('is refused when a newer release has changed it, and left as it is', async () => {
    const raw = await begin(dump);
    await raw.rows("insert into drizzle.__drizzle_migrations (hash, created_at) values ('of the future', 4000000000000)");
    const before = await shape(raw);
    await expect(raw.open()).rejects.toThrow(/schema of a newer release \(of 2096-10-02T07:06; this release knows it up to/);
    expect(await shape(raw)).toEqual(before);
    await raw.close();
  });
});

describe('G6 several processes', () => {
  it('that start on an old database at once bring it up to date once', async () => {
    const raw = await onPostgres(dumpOf(oldest));
    const opened = await Promise.all(Array.from({ length: 4 }, () => raw.open()));
    const [row] = await raw.rows('select count(*)::int as all, count(distinct hash)::int as different from drizzle.__drizzle_migrations');
    expect(row?.['all']).toBe(row?.['different']);
    await Promise.all(opened.map((each) => each.close()));
    await raw.close();
  });

  it('of the old release go on with their statements while the new one is in place', async () => {
    const raw = await onPostgres(dumpOf('0.1.0'));
    const opened = await raw.open();
    // As 0.1.0 wrote them: without the columns that came later.
    await raw.rows(`insert into operations (id, kind, resource_id, project_id, user_id, request_id, input, state, owner, deadline, created_at, updated_at)
      values ('op-old', 'instance.stop', 'i-run', 'p', 'u', 'r', '{}', 'waiting', 'compute@h1', now(), now(), now())`);
    await raw.rows("insert into services (host, role, epoch, started_at) values ('h2', 'compute', 1, now())");
    await raw.rows("update instances set state = 'stopping', state_changed_at = now() where id = 'i-run'");
    await raw.rows(`insert into hosts (name, zone, enabled, hypervisor, cores, memory_mib, disk_gib, claimed_cores, claimed_memory_mib, claimed_disk_gib,
      boot_id, updated_at) values ('h2', 'nova', true, 'kvm', 1, 1, 1, 0, 0, 0, 'b', now())`);
    expect((await unfinishedOperations(opened.db, 'i-run')).map((operation) => operation.id)).toEqual(['op-old']);
    await opened.close();
    await raw.close();
  });
});

/** PostgreSQL's `deadlock_timeout`. */
const deadlockMs = 1_000;

describe('G6 a transaction of the old release', () => {
  it('is not ended by who brings the schema up to date, whatever tables it has and wants', async () => {
    const raw = await onPostgres(dumpOf(newest));
    const looker = connectPostgres(server.url, 1);
    await raw.rows('begin');
    await raw.rows('update networks set mtu = mtu');
    const opening = raw.open();
    await waitUntil('the upgrade waits', { timeoutMs: 30_000, pollMs: 20 }, async () => (await looker`select 1 from pg_locks where not granted`).length > 0);
    // By then whoever waited first has looked whether it is in a deadlock, and is not the one that is ended for a later one.
    await pause(1.5 * deadlockMs);
    for (const [table, column] of [['instances', 'zone'], ['hosts', 'zone'], ['operations', 'kind'], ['users', 'name']]) {
      await raw.rows(`update ${table} set ${column} = ${column}`);
    }
    await raw.rows('commit');
    await (await opening).close();
    await looker.end();
    await raw.close();
  });
});

describe('G6 PGlite', () => {
  it('refuses a second process on its folder, in words, and lets it in when the first has ended, however', async () => {
    const folder = mkdtempSync('/tmp/novact-spec-pglite-');
    const url = `pglite:${join(folder, 'data')}`;
    const script = `import { openDatabase } from '${join(root, 'src/db/connect.ts')}';
      await openDatabase('${url}'); console.log('open'); setInterval(() => {}, 60000);`;
    const other = spawn(process.execPath, ['--import', join(root, 'node_modules/tsx/dist/loader.mjs'), '--input-type=module', '-e', script]);
    await new Promise<void>((done, fail) => {
      let said = '';
      other.stdout.on('data', (chunk: Buffer) => (chunk.toString().includes('open') ? done() : undefined));
      other.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
      other.once('exit', () => fail(new Error(said)));
    });
    await expect(openDatabase(url)).rejects.toThrow(`the PGlite database ${join(folder, 'data')} is in use by process ${other.pid}`);
    const ended = new Promise((done) => { other.once('exit', done); });
    other.kill('SIGKILL');
    await ended;
    const opened = await openDatabase(url);
    await expect(openDatabase(url)).rejects.toThrow('in use by');
    await opened.close();
    rmSync(folder, { recursive: true, force: true });
  }, 180_000);
});
