// What is done to disk images on a host. Tenants' images are hostile: they are only read by the image tool, under limits of
// time, memory and size, and never mounted.

export interface DiskInspection {
  readonly format: 'raw' | 'qcow2';
  readonly virtualSizeBytes: number;
  /** Bytes of the file. */
  readonly sizeBytes: number;
}

/** Errors: DriverError `failed` whose message is fit for a tenant (what is wrong with the image), `timeout`, `notFound`. */
export interface DiskDriver {
  readonly info: { readonly name: string };
  /** What the image is. Refuses (`failed`): a backing file, an external data file, encryption, more than `virtualSizeBytesMax`, other formats. */
  inspect(path: string, limits: { virtualSizeBytesMax: number; timeoutMs: number }): Promise<DiskInspection>;
  /**
   * After: `path` is a qcow2 overlay on `base`, of `sizeBytes` (at least the base's). An existing overlay on that base stays as
   * it is: it has the guest's data.
   */
  ensureOverlay(overlay: { path: string; base: string; baseFormat: 'raw' | 'qcow2'; sizeBytes: number }): Promise<void>;
  /** The files that an overlay chain stands on, itself first. */
  chain(path: string): Promise<readonly string[]>;
  /** After: `directory` is a copy of the tree in a raw ext image, made without mounting it. For containers. */
  ensureTree(image: { path: string; format: 'raw' | 'qcow2'; directory: string }): Promise<void>;
}
