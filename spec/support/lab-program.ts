// Programs of ours for the nested guest, in one file each: node reads hundreds of modules there ten times slower than here, and would compile each.
import { basename, extname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import type { Lab } from './lab.ts';

const root = resolve(import.meta.dirname, '../..');

/** The path of the program, in the guest as here. `source`: of TypeScript, in the checkout. */
export async function labProgram({ shared }: Pick<Lab, 'shared'>, source: string): Promise<string> {
  const outfile = join(shared, `${basename(source, extname(source))}.mjs`);
  await build({
    entryPoints: [join(root, source)], outfile, bundle: true, format: 'esm', platform: 'node', target: 'node20', keepNames: true, logLevel: 'warning',
    // Packages of the older kind ask for node's modules by `require`.
    banner: { js: "import { createRequire as novactRequire } from 'node:module'; const require = novactRequire(import.meta.url);" },
  });
  return outfile;
}
