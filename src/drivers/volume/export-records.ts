// What is exported, kept in files: after the death of servers and of novact itself it is known what must be brought back or ended, and at which
// address. No secrets.
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverError } from '../../lib/errors.ts';
import type { Connection } from './driver.ts';

export interface ExportRecord {
  readonly volumeId: string;
  readonly attachmentId: string;
  /** Undefined: it was begun. */
  readonly connection?: Connection;
  /** Of the volume, as it is served. */
  readonly sizeBytes?: number;
}

export class ExportRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  async find(attachmentId: string): Promise<ExportRecord | undefined> {
    return read(this.#path(attachmentId));
  }

  async list(): Promise<readonly ExportRecord[]> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith('.json'));
    const records = await Promise.all(names.map((name) => read(join(this.#folder, name))));
    return records.filter((record) => record !== undefined);
  }

  async put(record: ExportRecord): Promise<void> {
    const path = this.#path(record.attachmentId);
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  async remove(attachmentId: string): Promise<void> {
    await rm(this.#path(attachmentId), { force: true });
  }

  #path(attachmentId: string): string {
    if (!/^[a-z][a-z0-9-]{1,60}$/.test(attachmentId)) throw new DriverError('failed', `${JSON.stringify(attachmentId)} is not the id of an attachment`);
    return join(this.#folder, `${attachmentId}.json`);
  }
}

async function read(path: string): Promise<ExportRecord | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ExportRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
