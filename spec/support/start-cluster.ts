// A process that starts a private cluster and waits to be killed: for specs of what survives.
import { createPostgresCluster } from '../../src/drivers/postgres/cluster.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

const cluster = createPostgresCluster({
  directory: process.argv[2] ?? '',
  run: createRun({ log: silentLog }),
  log: silentLog,
  clock: systemClock,
});
process.stdout.write(`${JSON.stringify(await cluster.start())}\n`);
setInterval(() => undefined, 60_000);
