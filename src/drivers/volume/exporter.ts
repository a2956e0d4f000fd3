// How a volume of this host is reached: the half of a volume driver that knows nothing of stores.
import type { Connection, ExportSpec, VolumeCapabilities } from './driver.ts';
import type { VolumeDevice } from './store.ts';

export interface ExporterInfo extends Pick<VolumeCapabilities, 'remote' | 'resizeOnline' | 'liveMigration' | 'authenticates'> {
  readonly name: string;
  /** Can it make reads and writes stand still for a while? */
  readonly holds: boolean;
}

/** Errors and repetition: as of `ensureExport` and `ensureUnexported` in driver.ts. */
export interface VolumeExporter {
  readonly info: ExporterInfo;
  probe(): Promise<void>;
  /** `known`: what it was before, which it must be again. */
  serve(spec: ExportSpec, device: VolumeDevice, known: Connection | undefined): Promise<Connection>;
  end(attachmentId: string): Promise<void>;
  isServed(attachmentId: string): Promise<boolean>;
  /** After: whoever is connected can see the device's new size. */
  resize(attachmentId: string, device: VolumeDevice): Promise<void>;
  /** Nothing is read or written by this attachment until the work is done, however it ends. */
  hold<T>(attachmentId: string, work: () => Promise<T>): Promise<T>;
  /** Calls back with the attachment when a server dies that was not ended. */
  onDeath(listener: (attachmentId: string) => void): void;
  close(): Promise<void>;
}
