// A fresh, migrated database for one spec file: PGlite in memory, or, when NOVACT_SPEC_DATABASE_URL names a PostgreSQL server, a
// database of its own there. The whole suite runs on both.
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { connectPostgres, openDatabase, type OpenDatabase } from '../../src/db/connect.ts';

export type TestDatabase = OpenDatabase;

export async function createTestDatabase(): Promise<TestDatabase> {
  const server = process.env['NOVACT_SPEC_DATABASE_URL'];
  if (server === undefined) return openDatabase('pglite:memory', { pglite: await createPglite() });
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

/** A migrated PGlite in memory. */
export const createPglite = async (): Promise<PGlite> => PGlite.create({ loadDataDir: await migratedPglite() });

const root = resolve(import.meta.dirname, '../..');

/** A migrated PGlite as a file, made once for each state of the migrations: opening a copy takes a sixth of making one. */
async function migratedPglite(): Promise<Blob> {
  const folder = join(root, 'src/db/migrations');
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.sql')).toSorted()) hash.update(readFileSync(join(folder, name)));
  const path = join(root, `build/spec/pglite-${hash.digest('hex').slice(0, 16)}.tar`);
  if (!existsSync(path)) {
    const fresh = await openDatabaseOn(await PGlite.create('memory://'));
    mkdirSync(dirname(path), { recursive: true });
    // Several workers may make it at once: each writes its own, and the last name wins.
    const own = `${path}.${randomBytes(4).toString('hex')}`;
    writeFileSync(own, Buffer.from(await (await fresh.dumpDataDir('none')).arrayBuffer()));
    renameSync(own, path);
    await fresh.close();
  }
  return new Blob([readFileSync(path)]);
}

async function openDatabaseOn(pglite: PGlite): Promise<PGlite> {
  await openDatabase('pglite:memory', { pglite });
  return pglite;
}
