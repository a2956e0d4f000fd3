// Volumes as thick logical volumes of an LVM volume group. Extents have old content, so a volume is filled with zeros before it gets its name; what
// is half made has another name and is removed at the next start. A snapshot is taken in one step, then copied into a volume of its own: it neither
// fills up nor holds its origin.
import { z } from 'zod';
import { DriverError, messageOf } from '../../lib/errors.ts';
import type { Run, RunResult } from '../../lib/exec.ts';
import type { StoredVolume, VolumeCapacity, VolumeOrigin } from './driver.ts';
import { checkFits, checkGrows, checkId, checkSame, checkSize, noSnapshot, noVolume, type VolumeDevice, type VolumeStore } from './store.ts';

export interface LvmStoreOptions {
  readonly group: string;
  readonly run: Run;
}

const commandMs = 60_000;
/** Zeros over, or a copy of, a whole disk. */
const workMs = 6 * 3_600_000;
const ours = 'novact';
/** Of a volume that has grown: from that byte on it is not zeros yet. */
const dirtyFrom = /^novact\.dirty-from=(\d+)$/;

const reportSchema = <Row extends z.ZodType>(name: 'lv' | 'vg', row: Row) => z.object({ report: z.array(z.object({ [name]: z.array(row) })) });
const lvSchema = reportSchema('lv', z.object({ lv_name: z.string(), lv_size: z.coerce.number(), lv_tags: z.string() }));
const vgSchema = reportSchema('vg', z.object({ vg_size: z.coerce.number(), vg_free: z.coerce.number(), vg_extent_size: z.coerce.number() }));

interface Found {
  readonly name: string;
  readonly sizeBytes: number;
  readonly tags: readonly string[];
}

export const createLvmStore = (options: LvmStoreOptions): VolumeStore => new LvmStore(options);

class LvmStore implements VolumeStore {
  readonly info = { name: 'lvm', instantSnapshots: true };
  readonly #group: string;
  readonly #run: Run;
  #extentBytes = 0;

  constructor({ group, run }: LvmStoreOptions) {
    const isName = /^[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}$/.test(group) && !/^\.+$/.test(group);
    if (!isName) throw new DriverError('failed', `${JSON.stringify(group)} is not the name of a volume group`);
    this.#group = group;
    this.#run = run;
  }

  async probe(): Promise<void> {
    const noMapper = 'this kernel has no device mapper, or dmsetup is not installed; mend it with: modprobe dm_mod; apt-get install lvm2';
    await this.#must('dmsetup', ['version'], noMapper);
    await this.#must('vgs', [this.#group], `there is no volume group ${this.#group}; make one with: vgcreate ${this.#group} DEVICE`);
    const { vg_extent_size: extentBytes } = await this.#groupRow();
    this.#extentBytes = extentBytes;
    // Snapshots of drafts go before what they are of.
    const drafts = (await this.#list()).map(({ name }) => name).filter((name) => name.startsWith('draft-'));
    for (const name of drafts.toSorted((a, b) => b.length - a.length)) await this.#remove(name);
  }

  async capacity(): Promise<VolumeCapacity> {
    const { vg_size: totalBytes, vg_free: freeBytes } = await this.#groupRow();
    return { totalBytes, freeBytes };
  }

  listVolumes(): Promise<readonly StoredVolume[]> {
    return this.#stored('vol-');
  }

  listSnapshots(): Promise<readonly StoredVolume[]> {
    return this.#stored('snap-');
  }

  async device(volumeId: string): Promise<VolumeDevice> {
    const found = await this.#find(checkId(volumeId, 'vol'));
    if (found === undefined) throw noVolume(volumeId);
    return { type: 'block', path: this.#path(volumeId), sizeBytes: found.sizeBytes };
  }

  async ensureVolume({ id, sizeBytes, from }: { id: string; sizeBytes: number; from?: VolumeOrigin }): Promise<void> {
    this.#checkExtents(checkId(id, 'vol'), sizeBytes);
    const found = await this.#find(id);
    if (found !== undefined) return checkSame(id, { found: found.sizeBytes, wanted: sizeBytes });
    const origin = from === undefined ? undefined : await this.#origin(from);
    if (origin !== undefined) checkFits(id, { origin: origin.sizeBytes, sizeBytes });
    await this.#draft(id, sizeBytes, async (path) => {
      if (origin !== undefined) await this.#copy(origin.path, path);
      const copied = origin?.sizeBytes ?? 0;
      if (copied < sizeBytes) await this.#zero(path, copied);
    });
  }

