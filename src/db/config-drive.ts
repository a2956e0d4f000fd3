// What an instance is told by a drive instead of a DHCP server, by one query.
import { eq } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { instances } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';

export interface ConfigDrive {
  readonly instanceId: string;
  readonly projectId: string;
  readonly launchIndex: number;
  readonly zone: string;
  readonly keyName: string | null;
  readonly publicKey: string | null;
  /** Base64. */
  readonly userData: string | null;
  readonly mac: string;
  readonly address: string;
  readonly cidr: string;
  readonly gateway: string;
  readonly mtu: number;
}

/** Undefined: it has no address. */
export async function configDriveOf(db: Queryable, instanceId: string): Promise<ConfigDrive | undefined> {
  const { projectId, launchIndex, zone, keyName, publicKey, userData, mac } = instances;
  const { cidr, gateway, mtu } = networks;
  const [row] = await db.select({
    instanceId: instances.id, projectId, launchIndex, zone, keyName, publicKey, userData, mac, address: fixedAddresses.address, cidr, gateway, mtu,
  }).from(instances)
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .where(eq(instances.id, instanceId)).limit(1);
  return row;
}
