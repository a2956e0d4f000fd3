// The whole suite, part after part: types and lint, the fast specs on PGlite, those that use a database again on PostgreSQL, the servers of mailboxes
// and roles in processes of their own, the host's real parts, the real clients, and, where its image was built, the nested lab. Each part is timed,
// what was skipped and what failed is listed again at the end, and the last line has the sums alone.
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createPostgresCluster, postgresObstacle } from '../src/drivers/postgres/cluster.ts';
import { systemClock } from '../src/lib/clock.ts';
import { createRun } from '../src/lib/exec.ts';
import { silentLog } from '../src/lib/log.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** The longest, the nested lab, needs up to an hour on two loaded cores. */
const partTimeoutMs = 75 * 60_000;
const failureCharsMax = 600;
/** The end of a run must stay short: whoever keeps only that sees what failed. */
const shortCharsMax = 300;
const shortMax = 12;
const folder = mkdtempSync(join(tmpdir(), 'novact-test-'));
chmodSync(folder, 0o711);
const totals = { passed: 0, failed: 0, skipped: 0 };
const skipped = [];
const failures = [];
const inShort = [];
const parts = [];
const slowest = [];
const slowestMax = 12;
const wanted = process.argv.slice(2);
/** Where the fast specs are that use a database: spec/tidy/databases.spec.ts holds it. */
const databaseFolders = ['spec/actors', 'spec/api', 'spec/contract/auth', 'spec/unit/db', 'spec/unit/roles'];

/** Runs to the end, whatever comes of it; a part that hangs is ended. */
function run(command, args, environment = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...environment } });
    const timer = setTimeout(() => child.kill('SIGKILL'), partTimeoutMs);
    child.on('error', () => resolve(127));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code ?? 137);
    });
  });
}

/** Of all cores together, since the machine started: a part that waits much could have company. */
function busySeconds() {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;
}

async function part(name, work) {
  if (wanted.length > 0 && !wanted.includes(name)) return;
  console.log(`\n== ${name}`);
  const startedAt = performance.now();
  const before = { ...totals };
  const busyBefore = busySeconds();
  await work();
  const seconds = (performance.now() - startedAt) / 1000;
  const cores = ((busySeconds() - busyBefore) / seconds).toFixed(1);
  parts.push([name, seconds.toFixed(1), cores, totals.passed - before.passed, totals.failed - before.failed, totals.skipped - before.skipped]);
}

async function check(name, command, args) {
  const code = await run(command, args);
  if (code === 0) totals.passed += 1;
  else totals.failed += 1;
  console.log(`${code === 0 ? 'ok' : 'FAILED'}  ${name}`);
}

async function vitest(project, label, environment = {}, folders = []) {
  const report = join(folder, `${label.replaceAll(/\W+/g, '-')}.json`);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--project', project, ...reporters, '--passWithNoTests', ...folders];
  const code = await run(process.execPath, args, environment);
  let result;
  try {
    result = JSON.parse(readFileSync(report, 'utf8'));
  } catch (error) {
    totals.failed += 1;
    console.log(`FAILED  ${label}: no report (${error.message}), exit code ${code}`);
    return;
  }
  let failed = 0;
  for (const file of result.testResults) {
    slowest.push([label, relative(root, file.name), (file.endTime - file.startTime) / 1000]);
    // A file that cannot even be loaded has no tests, and must not pass for that.
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')) {
      failed += 1;
      fail(`${label}: ${relative(root, file.name)}`, file.message);
    }
    for (const test of file.assertionResults) {
      if (test.status === 'passed') totals.passed += 1;
      else if (test.status === 'failed') {
        failed += 1;
        fail(`${label}: ${test.fullName.trim()}`, test.failureMessages.join('\n'));
      } else skip(`${label}: ${test.fullName.trim()}`);
    }
  }
  if (code !== 0 && failed === 0) failed = 1;
  totals.failed += failed;
}

function fail(what, message) {
  const [reason = ''] = message.split('\n');
  inShort.push(`${what.slice(0, shortCharsMax)}\n      ${reason.slice(0, shortCharsMax)}`);
  failures.push(`${what}\n${message.slice(0, failureCharsMax).replaceAll(/^/gm, '      ')}`);
}

function skip(what) {
  totals.skipped += 1;
  skipped.push(what);
}

/** A server for the specs: a database for each spec file, no waiting for the disk. */
async function withPostgres(work) {
  const obstacle = postgresObstacle();
  if (obstacle !== undefined) return skip(`fast on PostgreSQL: all of it, because ${obstacle}`);
  const cluster = createPostgresCluster({
    directory: join(folder, 'postgres'), run: createRun({ log: silentLog }), log: silentLog, clock: systemClock, durable: false, connectionsMax: 200,
  });
  try {
    await work((await cluster.start()).url);
  } finally {
    await cluster.stop();
  }
}

try {
  await part('check', async () => {
    await check('types', process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit', '-p', '.']);
    await check('lint', process.execPath, ['node_modules/oxlint/bin/oxlint', '--deny-warnings']);
  });
  await part('fast', () => vitest('fast', 'fast on PGlite'));
  await part('fast-postgres', () => withPostgres((url) => vitest('fast', 'fast on PostgreSQL', { NOVACT_SPEC_DATABASE_URL: url }, databaseFolders)));
  await part('services', () => vitest('services', 'services'));
  await part('host', () => vitest('host', 'host'));
  await part('clients', () => vitest('clients', 'clients'));
  await part('lab', async () => {
    if ((await run('images/lab/build.sh', ['build/lab', '--check'])) === 0) return vitest('lab', 'lab');
    skip('lab: all of it, because build/lab is not there or out of date: npm run test:lab makes it, in three minutes, and runs this part');
  });
  await part('conformance', async () => {
    if ((await run(process.execPath, ['--import', 'tsx', 'scripts/conformance-s3.ts', '--check'])) !== 0) {
      return skip('conformance: all of it, because the suite is not there: npm run conformance:s3 fetches and runs it');
    }
    return check('ceph/s3-tests, as the list of known failures has it', process.execPath, ['--import', 'tsx', 'scripts/conformance-s3.ts']);
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}

if (skipped.length > 0) console.log(`\nskipped:\n${skipped.map((what) => `  ${what}`).join('\n')}`);
if (failures.length > 0) console.log(`\nfailed:\n${failures.map((what) => `  ${what}`).join('\n')}`);
slowest.sort(([, , first], [, , second]) => second - first);
console.log('\nslowest files, in seconds:');
for (const [label, name, seconds] of slowest.slice(0, slowestMax)) console.log(`${seconds.toFixed(1).padStart(8)}  ${label}: ${name}`);
console.log('\npart              seconds  cores   passed  failed  skipped');
for (const [name, seconds, cores, passed, failed, left] of parts) {
  console.log(`${name.padEnd(16)} ${seconds.padStart(8)} ${cores.padStart(6)} ${String(passed).padStart(8)} ${String(failed).padStart(7)} ${String(left).padStart(8)}`);
}
if (inShort.length > 0) console.log(`\nfailed, in short:\n${inShort.slice(0, shortMax).map((what) => `  ${what}`).join('\n')}`);
console.log();
console.log(`${totals.passed} passed, ${totals.failed} failed${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''}`);
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);
