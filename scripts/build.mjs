// Makes dist of src: one program, with the packages that it needs, in a few files, for a process that reads eight hundred takes a second longer to
// start; and the data files that are read at run time. dist appears whole or stays as it was. Types are `npm run check`'s business.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { patchedConnection } from './postgres-patch.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src');
const fresh = join(root, 'build', `dist.${process.pid}`);
const dist = join(root, 'dist');
const old = join(root, 'build', `dist.old.${process.pid}`);

mkdirSync(join(root, 'build'), { recursive: true });
process.on('exit', () => [fresh, old].forEach((path) => rmSync(path, { recursive: true, force: true })));

/** All files lie in dist itself; what a module finds beside it, it finds where it would be if dist had the folders of src. */
const urls = {
  name: 'urls of modules',
  setup(bundle) {
    bundle.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes('import.meta.url') || !path.startsWith(source)) return undefined;
      const place = `new URL(${JSON.stringify(relative(source, path))}, import.meta.url).href`;
      return { contents: text.replaceAll('import.meta.url', place), loader: 'ts' };
    });
  },
};

const postgres = {
  name: 'postgres.js, mended',
  setup(bundle) {
    bundle.onLoad({ filter: /\/postgres\/src\/connection\.js$/ }, ({ path }) => ({ contents: patchedConnection(readFileSync(path, 'utf8')) }));
  },
};

await build({
  entryPoints: { main: join(source, 'cli/main.ts') },
  outdir: fresh,
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  chunkNames: '[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // No keepNames: it sets the name of every function each time one is made, by a slow path of V8, and each function is then of another shape.
  sourcemap: true,
  logLevel: 'warning',
  plugins: [urls, postgres],
  // PGlite reads its own files, which lie beside it.
  external: ['@electric-sql/pglite'],
  // Packages of the older kind ask for node's modules by `require`.
  banner: { js: "import { createRequire as novactRequire } from 'node:module'; const require = novactRequire(import.meta.url);" },
}).catch(() => process.exit(1));

// Migrations and the service models are data: they are read at run time from beside the code.
for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(json|sql)$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const target = join(fresh, relative(source, path));
  mkdirSync(dirname(target), { recursive: true });
  cpSync(path, target);
}
if (process.argv[2] !== undefined) writeFileSync(join(fresh, '.sources'), `${process.argv[2]}\n`);
if (existsSync(dist)) renameSync(dist, old);
renameSync(fresh, dist);
