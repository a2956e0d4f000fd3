// What a start of the compute role finds: unfinished work, guests to adopt, a machine that was restarted, a predecessor that is not dead.
import { eq } from 'drizzle-orm';
import { afterEach, describe, expect, it } from 'vitest';
import { performInstanceOperation } from '../../src/actors/compute/perform-instance-operation.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { takeEpoch } from '../../src/db/hosts.ts';
import { claimOfRow, loadInstance } from '../../src/db/instance-work.ts';
import { placeInstances } from '../../src/db/placement.ts';
import { takeOperation, unfinishedOperations } from '../../src/db/operations.ts';
import { instances } from '../../src/db/schema/all.ts';
import { networkProtocol } from '../../src/messages/network.ts';
import { createLocalTransport } from '../../src/transport/local.ts';
import { createSimCloud, startCompute, stateOf, type SimCloud, type SimCloudOptions, type SimHost } from '../support/sim-cloud.ts';
import { eventually } from '../support/waiting.ts';

let cloud: SimCloud | undefined;
afterEach(async () => {
  await cloud?.close();
  cloud = undefined;
});

async function laid(options: Pick<SimCloudOptions, 'sim'> = {}): Promise<{ made: SimCloud; host: SimHost }> {
  const made = await createSimCloud({ start: false, ...options });
  cloud = made;
  const [host] = made.hosts;
  if (host === undefined) throw new Error('no host');
  return { made, host };
}

async function placedOn(made: SimCloud, host: string): Promise<string> {
  const { db } = made.database;
  const [id = ''] = await made.launch(1);
  const instance = await loadInstance(db, id);
  const [operation] = await unfinishedOperations(db, id);
  if (instance === undefined || operation === undefined) throw new Error('nothing was launched');
  await placeInstances(
    db, [{ instanceId: instance.id, operationId: operation.id, host, claim: await claimOfRow(db, instance) }], { cores: 1, memory: 1, disk: 1 }, new Date(),
  );
  return id;
}

const reaches = (made: SimCloud, id: string, state: string) => eventually(async () => (await stateOf(made, id))?.state === state, `${id} to be ${state}`);
const never = new AbortController().signal;

