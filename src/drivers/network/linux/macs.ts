// The MACs that are novact's own: of gateways and of hosts.
import { createHash } from 'node:crypto';
import { addressNumber } from '../../../lib/ipv4.ts';
import { checkAddress } from './names.ts';

/** Stays the same over restarts and never equals a guest's, whose prefix is 02:16:3e. */
export const bridgeMac = (networkId: string): string => madeOf('3f', networkId);

/** Of a bridge that is no gateway, whose MAC is on it as another's. */
export const switchMac = (networkId: string): string => madeOf('3c', networkId);

function madeOf(kind: string, id: string): string {
  const digest = createHash('sha256').update(id).digest('hex');
  return ['02', '16', kind, digest.slice(0, 2), digest.slice(2, 4), digest.slice(4, 6)].join(':');
}

/** Guests have 02:16:3e, gateways 02:16:3f; the rest is the address, so that no two hosts of a network have the same. */
export function hostMac(hostAddress: string): string {
  const number = addressNumber(checkAddress(hostAddress));
  return ['02', '16', '3d', ...[16, 8, 0].map((shift) => ((number >>> shift) & 255).toString(16).padStart(2, '0'))].join(':');
}