  async ensureVolumeAbsent(id: string): Promise<void> {
    if ((await this.#find(checkId(id, 'vol'))) !== undefined) await this.#remove(id);
  }

  async resize(id: string, sizeBytes: number): Promise<void> {
    const found = await this.#find(checkId(id, 'vol'));
    if (found === undefined) throw noVolume(id);
    this.#checkExtents(id, sizeBytes);
    checkGrows(id, { found: found.sizeBytes, wanted: sizeBytes });
    const tag = found.tags.find((one) => dirtyFrom.test(one)) ?? `${ours}.dirty-from=${found.sizeBytes}`;
    if (found.sizeBytes === sizeBytes && !found.tags.includes(tag)) return;
    // Written down first: a process that dies in between must not leave old content in the new part.
    if (!found.tags.includes(tag)) await this.#lvm('lvchange', ['--addtag', tag, this.#name(id)]);
    if (found.sizeBytes !== sizeBytes) await this.#lvm('lvextend', ['--size', `${sizeBytes}b`, this.#name(id)]);
    await this.#zero(this.#path(id), Number(dirtyFrom.exec(tag)?.[1]));
    await this.#lvm('lvchange', ['--deltag', tag, this.#name(id)]);
  }

  async ensureSnapshot({ id, volumeId }: { id: string; volumeId: string }): Promise<void> {
    if ((await this.#find(checkId(id, 'snap'))) !== undefined) return;
    const { sizeBytes } = await this.device(volumeId);
    const moment = `draft-${id}-moment`;
    await this.#lvm('lvcreate', ['--yes', '--snapshot', '--addtag', ours, '--name', moment, '--extents', '100%ORIGIN', this.#name(volumeId)]);
    try {
      await this.#draft(id, sizeBytes, (path) => this.#copy(this.#path(moment), path));
    } finally {
      await this.#remove(moment);
    }
  }

  async ensureSnapshotAbsent(id: string): Promise<void> {
    if ((await this.#find(checkId(id, 'snap'))) !== undefined) await this.#remove(id);
  }

  async snapshotPath(id: string): Promise<string> {
    if ((await this.#find(checkId(id, 'snap'))) === undefined) throw noSnapshot(id);
    return this.#path(id);
  }

  async #origin(from: VolumeOrigin): Promise<{ path: string; sizeBytes: number }> {
    if ('path' in from) {
      const { stdout } = await this.#run('qemu-img', ['info', '--output=json', '-f', 'raw', from.path], { timeoutMs: commandMs });
      return { path: from.path, sizeBytes: z.object({ 'virtual-size': z.number() }).parse(JSON.parse(stdout))['virtual-size'] };
    }
    const found = await this.#find(checkId(from.snapshotId, 'snap'));
    if (found === undefined) throw noSnapshot(from.snapshotId);
    return { path: this.#path(from.snapshotId), sizeBytes: found.sizeBytes };
  }

  #checkExtents(id: string, sizeBytes: number): void {
    checkSize(id, sizeBytes);
    if (sizeBytes % this.#extentBytes === 0) return;
    throw new DriverError('failed', `${id}: ${sizeBytes} bytes are not a whole number of extents of ${this.#extentBytes}`);
  }

  /** What is made gets its name when it is whole. Any other user of the group would see old content before. */
  async #draft(id: string, sizeBytes: number, work: (path: string) => Promise<void>): Promise<void> {
    const draft = `draft-${id}`;
    if ((await this.#find(draft)) !== undefined) await this.#remove(draft);
    const options = ['--yes', '--wipesignatures', 'n', '--zero', 'n', '--activate', 'y', '--addtag', ours];
    await this.#lvm('lvcreate', [...options, '--name', draft, '--size', `${sizeBytes}b`, this.#group]);
    try {
      await work(this.#path(draft));
      await this.#lvm('lvrename', [this.#group, draft, id]);
    } catch (error) {
      await this.#remove(draft);
      throw error;
    }
  }

  async #zero(path: string, fromByte: number): Promise<void> {
    await this.#run('blkdiscard', ['--zeroout', '--offset', String(fromByte), path], { timeoutMs: workMs });
  }

  async #copy(from: string, to: string): Promise<void> {
    await this.#run('dd', [`if=${from}`, `of=${to}`, 'bs=4M', 'conv=fsync,notrunc', 'status=none'], { timeoutMs: workMs });
  }

  async #remove(name: string): Promise<void> {
    await this.#lvm('lvremove', ['--yes', this.#name(name)]);
  }

  async #stored(prefix: string): Promise<readonly StoredVolume[]> {
    return (await this.#list()).filter(({ name }) => name.startsWith(prefix)).map(({ name, sizeBytes }) => ({ id: name, sizeBytes }));
  }

  async #find(name: string): Promise<Found | undefined> {
    return (await this.#list()).find((one) => one.name === name);
  }

  /** Volumes of the group that are ours, by their tag. */
  async #list(): Promise<readonly Found[]> {
    const rows = await this.#report('lvs', ['-o', 'lv_name,lv_size,lv_tags', this.#group]);
    return lvSchema.parse(rows).report.flatMap((report) => report['lv'] ?? [])
      .map((row) => ({ name: row.lv_name, sizeBytes: row.lv_size, tags: row.lv_tags.split(',') })).filter(({ tags }) => tags.includes(ours));
  }

  async #groupRow() {
    const rows = await this.#report('vgs', ['-o', 'vg_size,vg_free,vg_extent_size', this.#group]);
    const [row] = vgSchema.parse(rows).report.flatMap((report) => report['vg'] ?? []);
    if (row === undefined) throw new DriverError('failed', `there is no volume group ${this.#group}`);
    return row;
  }

  async #report(command: 'lvs' | 'vgs', args: readonly string[]): Promise<unknown> {
    return JSON.parse((await this.#lvm(command, ['--reportformat', 'json', '--units', 'b', '--nosuffix', ...args])).stdout);
  }

  async #lvm(command: string, args: readonly string[]): Promise<RunResult> {
    try {
      return await this.#run(command, args, { timeoutMs: commandMs, env: { LC_ALL: 'C' } });
    } catch (error) {
      if (!/insufficient free (space|extents)/i.test(messageOf(error))) throw error;
      throw new DriverError('failed', `no room in the volume group ${this.#group}: ${messageOf(error)}`, { cause: error });
    }
  }

  async #must(command: string, args: readonly string[], remedy: string): Promise<void> {
    await this.#run(command, args, { timeoutMs: commandMs, env: { LC_ALL: 'C' } }).catch((cause: unknown) => {
      throw new DriverError('unsupported', remedy, { cause });
    });
  }

  #name(id: string): string {
    return `${this.#group}/${id}`;
  }

  #path(id: string): string {
    return `/dev/${this.#group}/${id}`;
  }
}
