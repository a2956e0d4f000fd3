// `npm run conformance:s3 [-- -k EXPRESSION]`: the public conformance suite of S3, ceph/s3-tests, against a cloud of its own, beside the list of what is
// known to fail (spec/conformance/s3-known-failures.txt). The suite is other people's and never part of this repository: it is fetched beside it, into
// ~/.cache/novact, with a Python environment for it; `--tests` and `--python` name others.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import xml2js from 'xml2js';
import { z } from 'zod';
import { judge, parseKnownFailures, type KnownFailures, type Outcome } from '../spec/support/known-failures.ts';
import { startSimCloudProcess, type SimCloudProcess } from '../spec/support/sim-cloud-process.ts';

const source = 'https://github.com/ceph/s3-tests';
const commit = '8f0ae7b404a3a2fcf7038bf1e6bf29544fe9b6a3';
const files = ['test_s3.py', 'test_headers.py'];
const list = resolve(import.meta.dirname, '../spec/conformance/s3-known-failures.txt');
const beside = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'novact');
const modules = ['boto3', 'munch', 'isodate', 'requests', 'pytz', 'httplib2', 'lxml', 'PyYAML', 'pytest'];
/** All of it takes 20 minutes on two quiet cores. */
const timeoutMs = 90 * 60_000;

const { values } = parseArgs({
  options: {
    tests: { type: 'string', default: process.env['NOVACT_S3_TESTS'] ?? join(beside, 's3-tests') },
    python: { type: 'string' },
    k: { type: 'string', short: 'k' },
    check: { type: 'boolean', default: false },
  },
});

/** The suite at the commit that the list was made with, and a Python that can run it. */
function prepare(): string {
  const tests = values.tests;
  if (!existsSync(join(tests, 's3tests'))) {
    mkdirSync(tests, { recursive: true });
    console.log(`fetching ${source} into ${tests}`);
    const git = (...args: string[]) => execFileSync('git', ['-C', tests, ...args], { stdio: 'inherit' });
    git('init', '--quiet');
    git('fetch', '--quiet', '--depth', '1', source, commit);
    git('checkout', '--quiet', 'FETCH_HEAD');
  }
  if (values.python !== undefined) return values.python;
  const environment = join(beside, 's3-tests-python');
  const python = join(environment, 'bin/python3');
  if (!existsSync(join(environment, 'complete'))) {
    console.log(`making ${environment}`);
    execFileSync('python3', ['-m', 'venv', environment], { stdio: 'inherit' });
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', ...modules], { stdio: 'inherit' });
    writeFileSync(join(environment, 'complete'), '');
  }
  return python;
}

/** s3tests.conf: three users, each with a project of their own. Nothing of IAM's roles and accounts is asked for: those tests are not run. */
async function configure(cloud: SimCloudProcess): Promise<string> {
  const section = async (titles: readonly string[], name: string): Promise<string> => {
    const { projectId, accessKeyId, secretAccessKey } = await cloud.createProject(name);
    const lines = [
      `display_name = ${projectId}`, `user_id = ${projectId}`, `email = ${name}@example.com`, `access_key = ${accessKeyId}`, `secret_key = ${secretAccessKey}`,
      'api_name = nova', 'tenant = other',
    ];
    return titles.map((title) => `[${title}]\n${lines.join('\n')}\n`).join('\n');
  };
  const path = join(cloud.folder, 's3tests.conf');
  writeFileSync(path, [
    `[DEFAULT]\nhost = localhost\nport = ${cloud.s3Port}\nis_secure = False\nssl_verify = False\n`,
    '[fixtures]\nbucket prefix = t-{random}-\niam name prefix = t-\niam path prefix = /t/\n',
    await section(['s3 main', 'iam', 'iam root'], 'main'), await section(['s3 alt', 'iam alt root'], 'alt'), await section(['s3 tenant'], 'tenant'),
  ].join('\n'));
  return path;
}

const found = z.unknown().optional();
const caseType = z.object({ $: z.object({ name: z.string(), classname: z.string() }), failure: found, error: found, skipped: found });
const reportType = z.object({ testsuites: z.object({ testsuite: z.array(z.object({ testcase: z.array(caseType).default([]) })) }) });

/** Of pytest's report in JUnit's form. A test that ended in a failure and an error is there once. */
async function outcomesOf(report: string): Promise<Map<string, Outcome>> {
  const { testsuites } = reportType.parse(await xml2js.parseStringPromise(readFileSync(report, 'utf8')));
  const outcomes = new Map<string, Outcome>();
  for (const { $: { name, classname }, failure, error, skipped } of testsuites.testsuite.flatMap(({ testcase }) => testcase)) {
    const test = `${classname.split('.').at(-1)}.py::${name}`;
    const hasFailed = failure !== undefined || error !== undefined || outcomes.get(test) === 'failed';
    outcomes.set(test, hasFailed ? 'failed' : skipped === undefined ? 'passed' : 'skipped');
  }
  return outcomes;
}

async function run(known: KnownFailures, python: string): Promise<number> {
  // It sends many wrong signatures with good keys.
  const cloud = await startSimCloudProcess('novact-s3-tests', { NOVACT_LOCKOUT_ATTEMPTS: '0' });
  try {
    const report = join(cloud.folder, 'report.xml');
    const chosen = ['-m', known.markers.map((marker) => `not ${marker}`).join(' and '), ...(values.k === undefined ? [] : ['-k', values.k])];
    const args = ['-m', 'pytest', '-v', '--tb=short', '-p', 'no:cacheprovider', '-p', 'no:warnings', `--junitxml=${report}`, ...chosen];
    const { status, signal } = spawnSync(python, [...args, ...files.map((file) => `s3tests/functional/${file}`)], {
      cwd: values.tests, stdio: 'inherit', timeout: timeoutMs, killSignal: 'SIGKILL', env: { ...process.env, S3TEST_CONF: await configure(cloud) },
    });
    // 0: all passed; 1: some failed. All else is that they could not be run.
    if (status !== 0 && status !== 1) throw new Error(`pytest ended with ${status ?? signal}`);
    const outcomes = await outcomesOf(report);
    const { passed, known: knownFailures, faults } = judge(outcomes, known, values.k === undefined);
    console.log(`\nof ${outcomes.size} tests ${passed} pass; ${knownFailures} of the list fail; not run: what has the markers ${known.markers.join(', ')}`);
    for (const fault of faults) console.log(`FAULT ${fault}`);
    console.log(`${outcomes.size - faults.length} passed, ${faults.length} failed`);
    return faults.length === 0 && outcomes.size > 0 ? 0 : 1;
  } finally {
    await cloud.close();
  }
}

if (values.check) process.exit(existsSync(join(values.tests, 's3tests')) ? 0 : 1);
process.exit(await run(parseKnownFailures(readFileSync(list, 'utf8')), prepare()));
