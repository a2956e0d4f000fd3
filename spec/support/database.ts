// A fresh database with today's schema for a spec: PGlite in memory, or, when NOVACT_SPEC_DATABASE_URL names a PostgreSQL server, a database of
// its own there. The whole suite runs on both. One that a spec of this worker has closed is emptied and used again, which
// takes a hundredth of making one. A statement that comes after its close fails, as on a database that is gone.
import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { connectPostgres, openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import { SimDatabase } from './sim-database.ts';

export type TestDatabase = OpenDatabase;

export async function createTestDatabase(): Promise<TestDatabase> {
  const server = process.env['NOVACT_SPEC_DATABASE_URL'];
  return server === undefined ? openPglite() : openPostgres(server);
}

const idlePglites: SimDatabase[] = [];
const idleUrls: string[] = [];

/** PGlite through the client of the simulation: the same statements in a tenth of the time. By novact's own client spec/clients/boto2.spec.ts uses it. */
async function openPglite(): Promise<TestDatabase> {
  const database = idlePglites.pop() ?? (await SimDatabase.open());
  database.empty();
  let isClosed = false;
  const before = async (): Promise<void> => {
    if (isClosed) throw new Error('the database of this spec is closed');
  };
  const { db, cut } = database.connect({ before, after: async () => undefined });
  return {
    db, kind: 'pglite',
    async close() {
      if (isClosed) return;
      isClosed = true;
      cut('cut');
      await database.forget();
      idlePglites.push(database);
    },
  };
}

async function openPostgres(server: string): Promise<TestDatabase> {
  const url = idleUrls.pop() ?? (await createDatabase(server));
  const opened = await openDatabase(url, { connectionsMax: 8 });
  const tables = await opened.db.execute(sql`select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`);
  const names = (tables as unknown as readonly { readonly name: string }[]).map(({ name }) => `"${name}"`).join(', ');
  await opened.db.execute(sql.raw(`truncate ${names} restart identity cascade`));
  return {
    ...opened,
    async close() {
      await opened.close();
      idleUrls.push(url);
    },
  };
}

async function createDatabase(server: string): Promise<string> {
  const admin = connectPostgres(server, 1);
  const url = new URL(server);
  url.pathname = `/spec_${randomBytes(6).toString('hex')}`;
  await admin.unsafe(`create database ${url.pathname.slice(1)}`);
  await admin.end();
  return url.href;
}
