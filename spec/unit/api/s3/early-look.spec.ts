// The look that begins before the signature is checked: once, about what the request names, and for the operations that begin with it.
import { describe, expect, it } from 'vitest';
import { lookEarly } from '../../../../src/api/s3/early-look.ts';
import { routeOf } from '../../../../src/api/s3/routes.ts';
import type { Bucket } from '../../../../src/db/buckets.ts';

/** What was looked for, in order; each look has its own answer. */
function watchedLooks() {
  const looked: string[] = [];
  const answer = (name: string) => ({ name: `${looked.push(name)}` }) as Bucket;
  return {
    looked,
    findBucket: async (name: string) => answer(name),
    findInBucket: async ({ bucket, key }: { bucket: string; key: string }, versionId?: string) =>
      ({ bucket: answer(`${bucket}/${key}${versionId === undefined ? '' : `@${versionId}`}`), object: undefined }),
  };
}

function early(method: string, key: string, query: Readonly<Record<string, string>> = {}) {
  const looks = watchedLooks();
  const asked = { method, bucket: 'b', key, query: new Map(Object.entries(query)), headers: {} };
  return { looked: looks.looked, looks: lookEarly(looks, asked, routeOf(asked)) };
}

describe('the early look', () => {
  it('at an object is the first answer about it, and about nothing else', async () => {
    const { looked, looks } = early('GET', 'k');
    expect(looked).toEqual(['b/k']);
    expect((await looks.findInBucket({ bucket: 'b', key: 'other' }))?.bucket.name).toBe('2');
    expect((await looks.findInBucket({ bucket: 'b', key: 'k' }, 'null'))?.bucket.name).toBe('3');
    expect((await looks.findInBucket({ bucket: 'b', key: 'k' }))?.bucket.name).toBe('1');
    expect((await looks.findInBucket({ bucket: 'b', key: 'k' }))?.bucket.name).toBe('4'); // whoever asks again wants to know it anew
    expect(looked).toEqual(['b/k', 'b/other', 'b/k@null', 'b/k']);
  });

  it('at a bucket is the first answer about it', async () => {
    const { looked, looks } = early('PUT', 'k');
    expect(looked).toEqual(['b']);
    expect((await looks.findBucket('other'))?.name).toBe('2');
    expect((await looks.findBucket('b'))?.name).toBe('1');
    expect((await looks.findBucket('b'))?.name).toBe('3');
  });

  it('is not made for what begins otherwise', () => {
    const others: readonly Parameters<typeof early>[] =
      [['GET', 'k', { versionId: 'null' }], ['GET', 'k', { tagging: '' }], ['GET', ''], ['DELETE', 'k'], ['PUT', ''], ['POST', 'k', { uploads: '' }]];
    for (const other of others) expect(early(...other).looked).toEqual([]);
  });

  it('that fails is nobody\'s unless somebody asks', async () => {
    const failing = { findBucket: () => Promise.reject(new Error('away')), findInBucket: () => Promise.reject(new Error('away')) };
    const asked = { method: 'GET', bucket: 'b', key: 'k', query: new Map<string, string>(), headers: {} };
    const looks = lookEarly(failing, asked, routeOf(asked));
    await new Promise((resolve) => void setImmediate(resolve)); // an unhandled rejection would end the process
    await expect(looks.findInBucket({ bucket: 'b', key: 'k' })).rejects.toThrow('away');
  });
});
