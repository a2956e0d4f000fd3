// Volumes in memory: for simulated hosts, specs and trials. It has failures on demand, servers that die, and content that specs write and read.
// Its world lives apart from the driver, as real volumes outlive novact.
import { DriverError } from '../../lib/errors.ts';
import type { Connection, ExportSpec, StoredVolume, VolumeDriver, VolumeEvent, VolumeExport, VolumeInfo, VolumeOrigin } from './driver.ts';
import { checkFits, checkGrows, checkId, checkSame, checkSize, noSnapshot, noVolume } from './store.ts';

export interface FakeVolume {
  readonly sizeBytes: number;
  /** What was written, by offset; the rest is zeros. */
  readonly content: Readonly<Record<number, string>>;
}

export interface FakeExport {
  readonly spec: ExportSpec;
  /** As it was when it was last asked for: a real server goes on with the size that it began with. */
  readonly sizeBytes: number;
  readonly isServed: boolean;
}

type Failing = 'ensureVolume' | 'ensureVolumeAbsent' | 'resize' | 'ensureSnapshot' | 'ensureSnapshotAbsent' | 'ensureExport' | 'ensureUnexported';

/** The machine under the fake driver. Specs do to it what happens behind novact's back. */
export class FakeVolumeWorld {
  readonly volumes = new Map<string, FakeVolume>();
  readonly snapshots = new Map<string, FakeVolume>();
  /** By attachment. */
  readonly exports = new Map<string, FakeExport>();
  readonly listeners = new Set<(event: VolumeEvent) => void>();
  readonly #failures = new Map<Failing, Error>();
  totalBytes = 1024 ** 4;

  /** The next call of that method fails with this. */
  failNext(method: Failing, error: Error): void {
    this.#failures.set(method, error);
  }

  mayFail(method: Failing): void {
    const error = this.#failures.get(method);
    this.#failures.delete(method);
    if (error !== undefined) throw error;
  }

  /** As a guest that has it would. */
  write(volumeId: string, offset: number, text: string): void {
    const volume = this.volumes.get(volumeId) ?? raise(noVolume(volumeId));
    this.volumes.set(volumeId, { ...volume, content: { ...volume.content, [offset]: text } });
    this.changed();
  }

  /** The server of an attachment dies, as if somebody had killed it. */
  killServer(attachmentId: string): void {
    const found = this.exports.get(attachmentId) ?? raise(new DriverError('notFound', `nothing is exported for ${attachmentId}`));
    this.exports.set(attachmentId, { ...found, isServed: false });
    for (const listener of this.listeners) listener({ type: 'exportDied', volumeId: found.spec.volumeId, attachmentId });
  }

