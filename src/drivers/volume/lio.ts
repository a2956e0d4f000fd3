// Volumes over iSCSI by the kernel itself (LIO), which is told by folders and files of its configfs: for each attachment a target with one disk, and an
// account of CHAP for each host that may connect, by its iSCSI name. Nothing of it can die alone, and it serves on without novact; a machine that starts
// anew has none of it, and is told again.
import { access, mkdir, readdir, readFile, rmdir, symlink, unlink, writeFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { DriverError, messageOf } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import type { Connection, ExportSpec } from './driver.ts';
import type { ExporterInfo, ExportPast, VolumeExporter } from './exporter.ts';
import type { VolumeDevice } from './store.ts';

export interface LioOptions {
  /** By which other hosts reach this one. */
  readonly address: string;
  /** Where the kernel listens, for all volumes. */
  readonly port: number;
  /** What the names of targets begin with: `iqn.2011-02.org.novact`. */
  readonly namePrefix: string;
  readonly run: Run;
}

const modules = ['target_core_mod', 'target_core_file', 'iscsi_target_mod'];
const configfs = '/sys/kernel/config';
const [core, targets] = [join(configfs, 'target/core/fileio_0'), join(configfs, 'target/iscsi')];
const lun = 0;

export const createLioExporter = (options: LioOptions): VolumeExporter => new LioExporter(options);

class LioExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'lio', remote: true, resizeOnline: true, liveMigration: true, authenticates: true };
  readonly #options: LioOptions;

  constructor(options: LioOptions) {
    this.#options = options;
  }

  async probe(): Promise<void> {
    try {
      if (!(await isThere(join(configfs, 'target')))) await this.#options.run('modprobe', ['-a', ...modules]);
      if (!(await isThere(join(configfs, 'target')))) await this.#options.run('mount', ['-t', 'configfs', 'configfs', configfs]);
      await mkdir(targets, { recursive: true });
    } catch (cause) {
      const message = `the kernel of this host serves no iSCSI (modules ${modules.join(', ')}): choose another volume driver, or a kernel that has them`;
      throw new DriverError('unsupported', `${message}: ${messageOf(cause)}`, { cause });
    }
  }

  async serve(spec: ExportSpec, device: VolumeDevice, { own }: ExportPast): Promise<Connection> {
    const { attachmentId, volumeId } = spec;
    const { address, namePrefix } = this.#options;
    const port = own?.connection.protocol === 'iscsi' ? own.connection.port : this.#options.port;
    const target = `${namePrefix}:${volumeId}.${attachmentId}`;
    const group = groupOf(join(targets, target));
    const portal = join(group, 'np', `${isIPv6(address) ? `[${address}]` : address}:${port}`);
    await configure(`LIO cannot serve ${volumeId} at ${address}, port ${port}`, async () => {
      // A disk has the size that it had when the kernel was told of it.
      const isRight = own?.sizeBytes === device.sizeBytes && (await isThere(portal)) && (await isEnabled(group));
      if (!isRight) {
        await remove(attachmentId);
        await makeDisk(spec, device);
        await makeTarget(attachmentId, group, portal);
      }
      await admit(group, spec);
    });
    return { protocol: 'iscsi', address, port, target, lun, user: attachmentId };
  }

  async end(attachmentId: string): Promise<void> {
    await configure(`LIO cannot end ${attachmentId}`, () => remove(attachmentId));
  }

  async isServed(attachmentId: string): Promise<boolean> {
    const target = await find(attachmentId);
    return target !== undefined && (await isEnabled(groupOf(target)));
  }
}

const diskOf = (attachmentId: string): string => join(core, attachmentId);
const groupOf = (target: string): string => join(target, 'tpgt_1');
const lunOf = (group: string): string => join(group, `lun/lun_${lun}`);
/** Of an account to the disk. */
const wayOf = (account: string): string => join(account, `lun_${lun}`);

