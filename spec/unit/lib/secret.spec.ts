// Secrets do not come out by accident.
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../../src/lib/secret.ts';

describe('a secret', () => {
  it('shows a mark wherever it is printed or stored, and the text only when asked', () => {
    const secret = new Secret('opensesame');
    expect([`${secret}`, JSON.stringify({ secret }), inspect({ secret }), String(secret)].join()).not.toContain('opensesame');
    expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}');
    expect(secret.reveal()).toBe('opensesame');
  });
});
