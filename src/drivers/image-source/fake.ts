// An image source for simulated hosts: nothing crosses a wire; `delayMs` stands for the transfer.
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { ImageSource } from './driver.ts';

export interface FakeImageSource extends ImageSource {
  /** How often an image was really fetched. */
  readonly fetches: ReadonlyMap<string, number>;
  failOn(imageId: string): void;
}

export interface FakeImageSourceOptions {
  readonly clock: Clock;
  readonly put: (path: string, sizeBytes: number) => void;
  readonly delayMs: number;
  /** What the objectstore does with content that it is brought. Default: nothing. */
  readonly keep?: (imageId: string) => Promise<void>;
}

export function createFakeImageSource(options: FakeImageSourceOptions): FakeImageSource {
  const fetches = new Map<string, number>();
  const failing = new Set<string>();
  return {
    info: { name: 'fake' },
    fetches,
    failOn: (imageId) => void failing.add(imageId),
    async fetch(image, path, signal) {
      fetches.set(image.id, (fetches.get(image.id) ?? 0) + 1);
      await options.clock.sleep(options.delayMs, signal);
      if (failing.has(image.id)) throw new DriverError('failed', `image ${image.id}: the fake was told to fail`);
      options.put(path, image.sizeBytes);
    },
    async store(imageId, _path, signal) {
      await options.clock.sleep(options.delayMs, signal);
      if (failing.has(imageId)) throw new DriverError('failed', `image ${imageId}: the fake was told to fail`);
      await options.keep?.(imageId);
    },
  };
}