describe('a start of the compute role', () => {
  it('finds the work that waits for it without any message', async () => {
    const { made, host } = await laid();
    const id = await placedOn(made, host.name);
    await startCompute(host.compute, made.transport);
    await reaches(made, id, 'running');
  });

  it('goes on with an operation that an earlier start left in the middle', async () => {
    const { made, host } = await laid();
    const id = await placedOn(made, host.name);
    const [operation] = await unfinishedOperations(made.database.db, id);
    const dying = new AbortController();
    const fetchImage = async (imageId: string) => {
      dying.abort();
      return `/images/${imageId}`;
    };
    if (operation === undefined) throw new Error('no operation');
    await expect(performInstanceOperation({ host: host.compute, fetchImage }, operation, { signal: dying.signal, hurry: never })).rejects.toThrow('stopping');
    const epoch = await takeEpoch(made.database.db, { host: host.name, role: 'compute' }, new Date());
    await startCompute({ ...host.compute, owner: { ...host.compute.owner, epoch } }, made.transport);
    await reaches(made, id, 'running');
  });

  it('takes the work from a predecessor that is still alive: that one changes nothing any more', async () => {
    const { made, host } = await laid();
    const id = await placedOn(made, host.name);
    const [operation] = await unfinishedOperations(made.database.db, id);
    if (operation === undefined) throw new Error('no operation');
    const fetchImage = async (imageId: string) => {
      // While the old start fetches, a new one takes the operation.
      const epoch = await takeEpoch(made.database.db, { host: host.name, role: 'compute' }, new Date());
      await takeOperation(made.database.db, { id: operation.id, owner: host.compute.owner.name, epoch, firstStep: 'image', now: new Date() });
      return `/images/${imageId}`;
    };
    await expect(performInstanceOperation({ host: host.compute, fetchImage }, operation, { signal: never, hurry: never })).rejects.toThrow('not held');
    expect((await stateOf(made, id))?.state).toBe('pending');
    expect(host.world.domains.size).toBe(0);
  });

  it('K13: starts the guests again that ran before the machine was restarted, and confirms the boot only then', async () => {
    const { made, host } = await laid();
    const id = await placedOn(made, host.name);
    const first = await startCompute(host.compute, made.transport);
    await reaches(made, id, 'running');
    host.world.domains.clear();
    await made.database.db.update(instances).set({ state: 'running' }).where(eq(instances.id, id));
    await host.compute.system.stop(1_000);
    expect(first).toBeDefined();
    const system = createActorSystem({ name: `again-${id}`, clock: host.compute.clock, log: host.compute.log, onFatal: () => undefined });
    const transport = createLocalTransport({ clock: host.compute.clock, log: host.compute.log, process: `again-${id}` });
    await transport.serve({ role: 'network', host: host.name }, networkProtocol, {
      ensurePort: () => ({ bridge: 'b', tap: 't', mac: '02:16:3e:00:00:01', address: '10.45.0.2' }), removePort: () => ({}),
      leavePort: () => ({}), refreshFirewall: () => undefined,
    });
    const epoch = await takeEpoch(made.database.db, { host: host.name, role: 'compute' }, new Date());
    let confirmed = false;
    await startCompute({ ...host.compute, system, transport, owner: { ...host.compute.owner, epoch } }, transport, async () => {
      confirmed = true;
    });
    await eventually(async () => host.world.domains.get(id)?.state === 'running');
    await eventually(async () => confirmed);
    await reaches(made, id, 'running');
    await system.stop(1_000);
    await transport.close();
  });

  it('K13: tries to start them again until it can, unless their user ends them meanwhile', async () => {
    let isReady = true;
    const refused = new Set<string>();
    const { made, host } = await laid({ sim: () => ({ failSpawnOn: ({ instanceId }) => (isReady ? undefined : (refused.add(instanceId), 'not yet')) }) });
    const ids = [await placedOn(made, host.name), await placedOn(made, host.name)] as const;
    const [back, ended] = ids;
    const ref = await startCompute(host.compute, made.transport);
    for (const id of ids) await reaches(made, id, 'running');
    isReady = false;
    host.world.domains.clear();
    await made.database.db.update(instances).set({ state: 'stopped', hostLost: true });
    for (const instanceId of ids) host.compute.system.tell(ref, { type: 'hypervisorChanged', instanceId });
    await eventually(async () => ids.every((id) => refused.has(id)));
    refused.clear();
    await eventually(async () => ids.every((id) => refused.has(id)));
    expect((await stateOf(made, back))?.state).toBe('pending');
    // Nothing relays here, and after five tries in a row its actor leaves the rest to the sweeper: it is woken as that one does.
    const wake = (instanceId: string) => host.compute.system.tell(ref, { type: 'work', instanceId });
    await made.wish(ended, 'instance.terminate', 'shutting-down');
    wake(ended);
    await reaches(made, ended, 'terminated');
    isReady = true;
    wake(back);
    await reaches(made, back, 'running');
  });

  it('removes a domain that appeared after its launch was given up here', async () => {
    const { made, host } = await laid();
    const id = await placedOn(made, host.name);
    const ref = await startCompute(host.compute, made.transport);
    await reaches(made, id, 'running');
    await made.database.db.update(instances).set({ state: 'terminated', terminatedAt: new Date(), host: null }).where(eq(instances.id, id));
    host.compute.system.tell(ref, { type: 'hypervisorChanged' });
    await eventually(async () => !host.world.domains.has(id) && !host.files.paths().some((path) => path.includes(id)));
  });

  it('removes what a terminated instance left behind, and leaves alone what it does not know', async () => {
    const { made, host } = await laid();
    const id = await placedOn(made, host.name);
    const ref = await startCompute(host.compute, made.transport);
    await reaches(made, id, 'running');
    await made.database.db.update(instances).set({ state: 'terminated', terminatedAt: new Date() }).where(eq(instances.id, id));
    host.files.put('/instances/i-unknown/root.qcow2', 1);
    host.compute.system.tell(ref, { type: 'hypervisorChanged' });
    await eventually(async () => !host.world.domains.has(id) && !host.files.paths().some((path) => path.includes(id)));
    expect(host.files.paths()).toContain('/instances/i-unknown/root.qcow2');
  });
});
