import { describe, expect, it } from 'vitest';
import { SetupError } from '../../../src/lib/errors.ts';
import { describeRedis, parseRedisUrl } from '../../../src/transport/redis-url.ts';

const plain = {
  tls: false, socketPath: undefined, sentinelName: undefined, database: 0, username: undefined, password: undefined, sentinelUsername: undefined,
  sentinelPassword: undefined,
};

describe('the address of Redis', () => {
  it('names one server', () => {
    expect(parseRedisUrl('redis://h1')).toEqual({ ...plain, nodes: [{ host: 'h1', port: 6379 }] });
    expect(parseRedisUrl('rediss://[::1]:7000/3')).toEqual({ ...plain, tls: true, database: 3, nodes: [{ host: '::1', port: 7000 }] });
  });

  it('carries a user and a password with odd characters', () => {
    expect(parseRedisUrl('redis://compute%40h1:a%2Fb%3Ac@h1:1')).toMatchObject({ username: 'compute@h1', password: 'a/b:c', nodes: [{ host: 'h1', port: 1 }] });
    expect(parseRedisUrl('redis://:secret@h1')).toMatchObject({ username: undefined, password: 'secret' });
  });

  it('names a socket', () => {
    expect(parseRedisUrl('redis:///run/novact/redis.sock?db=2')).toEqual({ ...plain, nodes: [], socketPath: '/run/novact/redis.sock', database: 2 });
  });

  it('names sentinels and the server they know', () => {
    expect(parseRedisUrl('rediss+sentinel://u:p@h1,h2:1,[fe80::1]:2/main/4?sentinel-password=s')).toEqual({
      ...plain, tls: true, username: 'u', password: 'p', sentinelName: 'main', database: 4, sentinelPassword: 's',
      nodes: [{ host: 'h1', port: 26_379 }, { host: 'h2', port: 1 }, { host: 'fe80::1', port: 2 }],
    });
  });

  it.each([
    'http://h1', 'redis://', 'redis://h1,h2', 'redis+sentinel://h1:1', 'redis://h1:99999', 'redis://h1/x', 'redis://u:secret%@h1', 'rediss:///run/x',
    'redis://u:se/cret@h1',
  ])('refuses %s without telling a password', (text) => {
    let caught: unknown;
    try {
      parseRedisUrl(text);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(SetupError);
    expect((caught as SetupError).message).not.toContain('cret');
  });

  it('is shown without credentials', () => {
    expect(describeRedis(parseRedisUrl('rediss+sentinel://u:secret@h1,h2:1/main'))).toBe('rediss+sentinel://h1:26379,h2:1/main');
    expect(describeRedis(parseRedisUrl('redis:///run/x'))).toBe('redis:///run/x');
  });
});
