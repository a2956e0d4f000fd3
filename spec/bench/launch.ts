// Launches on simulated hosts, everything in one process over the local mailboxes, on a PostgreSQL of its own that waits for the disk: how many
// instances a second come to `running`, and how long fifty of one call take. `npm run bench -- launch`; NOVACT_BENCH_COUNT (default 400) says how
// many are launched for the rate. The figures of separate processes over Redis are those of `cloud`.
import { countRunning, startBenchCloud, topStatements } from '../support/bench-cloud.ts';
import { measureLaunches, openBenchEc2 } from '../support/bench-ec2.ts';
import { atLeast, atMost, type BenchRow } from './row.ts';

const count = Number(process.env['NOVACT_BENCH_COUNT'] ?? 400);
const hostCounts = (process.env['NOVACT_BENCH_HOSTS'] ?? '3,300').split(',').map(Number);

/** NOVACT_BENCH_STATEMENTS=1: what the database was asked for each instance. */
const statements = process.env['NOVACT_BENCH_STATEMENTS'] === '1';

async function showStatements(url: string, instances: number): Promise<void> {
  for (const { calls, totalMs, query } of await topStatements(url, 60)) {
    console.error(`${(calls / instances).toFixed(2).padStart(7)} an instance ${String(totalMs).padStart(7)} ms  ${query}`);
  }
}

export async function run(): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const hosts of hostCounts) rows.push(...(await measure(hosts)));
  return rows;
}

async function measure(hosts: number): Promise<BenchRow[]> {
  const startedAt = performance.now();
  const cloud = await startBenchCloud({ hosts, statements });
  const startSeconds = (performance.now() - startedAt) / 1_000;
  const { db } = cloud.foundation;
  const ec2 = openBenchEc2({ endpoint: cloud.endpoint, ...cloud.founder });
  try {
    const { rate, fiftyMs, answerMs } = await measureLaunches({ ec2, imageId: cloud.imageId, countRunning: () => countRunning(db) }, count);
    if (statements) await showStatements(cloud.databaseUrl, count + 170);
    return [
      { name: `${hosts} hosts: launches to running`, value: rate, unit: '1/s', target: atLeast(rate, 40, '1/s') },
      { name: `${hosts} hosts: 50 of one call running`, value: fiftyMs / 1_000, unit: 's', target: atMost(fiftyMs / 1_000, 2, 's') },
      { name: `${hosts} hosts: RunInstances of ten answered`, value: answerMs, unit: 'ms' },
      { name: `${hosts} hosts: start, database included`, value: startSeconds, unit: 's' },
    ];
  } finally {
    ec2.close();
    await cloud.close();
  }
}
