// How the objectstore is reached.
import type { Clock } from '../../lib/clock.ts';
import type { Trust } from '../../lib/web-request.ts';

export interface HttpImageSourceOptions {
  readonly clock: Clock;
  /** Where an image is: `http://127.0.0.1:3333/_novact/images/ami-…`. */
  readonly url: (imageId: string) => string;
  /** Headers that sign a request for this URL: a GET, or a PUT of what has that checksum. */
  readonly sign: (url: string, payload?: { readonly sha256: string }) => Promise<Record<string, string>>;
  /** Whom to believe that it is the objectstore; by default those whom everybody believes. */
  readonly trust?: Trust | undefined;
  /** A transfer without a byte for so long is broken. */
  readonly stallMs: number;
}
