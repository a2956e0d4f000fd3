import { describe, expect, it } from 'vitest';
import { createGate } from '../../../src/lib/gate.ts';

describe('gate', () => {
  it('lets so many through at once, the others in order', async () => {
    const gate = createGate(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const passes = [1, 2, 3, 4].map((n) => gate.pass(() => new Promise<void>((resolve) => {
      begun.push(n);
      ends.push(resolve);
    })));
    await Promise.resolve();
    expect(begun).toEqual([1, 2]);
    ends[0]?.();
    await passes[0];
    await Promise.resolve();
    expect(begun).toEqual([1, 2, 3]);
    ends[1]?.();
    ends[2]?.();
    await Promise.all([passes[1], passes[2]]);
    await Promise.resolve();
    ends[3]?.();
    await passes[3];
    expect(begun).toEqual([1, 2, 3, 4]);
  });

  it('lets one go who gives up waiting, and another in after a failure', async () => {
    const gate = createGate(1);
    const giving = new AbortController();
    let end: (error: Error) => void = () => undefined;
    const first = gate.pass(() => new Promise<void>((_resolve, reject) => (end = reject)));
    const second = gate.pass(async () => 'second', giving.signal);
    const third = gate.pass(async () => 'third');
    giving.abort(new Error('no patience'));
    await expect(second).rejects.toThrow('no patience');
    await Promise.resolve();
    end(new Error('failed inside'));
    await expect(first).rejects.toThrow('failed inside');
    expect(await third).toBe('third');
  });
});
