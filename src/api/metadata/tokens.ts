// IMDSv2 session tokens without a store: an expiry and a MAC over it and the instance's id. A token of another instance, an old one or
// one that was touched is simply not valid.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';

export interface Tokens {
  issue(instanceId: string, ttlSeconds: number): string;
  isValid(instanceId: string, token: string): boolean;
}

export const ttlSecondsMax = 21_600;

const expiryBytes = 6;
const macBytes = 32;

export function createTokens(settings: { key: Buffer; clock: Clock }): Tokens {
  if (settings.key.length < 32) throw new Error('the key of metadata tokens needs 32 bytes');
  const mac = (instanceId: string, expiry: Buffer): Buffer =>
    createHmac('sha256', settings.key).update('novact metadata token\0').update(expiry).update(instanceId).digest();
  return {
    issue(instanceId, ttlSeconds) {
      const expiry = Buffer.alloc(expiryBytes);
      expiry.writeUIntBE(settings.clock.now() + ttlSeconds * 1000, 0, expiryBytes);
      return Buffer.concat([expiry, mac(instanceId, expiry)]).toString('base64');
    },
    isValid(instanceId, token) {
      const bytes = Buffer.from(token, 'base64');
      if (bytes.length !== expiryBytes + macBytes || bytes.toString('base64') !== token) return false;
      const expiry = bytes.subarray(0, expiryBytes);
      return timingSafeEqual(bytes.subarray(expiryBytes), mac(instanceId, expiry)) && expiry.readUIntBE(0, expiryBytes) > settings.clock.now();
    },
  };
}
