// Every flow of an instance against the generic proof: each step made to fail, killed at, and repeated, in a world of sims over the
// real database and the real network actors.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe } from 'vitest';
import type { InstanceContext } from '../../src/actors/compute/flows/instance-context.ts';
import { rebootInstance } from '../../src/actors/compute/flows/reboot-instance.ts';
import { runInstance } from '../../src/actors/compute/flows/run-instance.ts';
import { startInstance } from '../../src/actors/compute/flows/start-instance.ts';
import { stopInstance } from '../../src/actors/compute/flows/stop-instance.ts';
import { terminateInstance } from '../../src/actors/compute/flows/terminate-instance.ts';
import { claimOfRow, loadInstance } from '../../src/db/instance-work.ts';
import { placeInstances } from '../../src/db/placement.ts';
import { unfinishedOperations } from '../../src/db/operations.ts';
import { fixedAddresses, hosts, instances, type InstanceState } from '../../src/db/schema/all.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';
import { createSimCloud, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud;
beforeAll(async () => {
  cloud = await createSimCloud({ start: false, cores: 1_000, memoryMiB: 2 ** 30 });
});
afterAll(() => cloud.close());

const never = new AbortController().signal;

/** An instance that was placed on the one host, and what its flows work with. */
async function placed(): Promise<InstanceContext> {
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
async function snapshot({ instance: { id } }: InstanceContext): Promise<unknown> {
  const { db } = cloud.database;
  const [host] = cloud.hosts;
  const [row] = await db.select().from(instances).where(eq(instances.id, id));
  const claimed = await db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id));
  const [claims] = await db.select().from(hosts);
  const domain = host?.world.domains.get(id);
  return {
    state: row?.state, reason: row?.stateReasonCode, host: row?.host, addresses: claimed.length,
    claimedCores: row?.state === 'terminated' ? 0 : 1, someClaim: (claims?.claimedCores ?? 0) >= 0,
    domain: domain === undefined ? null : { state: domain.state, disks: domain.spec.disks.length },
    files: host?.files.paths().filter((path) => path.startsWith(`/instances/${id}`)).map((path) => path.replace(id, '')),
    ports: host?.network.host.firewall?.ports.filter((port) => port.instanceId === id).length ?? 0,
    leases: [...(host?.network.host.networks.values() ?? [])].flatMap((network) => network.hosts.filter(({ hostname }) => hostname === id)).length,
  };
}

const world = (context: InstanceContext): World<InstanceContext> => ({ context, snapshot: () => snapshot(context), close: async () => undefined });

/** Brought to running by the flow itself, then to the state in which the next flow begins. */
async function running(state: InstanceState = 'running'): Promise<InstanceContext> {
  const context = await placed();
  await runFlow(runInstance, context, memoryJournal());
  await cloud.database.db.update(instances).set({ state }).where(eq(instances.id, context.instance.id));
  return { ...context, instance: (await loadInstance(cloud.database.db, context.instance.id)) ?? context.instance };
}

async function stopped(): Promise<InstanceContext> {
  const context = await running('stopping');
  await runFlow(stopInstance, context, memoryJournal());
  await cloud.database.db.update(instances).set({ state: 'pending' }).where(eq(instances.id, context.instance.id));
  return context;
}

describe('M3: instance.run', () => checkFlow(runInstance, async () => world(await placed())));
describe('M3: instance.start', () => checkFlow(startInstance, async () => world(await stopped())));
describe('M3: instance.stop', () => checkFlow(stopInstance, async () => world(await running('stopping')), { undoable: false }));
describe('M3: instance.reboot', () => checkFlow(rebootInstance, async () => world(await running()), { undoable: false }));
describe('M3: instance.terminate', () => checkFlow(terminateInstance, async () => world(await running('shutting-down')), { undoable: false }));
