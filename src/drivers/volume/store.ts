// Where the bytes of volumes are: the half of a volume driver that knows nothing of networks. What all stores share of names and sizes is here.
import { DriverError } from '../../lib/errors.ts';
import type { CopyByGuest, StoredVolume, VolumeCapacity, VolumeOrigin } from './driver.ts';

export interface VolumeDevice {
  readonly type: 'file' | 'block';
  readonly path: string;
  readonly sizeBytes: number;
}

/** Errors and repetition: as of the methods of the same names in driver.ts. That nobody uses a volume is the caller's affair. */
export interface VolumeStore {
  /** Known after `probe`. */
  readonly info: { readonly name: string; readonly instantSnapshots: boolean };
  probe(): Promise<void>;
  capacity(): Promise<VolumeCapacity>;
  listVolumes(): Promise<readonly StoredVolume[]>;
  listSnapshots(): Promise<readonly StoredVolume[]>;
  /** Throws `notFound`. */
  device(volumeId: string): Promise<VolumeDevice>;
  ensureVolume(volume: { id: string; sizeBytes: number; from?: VolumeOrigin }): Promise<void>;
  ensureVolumeAbsent(id: string): Promise<void>;
  resize(id: string, sizeBytes: number): Promise<void>;
  /** With `byGuest`, a guest may have the volume. */
  ensureSnapshot(snapshot: { id: string; volumeId: string }, byGuest?: CopyByGuest): Promise<void>;
  ensureSnapshotAbsent(id: string): Promise<void>;
  snapshotPath(id: string): Promise<string>;
}

const idForm = /^(vol|snap)-[0-9a-f]{8,32}$/;

/** Ids become names of files and devices: nothing else may. */
export function checkId(id: string, prefix: 'vol' | 'snap'): string {
  if (idForm.test(id) && id.startsWith(`${prefix}-`)) return id;
  throw new DriverError('failed', `${JSON.stringify(id)} is not the id of a ${prefix === 'vol' ? 'volume' : 'snapshot'}`);
}

const sectorBytes = 512;

export function checkSize(id: string, sizeBytes: number): number {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % sectorBytes === 0) return sizeBytes;
  throw new DriverError('failed', `${id}: ${sizeBytes} bytes are no size of a disk`);
}

/** What there is already must be what is wanted. */
export function checkSame(id: string, { found, wanted }: { found: number; wanted: number }): void {
  if (found !== wanted) throw new DriverError('failed', `${id} is there with ${found} bytes, not with ${wanted}`);
}

export function checkFits(id: string, { origin, sizeBytes }: { origin: number; sizeBytes: number }): void {
  if (origin > sizeBytes) throw new DriverError('failed', `${id}: its content has ${origin} bytes, which do not fit into ${sizeBytes}`);
}

export function checkGrows(id: string, { found, wanted }: { found: number; wanted: number }): void {
  if (wanted < found) throw new DriverError('failed', `${id} has ${found} bytes and cannot shrink to ${wanted}`);
}

export const noVolume = (id: string): DriverError => new DriverError('notFound', `there is no volume ${id}`);
export const noSnapshot = (id: string): DriverError => new DriverError('notFound', `there is no snapshot ${id}`);
