// A volume driver of a store and an exporter: sees to it that what is exported is neither removed nor copied while it changes, and that one
// attachment at a time has a volume.
import { DriverError } from '../../lib/errors.ts';
import { createGate, type Gate } from '../../lib/gate.ts';
import type {
  Connection, CopyByGuest, ExportSpec, StoredVolume, VolumeCapacity, VolumeDriver, VolumeEvent, VolumeExport, VolumeInfo, VolumeOrigin,
} from './driver.ts';
import { ExportRecords, type ExportRecord } from './export-records.ts';
import type { ExportPast, VolumeExporter } from './exporter.ts';
import type { VolumeStore } from './store.ts';

export interface StoredVolumesOptions {
  readonly store: VolumeStore;
  readonly exporter: VolumeExporter;
  /** Where it is kept what is exported. */
  readonly recordsFolder: string;
}

export const createStoredVolumes = (options: StoredVolumesOptions): VolumeDriver => new StoredVolumes(options);

class StoredVolumes implements VolumeDriver {
  readonly #store: VolumeStore;
  readonly #exporter: VolumeExporter;
  readonly #records: ExportRecords;
  readonly #listeners = new Set<(event: VolumeEvent) => void>();
  /** By volume: one thing at a time is done with each. */
  readonly #gates = new Map<string, { readonly gate: Gate; users: number }>();

