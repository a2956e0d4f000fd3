// The link that a host shares with others for volumes: the interface that has its address. ATA over Ethernet has no addresses but those of such links.
import { z } from 'zod';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';

export interface StorageLink {
  readonly interface: string;
  /** All of this host, on any interface. */
  readonly ownAddresses: readonly string[];
}

const linksSchema = z.array(z.object({ ifname: z.string(), addr_info: z.array(z.object({ local: z.string().optional() })) }));

/** Throws `unsupported` when no interface has that address. */
export async function storageLink(run: Run, address: string): Promise<StorageLink> {
  const links = linksSchema.parse(JSON.parse((await run('ip', ['-j', 'address', 'show'])).stdout));
  const found = links.find((link) => link.addr_info.some(({ local }) => local === address));
  if (found === undefined) {
    throw new DriverError('unsupported', `no interface of this host has its address ${address}: set the address by which others reach it`);
  }
  return { interface: found.ifname, ownAddresses: links.flatMap((link) => link.addr_info.flatMap(({ local }) => local ?? [])) };
}
