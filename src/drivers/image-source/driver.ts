// Where a compute host gets images from, and brings those that it makes: the objectstore, over HTTP, signed.

export interface ImageToFetch {
  readonly id: string;
  readonly sizeBytes: number;
  /** Hexadecimal, of the whole content. */
  readonly sha256: string;
}

/** Errors: DriverError `notFound`, `failed` (a wrong checksum says so), `timeout`. */
export interface ImageSource {
  readonly info: { readonly name: string };
  /** After: `path` holds the image, complete and verified. A broken transfer is resumed; nothing half stays under that name. */
  fetch(image: ImageToFetch, path: string, signal: AbortSignal): Promise<void>;
  /**
   * After: the pending image has the content of the file, verified and durable, and its row says what it is. Repeating it is safe. Error `notFound`:
   * no image of that id waits for content.
   */
  store(imageId: string, path: string, signal: AbortSignal): Promise<void>;
}
