// The image cache of a host stays under its bound, and never loses what an instance stands on.
import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { evictImages } from '../../src/actors/compute/image-cache.ts';
import { instances } from '../../src/db/schema/all.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createSimCloud, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud;
let now: number;
beforeEach(async () => {
  now = systemClock.now();
  cloud = await createSimCloud({ start: false, limits: { imageCacheBytesMax: 250 } });
});
afterEach(() => cloud.close());

function hostWith(images: Readonly<Record<string, number>>) {
  const [host] = cloud.hosts;
  if (host === undefined) throw new Error('no host');
  // Each was used a second after the one before.
  const entries = Object.entries(images).map(([name, sizeBytes], index) => ({ name, sizeBytes, usedAt: new Date(now + index * 1_000) }));
  for (const { name, sizeBytes } of entries) host.files.put(`/images/${name}`, sizeBytes);
  const left = () => host.files.paths().filter((path) => path.startsWith('/images/')).map((path) => path.slice('/images/'.length));
  return { host: { ...host.compute, files: { ...host.files, list: async () => entries } }, left };
}

describe('eviction', () => {
  it('takes the longest unused first, and no more than it must', async () => {
    const { host, left } = hostWith({ 'ami-old': 100, 'ami-middle': 100, 'ami-new': 100 });
    expect(await evictImages(host)).toEqual(['ami-old']);
    expect(left()).toEqual(['ami-middle', 'ami-new']);
  });

  it('does nothing while the cache is under its bound', async () => {
    const { host } = hostWith({ 'ami-a': 125, 'ami-b': 125 });
    expect(await evictImages(host)).toEqual([]);
  });

  it('leaves machine, kernel and ramdisk of every instance of this host that has not ended, though the cache stays too large', async () => {
    const [id = ''] = await cloud.launch(1, { imageId: 'ami-used', kernelId: 'aki-used', ramdiskId: 'ari-used', host: 'h1', state: 'stopped' });
    const { host, left } = hostWith({ 'ami-used': 200, 'aki-used': 200, 'ari-used': 200, 'ami-free': 10 });
    expect(await evictImages(host)).toEqual(['ami-free']);
    await cloud.database.db.update(instances).set({ state: 'terminated' }).where(eq(instances.id, id));
    expect(await evictImages(host)).toEqual(['ami-used', 'aki-used']);
    expect(left()).toEqual(['ari-used']);
  });
});
