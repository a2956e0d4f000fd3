// The disk drivers by name. The only place that lists them.
import type { DiskDriver } from './driver.ts';
import { createFakeDisk } from './fake.ts';
import { createQemuImg, type QemuImgOptions } from './qemu-img.ts';

export const diskDrivers = {
  'qemu-img': {
    doc: 'Real images, by qemu-img and debugfs under limits; drives by xorriso.',
    create: (options: QemuImgOptions): DiskDriver => createQemuImg(options),
  },
  fake: { doc: 'For specs and the sim hypervisor: overlays are notes in JSON.', create: (): DiskDriver => createFakeDisk() },
} as const;
