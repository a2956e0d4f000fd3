// Instances in a cloud of sims whose roles do not run, in the states in which flows begin, and all of one that a flow may change.
import { eq } from 'drizzle-orm';
import type { InstanceContext } from '../../src/actors/compute/flows/instance-context.ts';
import { runInstance } from '../../src/actors/compute/flows/run-instance.ts';
import { stopInstance } from '../../src/actors/compute/flows/stop-instance.ts';
import { insertImage, loadImage } from '../../src/db/image-work.ts';
import { claimOfRow, loadInstance } from '../../src/db/instance-work.ts';
import { unfinishedOperations } from '../../src/db/operations.ts';
import { placeInstances } from '../../src/db/placement.ts';
import { fixedAddresses, hosts, instances, type InstanceState } from '../../src/db/schema/all.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { newId } from '../../src/lib/ids.ts';
import { memoryJournal, type World } from './flow-check.ts';
import type { SimCloud } from './sim-cloud.ts';

const never = new AbortController().signal;

/** An instance that was placed on the one host, and what its flows work with. */
export async function placed(cloud: SimCloud): Promise<InstanceContext> {
  const { db } = cloud.database;
  const [host] = cloud.hosts;
  const [id = ''] = await cloud.launch(1);
  const instance = await loadInstance(db, id);
  const [operation] = await unfinishedOperations(db, id);
  if (host === undefined || instance === undefined || operation === undefined) throw new Error('the spec has no host');
  await placeInstances(
    db, [{ instanceId: instance.id, operationId: operation.id, host: host.name, claim: await claimOfRow(db, instance) }],
    { cores: 1, memory: 1, disk: 1 }, new Date(),
  );
  const now = await loadInstance(db, id);
  if (now === undefined) throw new Error('the instance vanished');
  const fetchImage = async (imageId: string) => `/images/${imageId}`;
  return { host: host.compute, instance: now, operationId: operation.id, requestId: 'spec', input: {}, fetchImage, signal: never, hurry: never };
}

/** Everything of one instance, with its id taken out so that two worlds can be compared. */
async function snapshot(cloud: SimCloud, { instance: { id }, input, operationId }: InstanceContext): Promise<unknown> {
  const { db } = cloud.database;
  const [host] = cloud.hosts;
  const [row] = await db.select().from(instances).where(eq(instances.id, id));
  const claimed = await db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id));
  const [claims] = await db.select().from(hosts);
  const domain = host?.world.domains.get(id);
  const image = await loadImage(db, String(input['imageId']));
  return {
    image: image === undefined ? null : { state: image.state, hasContent: image.blobId !== null },
    state: row?.state, reason: row?.stateReasonCode, host: row?.host, addresses: claimed.length,
    claimedCores: row?.state === 'terminated' ? 0 : 1, someClaim: (claims?.claimedCores ?? 0) >= 0,
    domain: domain === undefined ? null : { state: domain.state, disks: domain.spec.disks.length },
    files: host?.files.paths().filter((path) => path.startsWith(`/instances/${id}`)).map((path) => path.replace(id, '').replace(operationId, '')),
    ports: host?.network.host.firewall?.ports.filter((port) => port.instanceId === id).length ?? 0,
    leases: [...(host?.network.host.networks.values() ?? [])].flatMap((network) => network.hosts.filter(({ hostname }) => hostname === id)).length,
  };
}

export const instanceWorld = (cloud: SimCloud, context: InstanceContext): World<InstanceContext> =>
  ({ context, snapshot: () => snapshot(cloud, context), close: async () => undefined });

/** Brought to running by the flow itself, then to the state in which the next flow begins. */
export async function running(cloud: SimCloud, state: InstanceState = 'running'): Promise<InstanceContext> {
  const context = await placed(cloud);
  await runFlow(runInstance, context, memoryJournal());
  await cloud.database.db.update(instances).set({ state }).where(eq(instances.id, context.instance.id));
  return { ...context, instance: (await loadInstance(cloud.database.db, context.instance.id)) ?? context.instance };
}

/** Without its guest, in that state. */
export async function stopped(cloud: SimCloud, state: InstanceState): Promise<InstanceContext> {
  const context = await running(cloud, 'stopping');
  await runFlow(stopInstance, context, memoryJournal());
  await cloud.database.db.update(instances).set({ state }).where(eq(instances.id, context.instance.id));
  return { ...context, instance: { ...context.instance, state } };
}

/** An image is to be made of it. */
export async function imaged(cloud: SimCloud, context: InstanceContext, reboots: boolean): Promise<InstanceContext> {
  const { instance } = context;
  const imageId = newId('ami');
  await insertImage(cloud.database.db, {
    id: imageId, projectId: instance.projectId, name: imageId, description: '', type: 'machine', location: imageId, isPublic: false,
    kernelId: null, ramdiskId: null,
  }, new Date());
  return { ...context, input: { imageId, snapshotIds: [], reboots } };
}
