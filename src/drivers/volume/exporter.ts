// How a volume of this host is reached: the half of a volume driver that knows nothing of stores.
import type { Connection, ExportSpec, VolumeCapabilities } from './driver.ts';
import type { ExportServers } from './export-servers.ts';
import type { VolumeDevice } from './store.ts';

export interface ExporterInfo extends Pick<VolumeCapabilities, 'remote' | 'resizeOnline' | 'liveMigration' | 'authenticates'> {
  readonly name: string;
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
  /** Its processes. Without them nothing is served, so that nothing can stand still or die. */
  readonly servers?: ExportServers;
  probe(): Promise<void>;
  serve(spec: ExportSpec, device: VolumeDevice, past: ExportPast): Promise<Connection>;
  end(attachmentId: string): Promise<void>;
  isServed(attachmentId: string): Promise<boolean>;
}
