// A fresh, migrated database for one spec file: PGlite in memory, or, when NOVACT_SPEC_DATABASE_URL names a PostgreSQL server, a
// database of its own there. The whole suite runs on both.
import { randomBytes } from 'node:crypto';
import { connectPostgres, openDatabase, type OpenDatabase } from '../../src/db/connect.ts';

export type TestDatabase = OpenDatabase;

export async function createTestDatabase(): Promise<TestDatabase> {
  const server = process.env['NOVACT_SPEC_DATABASE_URL'];
  if (server === undefined) return openDatabase('pglite:memory');
  const name = `spec_${randomBytes(6).toString('hex')}`;
  const admin = connectPostgres(server, 1);
  await admin.unsafe(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const opened = await openDatabase(url.href, { connectionsMax: 8 });
  return {
    ...opened,
    async close() {
      await opened.close();
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}
