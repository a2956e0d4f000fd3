// Which bucket and key an address means.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressOf, bucketOfHost, encodeForListing, isBucketName, queryOf, splitUrl } from '../../../../src/api/s3/address.ts';

const domains = ['localhost', 's3.localhost', 's3.example.org'];

describe('the host', () => {
  it.each([
    ['b.localhost', 'b'], ['b.localhost:3333', 'b'], ['b.s3.localhost', 'b'], ['a.b.s3.example.org', 'a.b'], ['B.S3.EXAMPLE.ORG', 'b'],
    ['localhost', undefined], ['s3.localhost:3333', undefined], ['127.0.0.1', undefined], ['127.0.0.1:3333', undefined], ['[::1]:3333', undefined],
    ['example.org', undefined], ['xlocalhost', undefined], [undefined, undefined],
  ])('%s names %s', (host, bucket) => expect(bucketOfHost(host, domains)).toBe(bucket));
});

describe('the path', () => {
  it.each([
    ['/', undefined, '', ''], ['/b', undefined, 'b', ''], ['/b/', undefined, 'b', ''], ['/b/k', undefined, 'b', 'k'], ['/b//k/', undefined, 'b', '/k/'],
    ['/b/../x', undefined, 'b', '../x'], ['/b/%2e%2e/x', undefined, 'b', '../x'], ['/b/a+b', undefined, 'b', 'a+b'], ['/b/%C3%BC%252F', undefined, 'b', 'ü%2F'],
    ['/k/l', 'b', 'b', 'k/l'], ['/', 'b', 'b', ''],
  ])('%s with host bucket %s is (%s, %s)', (path, host, bucket, key) => expect(addressOf(path, host)).toEqual({ bucket, key }));

  it('is taken out of an absolute URL too', () => {
    expect(splitUrl('http://h:1/b/k?x=1?y')).toEqual({ rawPath: '/b/k', rawQuery: 'x=1?y' });
    expect(splitUrl('/b')).toEqual({ rawPath: '/b', rawQuery: '' });
  });

  it('gives back every key as it was encoded', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }).filter((key) => !key.includes('\0') && Buffer.byteLength(key) <= 1024),
      (key) => {
      expect(addressOf(`/b/${encodeURIComponent(key)}`, undefined)).toEqual({ bucket: 'b', key });
      expect(decodeURIComponent(encodeForListing(key))).toBe(key);
    }));
  });
});

describe('the query', () => {
  it('has spaces for plus signs, first values first, and names without values', () => {
    expect([...queryOf('a=1+2&b&c=%2B&a=3&=x')]).toEqual([['a', '1 2'], ['b', ''], ['c', '+'], ['', 'x']]);
    expect(() => queryOf('prefix=%00')).toThrow('NUL');
  });
});

describe('bucket names', () => {
  it.each(['abc', 'my-bucket.v2', '123', 'a'.repeat(63)])('%s is one', (name) => expect(isBucketName(name)).toBe(true));
  it.each(['', 'ab', 'A', 'a_b', '-ab', 'ab-', 'a..b', 'a.-b', '10.0.0.1', 'a'.repeat(64), '_novact', 'abc-s3alias'])('%s is none',
    (name) => expect(isBucketName(name)).toBe(false));
});