  get usedBytes(): number {
    return [...this.volumes.values(), ...this.snapshots.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  /** Called after each change. */
  changed(): void {}
}

export const createFakeVolumes = (world = new FakeVolumeWorld()): VolumeDriver => new FakeVolumes(world);

class FakeVolumes implements VolumeDriver {
  readonly info: VolumeInfo = {
    name: 'fake',
    capabilities: { remote: true, resizeOnline: true, snapshots: true, attachedSnapshots: 'instant', liveMigration: true, authenticates: true },
  };
  readonly #world: FakeVolumeWorld;
  readonly #own = new Set<(event: VolumeEvent) => void>();

  constructor(world: FakeVolumeWorld) {
    this.#world = world;
  }

  async probe(): Promise<void> {}

  async capacity(): Promise<{ totalBytes: number; freeBytes: number }> {
    const { totalBytes, usedBytes } = this.#world;
    return { totalBytes, freeBytes: Math.max(0, totalBytes - usedBytes) };
  }

  async listVolumes(): Promise<readonly StoredVolume[]> {
    return listOf(this.#world.volumes);
  }

  async listSnapshots(): Promise<readonly StoredVolume[]> {
    return listOf(this.#world.snapshots);
  }

  async ensureVolume({ id, sizeBytes, from }: { id: string; sizeBytes: number; from?: VolumeOrigin }): Promise<void> {
    this.#world.mayFail('ensureVolume');
    checkSize(checkId(id, 'vol'), sizeBytes);
    const found = this.#world.volumes.get(id);
    if (found !== undefined) return checkSame(id, { found: found.sizeBytes, wanted: sizeBytes });
    const origin = from !== undefined && 'snapshotId' in from ? (this.#world.snapshots.get(from.snapshotId) ?? raise(noSnapshot(from.snapshotId))) : undefined;
    if (origin !== undefined) checkFits(id, { origin: origin.sizeBytes, sizeBytes });
    this.#take(sizeBytes);
    this.#world.volumes.set(id, { sizeBytes, content: origin?.content ?? {} });
    this.#world.changed();
  }

  async ensureVolumeAbsent(id: string): Promise<void> {
    this.#world.mayFail('ensureVolumeAbsent');
    const exported = this.#exportOf(checkId(id, 'vol'));
    if (exported !== undefined) throw new DriverError('busy', `${id} is exported for ${exported.spec.attachmentId}`);
    this.#world.volumes.delete(id);
    this.#world.changed();
  }

  async resize(id: string, sizeBytes: number): Promise<void> {
    this.#world.mayFail('resize');
    const volume = this.#volume(id);
    checkSize(id, sizeBytes);
    checkGrows(id, { found: volume.sizeBytes, wanted: sizeBytes });
    this.#take(sizeBytes - volume.sizeBytes);
    this.#world.volumes.set(id, { ...volume, sizeBytes });
    this.#world.changed();
  }

  async ensureSnapshot({ id, volumeId }: { id: string; volumeId: string }): Promise<void> {
    this.#world.mayFail('ensureSnapshot');
    checkId(id, 'snap');
    if (this.#world.snapshots.has(id)) return;
    const volume = this.#volume(volumeId);
    this.#take(volume.sizeBytes);
    this.#world.snapshots.set(id, volume);
    this.#world.changed();
  }

  async ensureSnapshotAbsent(id: string): Promise<void> {
    this.#world.mayFail('ensureSnapshotAbsent');
    this.#world.snapshots.delete(checkId(id, 'snap'));
    this.#world.changed();
  }

  async snapshotPath(id: string): Promise<string> {
    if (!this.#world.snapshots.has(checkId(id, 'snap'))) throw noSnapshot(id);
    return `/fake/${id}`;
  }

  async ensureExport(spec: ExportSpec): Promise<Connection> {
    this.#world.mayFail('ensureExport');
    const { sizeBytes } = this.#volume(spec.volumeId);
    const other = this.#exportOf(spec.volumeId);
    if (other !== undefined && other.spec.attachmentId !== spec.attachmentId) {
      throw new DriverError('busy', `${spec.volumeId} is exported for ${other.spec.attachmentId}`);
    }
    this.#world.exports.set(spec.attachmentId, { spec, sizeBytes, isServed: true });
    this.#world.changed();
    return { protocol: 'file', path: `/fake/${spec.volumeId}` };
  }

  async ensureUnexported(attachmentId: string): Promise<void> {
    this.#world.mayFail('ensureUnexported');
    this.#world.exports.delete(attachmentId);
    this.#world.changed();
  }

  async listExports(): Promise<readonly VolumeExport[]> {
    return [...this.#world.exports.values()].map(({ spec: { volumeId, attachmentId }, isServed }) => ({ volumeId, attachmentId, isServed }));
  }

  subscribe(listener: (event: VolumeEvent) => void): () => void {
    this.#own.add(listener);
    this.#world.listeners.add(listener);
    return () => {
      this.#own.delete(listener);
      this.#world.listeners.delete(listener);
    };
  }

  async removeAll(): Promise<void> {
    for (const kept of [this.#world.exports, this.#world.volumes, this.#world.snapshots]) kept.clear();
    this.#world.changed();
  }

  async close(): Promise<void> {
    for (const listener of this.#own) this.#world.listeners.delete(listener);
  }

  #volume(id: string): FakeVolume {
    return this.#world.volumes.get(checkId(id, 'vol')) ?? raise(noVolume(id));
  }

  #exportOf(volumeId: string): FakeExport | undefined {
    return [...this.#world.exports.values()].find(({ spec }) => spec.volumeId === volumeId);
  }

  #take(bytes: number): void {
    if (this.#world.usedBytes + bytes > this.#world.totalBytes) throw new DriverError('failed', `no room for ${bytes} bytes`);
  }
}

const listOf = (kept: ReadonlyMap<string, FakeVolume>): readonly StoredVolume[] => [...kept].map(([id, { sizeBytes }]) => ({ id, sizeBytes }));

function raise(error: Error): never {
  throw error;
}
