// Keeps the build of a release, small enough to lie in the repository, so that later ones are tried beside it:
// `tsx scripts/release-build.ts v0.2.0` compiles that commit and writes spec/fixtures/release-0.2.0.tgz. The same commit gives the same bytes.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createRun } from '../src/lib/exec.ts';
import { silentLog } from '../src/lib/log.ts';

/** It is in every clone for ever. */
const bytesMax = 1_000_000;

const root = resolve(import.meta.dirname, '..');
const [commit = 'HEAD'] = process.argv.slice(2);
const run = createRun({ log: silentLog });
const folder = mkdtempSync('/tmp/novact-release-');
const source = join(folder, 'source');
try {
  mkdirSync(source);
  const archive = join(folder, 'source.tar');
  const { stdout: id } = await run('git', ['-C', root, 'rev-parse', `${commit}^{commit}`]);
  await run('git', ['-C', root, 'archive', '--output', archive, id.trim()], { timeoutMs: 60_000 });
  await run('tar', ['-xf', archive, '-C', source], { timeoutMs: 60_000 });
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  await run(process.execPath, [join(source, 'scripts/build.mjs'), id.trim()], { timeoutMs: 300_000 });
  const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as { version: string };
  const build = join(root, `spec/fixtures/release-${version}.tgz`);
  const same = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0', '--mode=go-w', '--exclude=*.map'];
  await run('tar', ['-C', source, ...same, '--use-compress-program=gzip -9n', '-cf', build, 'package.json', 'bin', 'dist'], { timeoutMs: 60_000 });
  const { size } = statSync(build);
  if (size > bytesMax) throw new Error(`${build} has ${size} bytes, more than ${bytesMax}: keep it elsewhere`);
  process.stdout.write(`${build}: ${size} bytes\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
