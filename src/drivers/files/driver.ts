// The folders that a compute host keeps: instance directories and the image cache.

export interface FileEntry {
  readonly name: string;
  readonly sizeBytes: number;
  /** When it was last used: `touch` sets it. */
  readonly usedAt: Date;
}

/** Errors: DriverError `failed`. */
export interface FilesDriver {
  readonly info: { readonly name: string };
  ensureDirectory(path: string): Promise<void>;
  /** After: nothing is there. No error if nothing was. */
  removeTree(path: string): Promise<void>;
  /** The entries of a folder; none if there is no folder. */
  list(directory: string): Promise<readonly FileEntry[]>;
  exists(path: string): Promise<boolean>;
  /** Marks as used now. No error if it is gone. */
  touch(path: string): Promise<void>;
  /** After: what was at `from` is at `to`, in one step and durably. Not an error if it is there already and `from` is gone. */
  rename(from: string, to: string): Promise<void>;
  /** Free bytes of the file system that holds the path. */
  freeBytes(path: string): Promise<number>;
}
