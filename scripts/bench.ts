// `npm run bench [-- name…]`: the benchmarks of spec/bench one after another, each figure beside its baseline and its target. Prints and
// writes nothing else: docs/reference/benchmarks.md is written by people, who know what else the machine did.
import { readdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { BenchRow } from '../spec/bench/row.ts';
import { createOutput } from '../src/cli/output.ts';

const folder = join(import.meta.dirname, '../spec/bench');
const isRun = (value: unknown): value is () => Promise<readonly BenchRow[]> => typeof value === 'function';
const moduleType = z.object({ run: z.custom<() => Promise<readonly BenchRow[]>>(isRun, 'a benchmark exports run()') });
const output = createOutput(process.stdout, process.stderr, process.env);

/** A file, or a folder with an `index.ts`. */
const files = new Map(readdirSync(folder, { withFileTypes: true }).filter(({ name }) => name !== 'row.ts')
  .map((entry) => [basename(entry.name, '.ts'), entry.isDirectory() ? join(entry.name, 'index.ts') : entry.name] as const));
const names = [...files.keys()].toSorted();
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  output.note(`there is no benchmark ${unknown.join(', ')}; there are: ${names.join(', ')}`);
  process.exit(2);
}

const round = (value: number): string => (Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3))));

function cells(row: BenchRow): string[] {
  const { target } = row;
  const judged = target === undefined ? '' : output.tint(target.met ? 'green' : 'red', `${target.text} ${target.met ? 'met' : 'missed'}`);
  return [row.name, round(row.value).padStart(8), row.unit, row.baseline ?? '', row.ratio === undefined ? '' : `${round(row.ratio)} ×`, judged];
}

let failures = 0;
for (const name of wanted.length === 0 ? names : wanted) {
  const load = loadavg().map((value) => value.toFixed(1)).join(' ');
  try {
    const { run } = moduleType.parse(await import(join(folder, files.get(name) ?? '')));
    const rows = await run();
    output.line(`${output.tint('bold', name)} (load average ${load})`);
    output.table(['figure', '   value', 'unit', 'beside', 'ratio', 'target'], rows.map(cells));
    output.line();
  } catch (error) {
    failures += 1;
    output.note(`${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
}
process.exit(failures > 0 ? 1 : 0);
