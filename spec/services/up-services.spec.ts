// `novact up --services`: one command, and the distributed form runs on one machine; whatever dies of it comes back.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { roleNames } from '../../src/config/options.ts';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { waitFor } from '../support/patience.ts';
import { productCommand, withoutNovact } from '../support/product-command.ts';
import { freePort } from '../support/free-port.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const readyMsMax = 160_000;
let folder: string;
let environment: NodeJS.ProcessEnv;
let child: ChildProcess | undefined;
let said = '';

function novact(...args: string[]) {
  const { command: [file, ...first] } = productCommand();
  const { status, stdout, stderr } = spawnSync(file, [...first, ...args], { encoding: 'utf8', timeout: 120_000, env: environment });
  return { code: status, text: stdout + stderr };
}

interface Status {
  readonly isReady: boolean;
  readonly processes: readonly { readonly role: string; readonly pid: number; readonly answer?: { readonly isReady: boolean } }[];
}

const statusOf = () => JSON.parse(novact('status', '--json').text) as Status;

async function up(): Promise<string> {
  const { command: [file, ...first] } = productCommand();
  said = '';
  const started = spawn(file, [...first, 'up', '--services'], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  child = started;
  for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  const ended = new Promise<never>((_, reject) => void started.once('exit', (code) => reject(new Error(`it ended with ${code}:\n${said}`))));
  await Promise.race([ended, waitFor('it is ready', { timeoutMs: readyMsMax }, async () => (/^novact is ready/m.test(said) ? true : undefined))]);
  ended.catch(() => undefined);
  return said;
}

const exitOf = (of: ChildProcess | undefined) => new Promise<number | null>((resolve) => void of?.once('exit', (code) => resolve(code)));

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? 'novact up --services' : `novact up --services (skipped: ${obstacle})`, () => {
  beforeAll(async () => {
    folder = mkdtempSync('/tmp/novact-services-');
    chmodSync(folder, 0o711);
    environment = { ...withoutNovact(process.env), NOVACT_STATE: join(folder, 'state'), NOVACT_HYPERVISOR: 'sim' };
    for (const name of ['API', 'S3', 'METADATA', 'DASHBOARD']) environment[`NOVACT_${name}_PORT`] = String(await freePort());
    // The ports of all roles count from it: none that free-port.ts or the kernel gives to anybody.
    environment['NOVACT_OPS_PORT'] = '32179';
  });
  afterAll(() => {
    if (obstacle === undefined) novact('down', '--purge');
    child?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  it('starts every role as a process of its own, and the whole works', async () => {
    expect(await up()).toMatch(/private PostgreSQL \(created\)[^]*private Redis \(started\)/);
    const { processes, isReady } = statusOf();
    expect(isReady).toBe(true);
    expect(processes.map(({ role }) => role)).toEqual([...roleNames].toSorted());
    expect(new Set(processes.map(({ pid }) => pid)).size).toBe(roleNames.length);
    expect(novact('try')).toMatchObject({ code: 0, text: expect.stringContaining('it works') });
    expect(novact('manage', 'host', 'list')).toMatchObject({ code: 0, text: expect.stringContaining('sim') });
    const listed = novact('manage', 'service', 'list').text;
    for (const { role } of processes) expect(listed).toMatch(new RegExp(`\\b${role}\\b.*\\bup\\b`));
    expect(novact('up')).toMatchObject({ code: 2, text: expect.stringContaining('in use by process') });
  }, 300_000);

  it('starts a role again that was killed', async () => {
    const before = statusOf().processes.find(({ role }) => role === 'scheduler')?.pid ?? 0;
    process.kill(before, 'SIGKILL');
    await waitFor('another scheduler', { timeoutMs: 90_000 }, async () => {
      const after = statusOf().processes.find(({ role }) => role === 'scheduler');
      return after !== undefined && after.pid !== before && after.answer?.isReady === true ? true : undefined;
    });
    // What it says is read when the command above, for which this process waited, has ended.
    const told = /novact-scheduler ended with SIGKILL; started again in 0.5 s/;
    await waitFor('it says so', { timeoutMs: 60_000 }, async () => (told.test(said) ? true : undefined));
  }, 240_000);

  it('leaves no role behind when it is killed itself, and its next start adopts database and Redis', async () => {
    const pids = statusOf().processes.map(({ pid }) => pid);
    const exited = exitOf(child);
    child?.kill('SIGKILL');
    await exited;
    expect(await up()).toMatch(/private PostgreSQL \(adopted\)[^]*private Redis \(adopted\)/);
    const after = statusOf().processes.map(({ pid }) => pid);
    expect(after.filter((pid) => pids.includes(pid))).toEqual([]);
    expect(after.length).toBe(roleNames.length);
    expect(novact('try')).toMatchObject({ code: 0, text: expect.stringContaining('it works') });
  }, 300_000);

  it('ends with all its processes on down, and says that nothing runs', async () => {
    const exited = exitOf(child);
    const pids = statusOf().processes.map(({ pid }) => pid);
    expect(novact('down')).toMatchObject({ code: 0, text: expect.stringContaining('stopped process') });
    expect(await exited).toBe(0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(novact('status').code).toBe(3);
  }, 240_000);
});
