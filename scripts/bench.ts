// Runs the benchmarks of spec/bench, or those named on the command line, and prints their figures: `npm run bench -- runtime`.
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import Table from 'cli-table3';
import { z } from 'zod';

const folder = join(import.meta.dirname, '../spec/bench');
const rowsType = z.array(z.looseObject({ name: z.string(), value: z.number(), unit: z.string(), ratio: z.number().optional(), baseline: z.string().optional() }));
const moduleType = z.object({ run: z.custom<() => Promise<unknown>>((value) => typeof value === 'function', 'a benchmark exports run()') });

const wanted = process.argv.slice(2);
const names = readdirSync(folder).filter((file) => file.endsWith('.ts')).map((file) => basename(file, '.ts'));
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`there is no benchmark ${unknown.join(', ')}; there are: ${names.join(', ')}`);
  process.exit(2);
}
for (const name of names.filter((one) => wanted.length === 0 || wanted.includes(one))) {
  const { run } = moduleType.parse(await import(join(folder, `${name}.ts`)));
  const rows = rowsType.parse(await run());
  const table = new Table({ head: [name, 'value', 'unit', 'ratio', 'to'], style: { head: [], border: [] } });
  table.push(...rows.map((row) => [row.name, round(row.value), row.unit, row.ratio === undefined ? '' : round(row.ratio), row.baseline ?? '']));
  console.log(table.toString());
}
process.exit(0);

function round(value: number): string {
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
