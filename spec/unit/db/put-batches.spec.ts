// Which puts go together, and what each is told.
import { describe, expect, it } from 'vitest';
import { PutBatches, type Put } from '../../../src/db/put-batches.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const put = (key: string, blobId: string): Put => ({ bucket: 'b', key, blobId });

/** Batches that end when the spec says so. */
function held() {
  const begun: { readonly blobs: readonly string[]; done(...blobs: string[]): void; fail(error: unknown): void }[] = [];
  const together = (batch: readonly Put[]) => new Promise<ReadonlySet<string>>((resolve, reject) => void begun.push({
    blobs: batch.map(({ blobId }) => blobId), done: (...blobs) => resolve(new Set(blobs)), fail: reject,
  }));
  const clock = createManualClock();
  return { clock, begun, batches: new PutBatches(clock, together) };
}

describe('puts that meet', () => {
  it('go together, with what came while others were under way, and each is told of itself', async () => {
    const { begun, batches } = held();
    const first = [put('1', 'a'), put('2', 'b')].map((one) => batches.put(one));
    await expect.poll(() => begun.length).toBe(1);
    const next = [put('3', 'c'), put('4', 'd')].map((one) => batches.put(one));
    begun[0]?.done('b');
    expect(await Promise.all(first)).toEqual([false, true]);
    await expect.poll(() => begun.length).toBe(2);
    expect(begun.map(({ blobs }) => blobs)).toEqual([['a', 'b'], ['c', 'd']]);
    begun[1]?.done('c', 'd');
    expect(await Promise.all(next)).toEqual([true, true]);
  });

  it('do not wait long for those that hang, except for their keys', async () => {
    const { clock, begun, batches } = held();
    const first = batches.put(put('1', 'a'));
    await expect.poll(() => begun.length).toBe(1);
    const [ofKey, other] = [put('1', 'b'), put('2', 'c')].map((one) => batches.put(one));
    await clock.advance(5);
    await expect.poll(() => begun.map(({ blobs }) => blobs)).toEqual([['a'], ['c']]);
    begun[1]?.done('c');
    expect(await other).toBe(true);
    begun[0]?.done('a');
    expect(await first).toBe(true);
    await expect.poll(() => begun.map(({ blobs }) => blobs)).toEqual([['a'], ['c'], ['b']]);
    begun[2]?.done();
    expect(await ofKey).toBe(false);
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
    for (let batch = 0; batch < 2; batch += 1) {
      await expect.poll(() => begun.length).toBe(batch + 1);
      begun[batch]?.done(...(begun[batch]?.blobs ?? []));
    }
    expect(begun.map(({ blobs }) => blobs.length)).toEqual([64, 36]);
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