/** The name of a target ends with its attachment. */
async function find(attachmentId: string): Promise<string | undefined> {
  const name = (await entriesOf(targets)).find((one) => one.endsWith(`.${attachmentId}`));
  return name === undefined ? undefined : join(targets, name);
}

async function isEnabled(group: string): Promise<boolean> {
  return (await unlessMissing(readFile(join(group, 'enable'), 'utf8')))?.trim() === '1';
}

/** With a cache in the host's memory, which a guest's flush writes to the disk: as tgtd has it. */
async function makeDisk({ attachmentId, volumeId }: ExportSpec, device: VolumeDevice): Promise<void> {
  const disk = diskOf(attachmentId);
  await mkdir(disk, { recursive: true });
  await writeFile(join(disk, 'control'), `fd_dev_name=${device.path},fd_dev_size=${device.sizeBytes},fd_buffered_io=1`);
  await writeFile(join(disk, 'enable'), '1');
  await writeFile(join(disk, 'wwn/vpd_unit_serial'), volumeId);
}

/** It is enabled last: before that, nobody can connect. */
async function makeTarget(attachmentId: string, group: string, portal: string): Promise<void> {
  await mkdir(lunOf(group), { recursive: true });
  await symlink(diskOf(attachmentId), join(lunOf(group), 'volume'));
  await writeFile(join(group, 'attrib/authentication'), '1');
  // The kernel does not say why.
  await mkdir(portal).catch((cause: unknown) => {
    throw new DriverError('failed', `nothing can listen there, somebody else may: ${messageOf(cause)}`, { cause });
  });
  await writeFile(join(group, 'enable'), '1');
}

/** After: exactly these hosts have accounts. Those who may not connect any more are cut off. */
async function admit(group: string, { attachmentId, initiators, secret }: ExportSpec): Promise<void> {
  const accounts = join(group, 'acls');
  const wanted = initiators.map(({ name }) => name);
  for (const name of await readdir(accounts)) if (!wanted.includes(name)) await removeAccount(join(accounts, name));
  for (const account of wanted.map((name) => join(accounts, name))) {
    const way = wayOf(account);
    if (await isThere(join(way, 'volume'))) continue;
    await mkdir(way, { recursive: true });
    await writeFile(join(account, 'auth/userid'), attachmentId);
    await writeFile(join(account, 'auth/password'), secret.reveal());
    await symlink(lunOf(group), join(way, 'volume'));
  }
}

/** In the order in which the kernel lets go; what was half made has not all of it. */
async function remove(attachmentId: string): Promise<void> {
  const target = await find(attachmentId);
  if (target !== undefined) {
    const group = groupOf(target);
    if (await isEnabled(group)) await writeFile(join(group, 'enable'), '0');
    for (const name of await entriesOf(join(group, 'acls'))) await removeAccount(join(group, 'acls', name));
    for (const name of await entriesOf(join(group, 'np'))) await rmdir(join(group, 'np', name));
    await unlessMissing(unlink(join(lunOf(group), 'volume')));
    for (const folder of [lunOf(group), group, target]) await unlessMissing(rmdir(folder));
  }
  await unlessMissing(rmdir(diskOf(attachmentId)));
}

async function removeAccount(account: string): Promise<void> {
  const way = wayOf(account);
  await unlessMissing(unlink(join(way, 'volume')));
  for (const folder of [way, account]) await unlessMissing(rmdir(folder));
}

const isThere = (path: string): Promise<boolean> => access(path).then(() => true, () => false);

const entriesOf = async (folder: string): Promise<readonly string[]> => (await unlessMissing(readdir(folder))) ?? [];

const unlessMissing = <T>(work: Promise<T>): Promise<T | undefined> =>
  work.catch((error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? undefined : Promise.reject(error)));

/** What configfs refuses is an error of the host. Its message names a file, and nothing that was written to it. */
async function configure(attempted: string, work: () => Promise<void>): Promise<void> {
  await work().catch((cause: unknown) => {
    throw new DriverError('failed', `${attempted}: ${messageOf(cause)}`, { cause });
  });
}
