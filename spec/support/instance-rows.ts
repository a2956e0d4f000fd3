// Rows of a small cloud, for specs that read what the database says of instances and their networks.
import { eq, and } from 'drizzle-orm';
import type { Db } from '../../src/db/db.ts';
import { createNetwork, type Network } from '../../src/db/networks.ts';
import { projects, users } from '../../src/db/schema/identity.ts';
import { images } from '../../src/db/schema/images.ts';
import { instances, reservations } from '../../src/db/schema/instances.ts';
import { fixedAddresses } from '../../src/db/schema/networks.ts';

export interface CloudRows {
  readonly projectId: string;
  readonly userId: string;
  readonly network: Network;
}

const now = new Date('2026-01-02T03:04:05Z');

/** A user, a project, an image `ami-1` and a network. Safe to repeat for another network. */
export async function cloudRows(db: Db, options: { cidr: string; gateway: string; name?: string }): Promise<CloudRows> {
  const [userId, projectId] = ['u-1', '123456789012'];
  await db.insert(users).values({ id: userId, name: 'someone', createdAt: now }).onConflictDoNothing();
  await db.insert(projects).values({ id: projectId, name: 'project', description: '', managerId: userId, createdAt: now }).onConflictDoNothing();
  await db.insert(images).values({
    id: 'ami-1', projectId, name: 'tiny', location: 'bucket/tiny.img', type: 'machine', architecture: 'x86_64', state: 'available', rootDeviceName: '/dev/vda',
    virtualizationType: 'hvm', createdAt: now, stateChangedAt: now,
  }).onConflictDoNothing();
  const name = options.name ?? 'default';
  const network = await createNetwork(db, { name, manager: 'flat-dhcp', cidr: options.cidr, gateway: options.gateway, bridge: `br-${name}`, mtu: 1500 }, now);
  return { projectId, userId, network };
}

type NewInstance = Partial<typeof instances.$inferInsert> & { readonly id: string; readonly mac: string; readonly address?: string };

/** A running instance in a reservation of its own, with an address if one is given. */
export async function addInstance(db: Db, cloud: CloudRows, wanted: NewInstance): Promise<void> {
  const { address, ...row } = wanted;
  const reservationId = row.id.replace(/^i-/, 'r-');
  const { projectId, userId } = cloud;
  await db.insert(reservations).values({ id: reservationId, projectId, userId, requestDigest: '', createdAt: now });
  await db.insert(instances).values({
    reservationId, projectId, userId, launchIndex: 0, imageId: 'ami-1', instanceType: 'm1.tiny', cores: 1, memoryMiB: 128, rootGiB: 0, architecture: 'x86_64',
    rootDeviceName: '/dev/vda', state: 'running', stateChangedAt: now, zone: 'nova', launchedAt: now, ...row,
  });
  if (address === undefined) return;
  await db.update(fixedAddresses).set({ instanceId: row.id, claimedAt: now })
    .where(and(eq(fixedAddresses.networkId, cloud.network.id), eq(fixedAddresses.address, address)));
}
