// Compiles src to dist, with the data files that lie beside the code. dist appears whole or stays as it was.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const fresh = join(root, 'build', `dist.${process.pid}`);
const dist = join(root, 'dist');
const old = join(root, 'build', `dist.old.${process.pid}`);

mkdirSync(join(root, 'build'), { recursive: true });
process.on('exit', () => [fresh, old].forEach((path) => rmSync(path, { recursive: true, force: true })));

const tsc = join(root, 'node_modules/typescript/bin/tsc');
const compiled = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', fresh], { stdio: 'inherit', cwd: root });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

// Migrations and the service models are data: they are read at run time from beside the code.
for (const entry of readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(json|sql)$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const target = join(fresh, path.slice(join(root, 'src').length));
  mkdirSync(dirname(target), { recursive: true });
  cpSync(path, target);
}
if (process.argv[2] !== undefined) writeFileSync(join(fresh, '.sources'), `${process.argv[2]}\n`);
if (existsSync(dist)) renameSync(dist, old);
renameSync(fresh, dist);
