// PGlite in memory with today's schema, for specs.
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { openDatabase } from '../../src/db/connect.ts';

/** Before the fast specs (vitest's globalSetup): making it must not count against the time of whoever comes first. */
export const setup = async (): Promise<void> => void (await migratedPglite());

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
