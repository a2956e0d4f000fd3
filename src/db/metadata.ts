// What a guest may learn of itself, by one query: the instance that holds an address on a network.
import { and, asc, eq, sql } from 'drizzle-orm';
import { slaacAddress } from '../lib/ipv6.ts';
import type { Queryable } from './db.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { images } from './schema/images.ts';
import { instances, instanceSecurityGroups, securityGroups } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';
import { volumeAttachments } from './schema/volumes.ts';

export interface InstanceMetadata {
  readonly instanceId: string;
  readonly projectId: string;
  readonly reservationId: string;
  readonly launchIndex: number;
  readonly imageId: string;
  readonly imageLocation: string | null;
  readonly kernelId: string | null;
  readonly ramdiskId: string | null;
  readonly instanceType: string;
  readonly architecture: string;
  readonly rootDeviceName: string;
  readonly keyName: string | null;
  readonly publicKey: string | null;
  /** Base64. */
  readonly userData: string | null;
  readonly metadataEndpoint: 'enabled' | 'disabled';
  readonly metadataTokens: 'optional' | 'required';
  readonly zone: string;
  readonly launchedAt: Date;
  readonly mac: string;
  readonly address: string;
  /** What it makes for itself; null: its network has no IPv6. */
  readonly ipv6Address: string | null;
  readonly ipv6Cidr: string | null;
  /** The floating address that leads to it. */
  readonly publicAddress: string | null;
  readonly networkCidr: string;
  readonly securityGroups: readonly { readonly id: string; readonly name: string }[];
  /** Of its volumes: `/dev/sdf`. */
  readonly volumeDevices: readonly string[];
}

/** Addresses may be in use on another network too: the one that the request came from is meant. */
export async function instanceByAddress(db: Queryable, where: { networkId: string; address: string }): Promise<InstanceMetadata | undefined> {
  const groups = sql<unknown>`(
    select coalesce(json_agg(json_build_object('id', ${securityGroups.id}, 'name', ${securityGroups.name}) order by ${securityGroups.name}), '[]'::json)
    from ${instanceSecurityGroups} inner join ${securityGroups} on ${securityGroups.id} = ${instanceSecurityGroups.groupId}
    where ${instanceSecurityGroups.instanceId} = ${instances.id})`;
  const devices = sql<unknown>`(
    select coalesce(json_agg(${volumeAttachments.device} order by ${volumeAttachments.device}), '[]'::json)
    from ${volumeAttachments} where ${volumeAttachments.instanceId} = ${instances.id} and ${volumeAttachments.state} <> 'detaching')`;
  const [row] = await db.select({
    instanceId: instances.id,
    projectId: instances.projectId,
    reservationId: instances.reservationId,
    launchIndex: instances.launchIndex,
    imageId: instances.imageId,
    imageLocation: images.location,
    kernelId: instances.kernelId,
    ramdiskId: instances.ramdiskId,
    instanceType: instances.instanceType,
    architecture: instances.architecture,
    rootDeviceName: instances.rootDeviceName,
    keyName: instances.keyName,
    publicKey: instances.publicKey,
    userData: instances.userData,
    metadataEndpoint: instances.metadataEndpoint,
    metadataTokens: instances.metadataTokens,
    zone: instances.zone,
    launchedAt: instances.launchedAt,
    mac: instances.mac,
    address: fixedAddresses.address,
    publicAddress: floatingAddresses.address,
    networkCidr: networks.cidr,
    ipv6Cidr: networks.ipv6Cidr,
    securityGroups: groups,
    volumeDevices: devices,
  }).from(fixedAddresses)
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .innerJoin(instances, eq(instances.id, fixedAddresses.instanceId))
    .leftJoin(floatingAddresses, eq(floatingAddresses.instanceId, instances.id))
    .leftJoin(images, eq(images.id, instances.imageId))
    .where(and(eq(networks.id, where.networkId), eq(fixedAddresses.address, where.address)))
    .limit(1);
  if (row === undefined) return undefined;
  const { securityGroups: itsGroups, volumeDevices } = row;
  const ipv6Address = row.ipv6Cidr === null ? null : slaacAddress(row.ipv6Cidr, row.mac);
  return {
    ...row, ipv6Address, securityGroups: parsed<InstanceMetadata['securityGroups']>(itsGroups), volumeDevices: parsed<readonly string[]>(volumeDevices),
  };
}

/** One driver hands JSON over as text, the other as what it says. */
const parsed = <T>(value: unknown): T => (typeof value === 'string' ? JSON.parse(value) : value) as T;

/** All instances of a project that have an address, with their cores: Nova's `mpi/` list. */
export function projectAddresses(db: Queryable, projectId: string): Promise<{ address: string; cores: number }[]> {
  return db.select({ address: fixedAddresses.address, cores: instances.cores }).from(instances)
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .where(eq(instances.projectId, projectId)).orderBy(asc(fixedAddresses.position));
}
