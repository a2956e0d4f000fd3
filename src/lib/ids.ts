// Ids are globally unique and random, in AWS's shapes, so that nothing needs one database for the whole cloud.
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto';

export type IdPrefix = 'i' | 'r' | 'ami' | 'aki' | 'ari' | 'sg' | 'sgr' | 'key' | 'vol' | 'snap' | 'net' | 'eni' | 'op';

/** `i-0123456789abcdef0`: the prefix and 17 hexadecimal digits, as AWS's long ids. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}-${randomBytes(9).toString('hex').slice(0, 17)}`;
}

export const newRequestId = (): string => randomUUID();

/** Twelve digits, the shape of an AWS account id. Never begins with 0, so that no client reads it as octal. */
export const newProjectId = (): string => String(randomInt(1, 10)) + String(randomInt(0, 10 ** 11)).padStart(11, '0');

const keyAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** `AKIA` and 16 characters of base 32, the shape of an AWS access key id. */
export const newAccessKeyId = (): string =>
  `AKIA${Array.from(randomBytes(16), (byte) => keyAlphabet[byte % 32]).join('')}`;

/** 40 characters of URL-safe text with 240 random bits: old clients do not escape `/` and `+`. */
export const newSecretKey = (): string => randomBytes(30).toString('base64url');

/** A locally administered address in the prefix that Nova used: `02:16:3e:xx:xx:xx`. */
export const newMac = (): string => ['02', '16', '3e', ...Array.from(randomBytes(3), (byte) => byte.toString(16).padStart(2, '0'))].join(':');

/** The name of an instance's tap device: at most 15 characters, and never `vnet…`, which libvirt would replace. */
export const tapName = (instanceId: string): string => `nv${instanceId.replace(/^i-/, '').slice(0, 12)}`;

/** The UUID of an instance's domain. It begins with `ec2`, by which cloud-init recognises the Ec2 data source without being told. */
export function domainUuid(instanceId: string): string {
  const hex = `ec2${createHash('sha256').update(instanceId).digest('hex').slice(0, 29)}`;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
