// E23: an objectstore that is killed while qemu-img converts a disk. The conversion is held (SIGSTOP) when its first bytes are there, so that the kill
// meets it in its midst however fast the machine is; the tool itself outlives its objectstore, as it would.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { drizzle } from 'drizzle-orm/postgres-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectPostgres } from '../../src/db/connect.ts';
import type { Db } from '../../src/db/db.ts';
import { importsOf } from '../../src/db/imports.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { freePort } from '../support/free-port.ts';
import { waitFor } from '../support/patience.ts';
import { productCommand } from '../support/product-command.ts';
import { startRole, startSharedServices, type RoleProcess, type SharedServices } from '../support/role-process.ts';

const mib = 2 ** 20;
const patience = { timeoutMs: 120_000, pollMs: 20 };
const exec = promisify(execFile);

let services: SharedServices;
let objectstore: RoleProcess;
let folder: string;
let close: () => Promise<void>;
/** Beside the roles: while none runs, `manage` has nobody to ask. */
let db: Db;
const held = new Set<number>();

beforeAll(async () => {
  services = await startSharedServices({ name: 'import-killed' });
  // With the tool of hosts that run real guests; nothing of libvirt is asked of an objectstore.
  const settings = { ...services.host('h1'), NOVACT_S3_PORT: String(await freePort()), NOVACT_HYPERVISOR: 'libvirt' };
  objectstore = await startRole({ role: 'objectstore', host: 'h1', settings });
  const client = connectPostgres(services.databaseUrl, 1);
  db = drizzle(client) as unknown as Db;
  close = () => client.end({ timeout: 5 });
  folder = objectstore.settings['NOVACT_STATE'] ?? '';
});
afterAll(async () => {
  for (const pid of held) process.kill(pid, 'SIGKILL');
  await objectstore?.kill9();
  await close?.();
  await services?.close();
});

async function manage<T>(...args: string[]): Promise<T> {
  const { command: [program, ...first], environment } = productCommand();
  const { stdout } = await exec(program, [...first, 'manage', ...args, '--json'], { env: { ...process.env, ...environment, ...objectstore.settings } });
  return JSON.parse(stdout) as T;
}

const commandOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // it has ended
  }
};

/** Of qemu-img that converts from or into a folder. */
const converting = (): number[] => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid))
  .filter((pid) => commandOf(pid).startsWith('qemu-img\0convert') && commandOf(pid).includes(folder)).map(Number);

/** Of the objectstore, the unfinished ones too. */
const files = (): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.startsWith('objects/') && statSync(join(folder, file)).isFile());

it('E23: the next objectstore finishes the import, and nothing of the first try is left', async () => {
  mkdirSync(join(folder, 'disks'));
  const [raw, vmdk] = [join(folder, 'disks/disk.raw'), join(folder, 'disks/disk.vmdk')];
  const piece = randomBytes(16 * mib);
  for (let number = 0; number < 16; number += 1) writeFileSync(raw, piece, { flag: 'a' });
  await createRun({ log: silentLog })('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', raw, vmdk], { timeoutMs: 120_000 });
  const before = files();
  const { task } = await manage<{ task: string }>('image', 'import', vmdk, 'admin');
  const first = await waitFor('the tool runs', patience, async () => converting()[0]);
  process.kill(first, 'SIGSTOP');
  held.add(first);
  await objectstore.kill9();
  expect(await importsOf(db)).toMatchObject([{ id: task, state: 'active', stage: 'converting' }]);
  expect(converting()).toEqual([first]);

  await objectstore.start();
  const ended = await waitFor('the import has ended', patience, async () => {
    const [one] = await importsOf(db);
    return one?.state === 'active' ? undefined : one;
  });
  expect(ended).toMatchObject({ id: task, state: 'completed', reason: null });
  const image = await manage<{ state: string; format: string; virtualBytes: number }>('image', 'show', ended.imageId);
  expect(image).toMatchObject({ state: 'available', format: 'qcow2', virtualBytes: 256 * mib });
  const [kept = '', ...others] = files().filter((file) => !before.includes(file));
  expect(others).toEqual([]);

  // The first try goes on, into a file that has no name any more.
  process.kill(first, 'SIGCONT');
  await waitFor('it has ended', patience, async () => (converting().includes(first) ? undefined : true));
  held.delete(first);
  expect(files().filter((file) => !before.includes(file))).toEqual([kept]);
  await createRun({ log: silentLog })('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, join(folder, kept)], { timeoutMs: 120_000 });
}, 300_000);
