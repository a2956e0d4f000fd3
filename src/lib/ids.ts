// Ids are globally unique and random, in AWS's shapes, so that nothing needs one database for the whole cloud.
import { createHash, randomBytes, randomFillSync, randomInt, randomUUID } from 'node:crypto';

export type IdPrefix =
  | 'i' | 'r' | 'ami' | 'aki' | 'ari' | 'import-ami' | 'sg' | 'sgr' | 'key' | 'vol' | 'snap' | 'vat' | 'net' | 'op'
  | 'vpc' | 'subnet' | 'igw' | 'rtb' | 'rtbassoc' | 'acl' | 'dopt' | 'eipalloc' | 'eipassoc' | 'vpn';

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

/** An id that follows from another one, for what has no row of its own: the interface of `i-0123…` is `eni-0123…`, and its attachment `eni-attach-0123…`. */
export const derivedId = (prefix: 'i' | 'eni' | 'eni-attach' | 'aclassoc' | 'vpc-cidr-assoc' | 'subnet-cidr-assoc', of: string): string =>
  `${prefix}-${of.replace(/^.*-/, '')}`;

/** The iSCSI name of a compute host: lower-case letters, digits, dots and dashes; what else a host's name has is written in hexadecimal. */
export const initiatorName = (host: string): string =>
  `iqn.2011-02.org.novact:${host.replaceAll(/[^a-z0-9.-]/g, (character) => `:${character.charCodeAt(0).toString(16)}`)}`;

/** The serial of a volume's disk, as the guest sees it: at most 20 characters, as on AWS. */
export const volumeSerial = (volumeId: string): string => volumeId.replace('-', '').slice(0, 20);

/** Other disks, such as the root disk of an image, have names for it. */
export const isVolumeSerial = (serial: string): boolean => /^vol[0-9a-f]{8,17}$/.test(serial);

/** The UUID of an instance's domain. It begins with `ec2`, by which cloud-init recognises the Ec2 data source without being told. */
export function domainUuid(instanceId: string): string {
  const hex = `ec2${createHash('sha256').update(instanceId).digest('hex').slice(0, 29)}`;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const pool = Buffer.alloc(4096);
let poolUsed = pool.length;
let lastMs = 0;
let inThisMs = 0;

/** A UUID of version 7 (RFC 9562): ids of one process ascend, by time and, within a millisecond, by a counter. `nowMs` comes from the clock. */
export function newMessageId(nowMs: number): string {
  inThisMs = nowMs > lastMs ? 0 : inThisMs + 1;
  // A counter that is full, or a clock that was set back, borrows from the future.
  lastMs = inThisMs > 0xfff ? lastMs + 1 : Math.max(nowMs, lastMs);
  if (inThisMs > 0xfff) inThisMs = 0;
  if (poolUsed + 8 > pool.length) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  const random = pool.toString('hex', poolUsed, poolUsed + 8);
  poolUsed += 8;
  const time = Math.floor(lastMs).toString(16).padStart(12, '0');
  const variant = ((Number.parseInt(random.charAt(0), 16) & 3) | 8).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${inThisMs.toString(16).padStart(3, '0')}-${variant}${random.slice(1, 4)}-${random.slice(4)}`;
}
