// How a volume of this host is reached: the half of a volume driver that knows nothing of stores.
import type { Connection, ExportSpec, VolumeCapabilities } from './driver.ts';
import type { VolumeDevice } from './store.ts';

export interface ExporterInfo extends Pick<VolumeCapabilities, 'remote' | 'resizeOnline' | 'liveMigration' | 'authenticates'> {
  readonly name: string;
  /** Can it make reads and writes stand still for a while? */
  readonly holds: boolean;
}

/** What was exported before. */
export interface ExportPast {
  /** This attachment, as it was and must be again. Its size has changed if that differs from the device's. */
  readonly own: { readonly connection: Connection; readonly sizeBytes: number } | undefined;
  /** Of all others: their addresses are taken. */
  readonly others: readonly Connection[];
}

/** Errors and repetition: as of `ensureExport` and `ensureUnexported` in driver.ts. */
export interface VolumeExporter {
  readonly info: ExporterInfo;
  probe(): Promise<void>;
  serve(spec: ExportSpec, device: VolumeDevice, past: ExportPast): Promise<Connection>;
  end(attachmentId: string): Promise<void>;
  isServed(attachmentId: string): Promise<boolean>;
  /** Nothing is read or written by this attachment until the work is done, however it ends. */
  hold<T>(attachmentId: string, work: () => Promise<T>): Promise<T>;
  /** Calls back with the attachment when a server dies that was not ended. */
  onDeath(listener: (attachmentId: string) => void): void;
  close(): Promise<void>;
}
