// Makes the dump of a released database: its migrations up to the release's last one, its rows, pg_dump. Once for each release, and kept:
// `tsx scripts/release-fixture.ts 0.1.0 0002_blob_indexes` reads spec/fixtures/release-0.1.0-rows.sql and writes release-0.1.0.sql.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { startPostgres } from '../spec/support/postgres-server.ts';
import { connectPostgres } from '../src/db/connect.ts';
import { createRun } from '../src/lib/exec.ts';
import { silentLog } from '../src/lib/log.ts';

interface Journal {
  entries: { readonly tag: string }[];
}

const root = resolve(import.meta.dirname, '..');
const [release = '', lastTag = ''] = process.argv.slice(2);
const fixture = join(root, `spec/fixtures/release-${release}`);
const folder = mkdtempSync('/tmp/novact-fixture-');
const server = await startPostgres('fixture');
try {
  cpSync(join(root, 'src/db/migrations'), folder, { recursive: true });
  const path = join(folder, 'meta/_journal.json');
  const journal = JSON.parse(readFileSync(path, 'utf8')) as Journal;
  const last = journal.entries.findIndex(({ tag }) => tag === lastTag);
  if (last < 0) throw new Error(`there is no migration ${lastTag}`);
  writeFileSync(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, last + 1) }));
  const url = await server.createDatabase('release');
  const client = connectPostgres(url, 1);
  await migrate(drizzle(client), { migrationsFolder: folder });
  await client.end();
  await server.load(url, readFileSync(`${fixture}-rows.sql`, 'utf8'));
  const flags = ['--inserts', '--column-inserts', '--no-owner', '--no-privileges', '--dbname', url.replace('localhost', '')];
  const { stdout } = await createRun({ log: silentLog })('pg_dump', flags, { timeoutMs: 60_000 });
  // Lines for psql itself are not SQL.
  writeFileSync(`${fixture}.sql`, stdout.replaceAll(/^\\.*\n/gm, ''));
} finally {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}
