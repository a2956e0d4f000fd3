// Ranges of bytes, at their edges.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rangeOf } from '../../../../src/api/s3/conditions.ts';

describe('a range', () => {
  it('always lies within the content, whatever the client asks', () => {
    fc.assert(fc.property(fc.nat(50), fc.option(fc.nat(60)), fc.option(fc.nat(60)), (size, from, to) => {
      const header = `bytes=${from ?? ''}-${to ?? ''}`;
      let range;
      try {
        range = rangeOf(header, size);
      } catch (error) {
        expect(error).toMatchObject({ code: 'InvalidRange', status: 416 });
        expect(from === null ? to === 0 || size === 0 : from >= size).toBe(true);
        return;
      }
      if (range === undefined) return;
      expect(range.first).toBeGreaterThanOrEqual(0);
      expect(range.last).toBeGreaterThanOrEqual(range.first);
      expect(range.last).toBeLessThan(size);
      if (from !== null) expect(range.first).toBe(from);
      else expect(range.last - range.first + 1).toBe(Math.min(to ?? 0, size));
    }));
  });

  it.each(['', 'bytes', 'bytes=-', 'bytes=a-b', 'items=0-1', 'bytes=0-1,2-3', 'bytes=5-2'])('%j means the whole', (header) => {
    expect(rangeOf(header, 10)).toBeUndefined();
  });
});