  constructor({ store, exporter, recordsFolder }: StoredVolumesOptions) {
    this.#store = store;
    this.#exporter = exporter;
    this.#records = new ExportRecords(recordsFolder);
    exporter.servers?.onDeath((attachmentId) => void this.#tell(attachmentId));
  }

  get info(): VolumeInfo {
    const { name, remote, resizeOnline, liveMigration, authenticates } = this.#exporter.info;
    const attachedSnapshots = this.#store.info.instantSnapshots ? 'instant' : this.#exporter.servers?.holds === true ? 'held' : 'detached';
    return { name, capabilities: { remote, resizeOnline, snapshots: true, attachedSnapshots, liveMigration, authenticates } };
  }

  async probe(): Promise<void> {
    await this.#store.probe();
    await this.#exporter.probe();
    await this.#records.open();
  }

  capacity(): Promise<VolumeCapacity> {
    return this.#store.capacity();
  }

  listVolumes(): Promise<readonly StoredVolume[]> {
    return this.#store.listVolumes();
  }

  listSnapshots(): Promise<readonly StoredVolume[]> {
    return this.#store.listSnapshots();
  }

  ensureVolume(volume: { id: string; sizeBytes: number; from?: VolumeOrigin }): Promise<void> {
    return this.#inTurn(volume.id, () => this.#store.ensureVolume(volume));
  }

  ensureVolumeAbsent(id: string): Promise<void> {
    return this.#inTurn(id, async () => {
      const [exported] = await this.#exportsOf(id);
      if (exported !== undefined) throw new DriverError('busy', `${id} is exported for ${exported.attachmentId}`);
      await this.#store.ensureVolumeAbsent(id);
    });
  }

  resize(id: string, sizeBytes: number): Promise<void> {
    return this.#inTurn(id, async () => {
      const exports = await this.#exportsOf(id);
      if (exports.length > 0 && !this.#exporter.info.resizeOnline) throw new DriverError('busy', `${id} is exported, and cannot be resized then`);
      await this.#store.resize(id, sizeBytes);
    });
  }

  /** A guest that starts meanwhile waits for its turn in `ensureExport`. */
  ensureSnapshot(snapshot: { id: string; volumeId: string }, byGuest?: CopyByGuest): Promise<void> {
    return this.#inTurn(snapshot.volumeId, async () => {
      const take = () => this.#store.ensureSnapshot(snapshot);
      const [exported] = await this.#exportsOf(snapshot.volumeId);
      if (exported === undefined || this.#store.info.instantSnapshots) return take();
      const { servers } = this.#exporter;
      if (servers?.holds === true) return servers.hold(exported.attachmentId, take);
      if (byGuest !== undefined && !this.#exporter.info.remote) return this.#store.ensureSnapshot(snapshot, byGuest);
      throw new DriverError('busy', `${snapshot.volumeId} is attached, and the file system of this host cannot copy it in one step (XFS and btrfs can)`);
    });
  }

  ensureSnapshotAbsent(id: string): Promise<void> {
    return this.#store.ensureSnapshotAbsent(id);
  }

  snapshotPath(id: string): Promise<string> {
    return this.#store.snapshotPath(id);
  }

  ensureExport(spec: ExportSpec): Promise<Connection> {
    const { volumeId, attachmentId } = spec;
    return this.#inTurn(volumeId, async () => {
      const device = await this.#store.device(volumeId);
      const other = (await this.#exportsOf(volumeId)).find((record) => record.attachmentId !== attachmentId);
      if (other !== undefined) throw new DriverError('busy', `${volumeId} is exported for ${other.attachmentId}`);
      const known = await this.#records.find(attachmentId);
      if (known !== undefined && known.volumeId !== volumeId) throw new DriverError('busy', `${attachmentId} is an attachment of ${known.volumeId}`);
      if (known === undefined) await this.#records.put({ volumeId, attachmentId });
      try {
        const connection = await this.#exporter.serve(spec, device, await this.#past(known, attachmentId));
        await this.#records.put({ volumeId, attachmentId, connection, sizeBytes: device.sizeBytes });
        return connection;
      } catch (error) {
        if (known === undefined) await this.#end(attachmentId);
        throw error;
      }
    });
  }

  async ensureUnexported(attachmentId: string): Promise<void> {
    const record = await this.#records.find(attachmentId);
    if (record !== undefined) await this.#inTurn(record.volumeId, () => this.#end(attachmentId));
  }

  async listExports(): Promise<readonly VolumeExport[]> {
    const records = await this.#records.list();
    return Promise.all(records.map(async ({ volumeId, attachmentId }) => ({ volumeId, attachmentId, isServed: await this.#exporter.isServed(attachmentId) })));
  }

  subscribe(listener: (event: VolumeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async removeAll(): Promise<void> {
    for (const { attachmentId } of await this.#records.list()) await this.ensureUnexported(attachmentId);
    for (const { id } of await this.#store.listVolumes()) await this.#store.ensureVolumeAbsent(id);
    for (const { id } of await this.#store.listSnapshots()) await this.#store.ensureSnapshotAbsent(id);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    this.#exporter.servers?.close();
  }

  /** The record goes last: what is half ended is found again. */
  async #end(attachmentId: string): Promise<void> {
    await this.#exporter.end(attachmentId);
    await this.#records.remove(attachmentId);
  }

  async #past(known: ExportRecord | undefined, attachmentId: string): Promise<ExportPast> {
    const others = (await this.#records.list()).filter((record) => record.attachmentId !== attachmentId).flatMap(({ connection }) => connection ?? []);
    const own = known?.connection === undefined ? undefined : { connection: known.connection, sizeBytes: known.sizeBytes ?? 0 };
    return { own, others };
  }

  async #exportsOf(volumeId: string): Promise<readonly ExportRecord[]> {
    return (await this.#records.list()).filter((record) => record.volumeId === volumeId);
  }

  async #tell(attachmentId: string): Promise<void> {
    const record = await this.#records.find(attachmentId);
    if (record === undefined) return;
    for (const listener of this.#listeners) listener({ type: 'exportDied', volumeId: record.volumeId, attachmentId });
  }

  async #inTurn<T>(volumeId: string, work: () => Promise<T>): Promise<T> {
    const turn = this.#gates.get(volumeId) ?? { gate: createGate(1), users: 0 };
    this.#gates.set(volumeId, turn);
    turn.users += 1;
    try {
      return await turn.gate.pass(work);
    } finally {
      turn.users -= 1;
      if (turn.users === 0) this.#gates.delete(volumeId);
    }
  }
}
