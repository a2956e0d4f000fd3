// Volumes that guests of the same host open themselves, as files or devices: nothing is served, so nothing can die. QEMU's lock on an image keeps
// a second guest out.
import type { Connection, ExportSpec } from './driver.ts';
import type { ExporterInfo, VolumeExporter } from './exporter.ts';
import type { VolumeDevice } from './store.ts';

export const createLocalExporter = (): VolumeExporter => new LocalExporter();

class LocalExporter implements VolumeExporter {
  readonly info: ExporterInfo = { name: 'local', remote: false, resizeOnline: true, liveMigration: false, authenticates: false };

  async probe(): Promise<void> {}

  async serve(_spec: ExportSpec, { type, path }: VolumeDevice): Promise<Connection> {
    return { protocol: type, path };
  }

  async end(): Promise<void> {}

  async isServed(): Promise<boolean> {
    return true;
  }
}
