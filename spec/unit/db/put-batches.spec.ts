// Which puts go together, and what each is told.
import { describe, expect, it } from 'vitest';
import { PutBatches, type Put } from '../../../src/db/put-batches.ts';

const put = (key: string, blobId: string): Put => ({ bucket: 'b', key, blobId });

/** Batches that end when the spec says so. */
function held() {
  const begun: { readonly blobs: readonly string[]; done(...blobs: string[]): void; fail(error: unknown): void }[] = [];
  const together = (batch: readonly Put[]) => new Promise<ReadonlySet<string>>((resolve, reject) => void begun.push({
    blobs: batch.map(({ blobId }) => blobId), done: (...blobs) => resolve(new Set(blobs)), fail: reject,
  }));
  return { begun, batches: new PutBatches(together) };
}

describe('puts that meet', () => {
  it('go together, two batches at a time, and each is told of itself', async () => {
    const { begun, batches } = held();
    const first = [put('1', 'a'), put('2', 'b')].map((one) => batches.put(one));
    await expect.poll(() => begun.length).toBe(1);
    const second = batches.put(put('3', 'c'));
    await expect.poll(() => begun.length).toBe(2);
    const third = [put('4', 'd'), put('5', 'e')].map((one) => batches.put(one));
    begun[0]?.done('b');
    expect(await Promise.all(first)).toEqual([false, true]);
    await expect.poll(() => begun.length).toBe(3);
    expect(begun.map(({ blobs }) => blobs)).toEqual([['a', 'b'], ['c'], ['d', 'e']]);
    begun[1]?.done('c');
    begun[2]?.done('d', 'e');
    expect(await Promise.all([second, ...third])).toEqual([true, true, true]);
  });

  it('of one key come one after the other, in order, and keep no other key waiting', async () => {
    const { begun, batches } = held();
    const all = [put('k', '1'), put('k', '2'), put('k', '3'), put('other', '4')].map((one) => batches.put(one));
    const order: string[][] = [];
    for (let batch = 0; batch < 3; batch += 1) {
      await expect.poll(() => begun.length).toBe(batch + 1);
      order.push([...(begun[batch]?.blobs ?? [])]);
      begun[batch]?.done(...(begun[batch]?.blobs ?? []));
    }
    expect(order).toEqual([['1', '4'], ['2'], ['3']]);
    expect(await Promise.all(all)).toEqual([true, true, true, true]);
  });

  it('are at most 64', async () => {
    const { begun, batches } = held();
    const all = Array.from({ length: 100 }, (_, number) => batches.put(put(`${number}`, `${number}`)));
    await expect.poll(() => begun.length).toBe(2);
    expect(begun.map(({ blobs }) => blobs.length)).toEqual([64, 36]);
    for (const { blobs, done } of begun) done(...blobs);
    expect(new Set(await Promise.all(all))).toEqual(new Set([true]));
  });

  it('are each for themselves when the database refused them, and unknown when nobody knows what it did', async () => {
    const { begun, batches } = held();
    for (const error of [Object.assign(new Error('no such character'), { code: '22P05' }), new Error('failed', { cause: { code: '40P01' } })]) {
      const both = [put('1', 'a'), put('2', 'b')].map((one) => batches.put(one));
      await expect.poll(() => begun.length).toBeGreaterThan(0);
      begun.pop()?.fail(error);
      expect(await Promise.all(both)).toEqual([false, false]);
    }
    for (const error of [new Error('the connection ended'), Object.assign(new Error('shutting down'), { code: '57P01' })]) {
      const both = [put('1', 'a'), put('2', 'b')].map((one) => batches.put(one));
      const told = Promise.allSettled(both);
      await expect.poll(() => begun.length).toBeGreaterThan(0);
      begun.pop()?.fail(error);
      expect((await told).map((one) => one.status === 'rejected' && one.reason)).toEqual([error, error]);
    }
  });
});
