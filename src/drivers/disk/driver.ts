// What is done to disk images on a host. Tenants' images are hostile: they are only read by the image tool, under limits of
// time, memory and size, and never mounted.

export interface DiskInspection {
  readonly format: 'raw' | 'qcow2';
  readonly virtualSizeBytes: number;
  /** Bytes of the file. */
  readonly sizeBytes: number;
}

/** Kinds of disks that are taken: `raw` and `qcow2` as they are, the others to be converted. */
export const importFormats = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhd'] as const;

export type ImportFormat = (typeof importFormats)[number];

export interface ImportedFile {
  readonly format: ImportFormat;
  /** As its header claims: a tool still has to confirm it. */
  readonly virtualSizeBytes: number;
  /** Of the file. */
  readonly sizeBytes: number;
}

export interface Conversion {
  readonly path: string;
  readonly format: 'vmdk' | 'vdi' | 'vhd';
  readonly to: string;
  readonly virtualSizeBytesMax: number;
}

export interface ConversionWatch {
  readonly signal: AbortSignal;
  /** How much of it is done, from 0 to 1. */
  readonly onProgress: (fraction: number) => void;
}

/** What a guest is given as a small disk that it only reads. */
export interface Drive {
  readonly path: string;
  /** By which the guest finds it: at most 32 characters. */
  readonly label: string;
  readonly files: readonly DriveFile[];
}

export interface DriveFile {
  /** In the drive: `openstack/latest/user_data`. */
  readonly path: string;
  readonly content: Buffer;
}

/** Errors: DriverError `failed` whose message is fit for a tenant (what is wrong with the image), `timeout`, `notFound`. */
export interface DiskDriver {
  readonly info: { readonly name: string };
  /** What the image is. Refuses (`failed`): a backing file, an external data file, encryption, more than `virtualSizeBytesMax`, other formats. */
  inspect(path: string, limits: { virtualSizeBytesMax: number; timeoutMs: number }): Promise<DiskInspection>;
  /**
   * What a disk that somebody else made is, by its first bytes. `format`: what it is said to be. Refuses (`failed`): what is something else, names other
   * files (backing file, parent, extents), or claims more than `virtualSizeBytesMax`.
   */
  identify(path: string, wish: { format?: ImportFormat | undefined; virtualSizeBytesMax: number }): Promise<ImportedFile>;
  /** After: at `to` is a qcow2 that stands on nothing, with what the disk at `path`, which was identified, shows. What was at `to` is replaced. */
  convert(conversion: Conversion, watch: ConversionWatch): Promise<void>;
  /**
   * After: `path` is a qcow2 overlay on `base`, of `sizeBytes` (at least the base's). An existing overlay on that base stays as
   * it is: it has the guest's data.
   */
  ensureOverlay(overlay: { path: string; base: string; baseFormat: 'raw' | 'qcow2'; sizeBytes: number }): Promise<void>;
  /** After: the overlay, which came from another host, names that base; nothing else of it changes. `base` has the content that it was made on. */
  ensureBase(overlay: { path: string; base: string; baseFormat: 'raw' | 'qcow2' }): Promise<void>;
  /** The files that an overlay chain stands on, itself first. */
  chain(path: string): Promise<readonly string[]>;
  /** After: `directory` is a copy of the tree in a raw ext image, made without mounting it. For containers. */
  ensureTree(image: { path: string; format: 'raw' | 'qcow2'; directory: string }): Promise<void>;
  /** After: `copy` is the overlay as it is now, on the same base. Nobody writes to it meanwhile. What was at `copy` is replaced. */
  copyOverlay(overlay: { path: string; copy: string }, signal: AbortSignal): Promise<void>;
  /**
   * After: `flat` is a qcow2 that stands on nothing, with all that the one at `path` shows. One that is there is whole, and stays. `path`, which is
   * this host's own work, may be gone after it.
   */
  ensureFlat(image: { path: string; flat: string }, signal: AbortSignal): Promise<void>;
  /** After: `image` is a raw ext4 with a copy of the tree, of at least that size; what was there is replaced. Nobody writes to the tree meanwhile. */
  packTree(tree: { directory: string; image: string; sizeBytesMin: number }, signal: AbortSignal): Promise<void>;
  /** After: at the path, in a folder that is there, is a file system of a CD with that label and exactly these files. One that is the same stays. */
  ensureDrive(drive: Drive): Promise<void>;
}

/** A file of an instance on another host: who may have it is decided there, for this one move only. */
export interface RemoteFile {
  /** Of the host that has it, as this one reaches it. */
  readonly address: string;
  readonly instanceId: string;
  /** The operation that moves the instance. */
  readonly operationId: string;
  /** The host that fetches. */
  readonly target: string;
  readonly name: 'root.qcow2' | 'console.log';
}

/** How files come from host to host. Errors: DriverError `notFound`, `failed` (a wrong checksum says so), `timeout`, `unsupported`. */
export interface DiskTransfer {
  readonly info: { readonly name: string };
  /** After: `path` holds the file, complete and verified. A broken transfer is resumed; nothing half stays under that name. */
  fetch(file: RemoteFile, path: string, signal: AbortSignal): Promise<void>;
}
