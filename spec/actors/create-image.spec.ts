// Images of instances: the flow against the generic proof, and what it makes of guests that run, go on, and rest; of volumes; and of what is given up.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { afterFailedImage, createImage } from '../../src/actors/compute/flows/create-image.ts';
import type { InstanceContext } from '../../src/actors/compute/flows/instance-context.ts';
import { failAbandonedImages } from '../../src/db/instance-images.ts';
import { loadImage } from '../../src/db/image-work.ts';
import { finishOperation, insertOperation, operationsOf } from '../../src/db/operations.ts';
import { instances, operations, snapshots } from '../../src/db/schema/all.ts';
import { loadSnapshot } from '../../src/db/snapshot-work.ts';
import type { HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { newId } from '../../src/lib/ids.ts';
import { checkFlow, memoryJournal } from '../support/flow-check.ts';
import { imaged, instanceWorld, running, stopped } from '../support/instance-worlds.ts';
import { createSimCloud, type SimCloud } from '../support/sim-cloud.ts';
import { eventually } from '../support/waiting.ts';

let cloud: SimCloud;
beforeAll(async () => {
  cloud = await createSimCloud({ start: false, cores: 1_000, memoryMiB: 2 ** 30 });
});
afterAll(() => cloud.close());

describe('E24: instance.createImage', () => checkFlow(createImage, async () => instanceWorld(cloud, await imaged(cloud, await running(cloud), true))));

const domainOf = ({ instance }: InstanceContext) => cloud.hosts[0]?.world.domains.get(instance.id);
const imageOf = async ({ input }: InstanceContext) => loadImage(cloud.database.db, String(input['imageId']));

/** How often the guest began to boot while the flow ran. */
async function bootsDuring(context: InstanceContext): Promise<number> {
  const boots = () => domainOf(context)?.console.toString().split(' boots').length ?? 0;
  const before = boots();
  expect(await runFlow(createImage, context, memoryJournal())).toMatchObject({ done: true });
  return boots() - before;
}

describe('an image of an instance', () => {
  it('restarts a guest that runs, and lets one go on where NoReboot says so', async () => {
    const [restarted, untouched] = [await imaged(cloud, await running(cloud), true), await imaged(cloud, await running(cloud), false)];
    expect([await bootsDuring(restarted), await bootsDuring(untouched)]).toEqual([1, 0]);
    expect(await imageOf(untouched)).toMatchObject({ state: 'available', format: 'qcow2', sha256: '0'.repeat(64) });
    expect([domainOf(restarted)?.state, domainOf(untouched)?.state]).toEqual(['running', 'running']);
  });

  it('leaves a stopped instance as it is, and one that its user stopped meanwhile', async () => {
    const resting = await imaged(cloud, await stopped(cloud, 'stopped'), true);
    expect(await bootsDuring(resting)).toBe(0);
    const leaving = await imaged(cloud, await running(cloud), true);
    await cloud.database.db.update(instances).set({ state: 'stopping' }).where(eq(instances.id, leaving.instance.id));
    expect(await bootsDuring(leaving)).toBe(0);
    expect(domainOf(leaving)?.state).toBe('shutoff');
    expect(await imageOf(leaving)).toMatchObject({ state: 'available' });
  });

  it('is not begun of a guest that goes on where the hypervisor cannot copy it, and says why', async () => {
    const context = await imaged(cloud, await running(cloud), false);
    const sim = context.host.hypervisor;
    const hypervisor = { info: sim.info, copier: undefined, list: (cloudId: string) => sim.list(cloudId) } as Partial<HypervisorDriver> as HypervisorDriver;
    const result = await runFlow(createImage, { ...context, host: { ...context.host, hypervisor } }, memoryJournal());
    expect(result).toMatchObject({ done: false, error: expect.stringContaining('leave out NoReboot') });
  });
});

describe('snapshots for an image', () => {
  async function withSnapshot(): Promise<{ context: InstanceContext; snapshotId: string }> {
    const { db } = cloud.database;
    const context = await imaged(cloud, await running(cloud), true);
    const [snapshotId, volumeId] = [newId('snap'), newId('vol')];
    const deadline = new Date(Date.now() + 60_000);
    await db.insert(snapshots).values({
      id: snapshotId, projectId: context.instance.projectId, userId: 'u', volumeId, sizeGiB: 1, state: 'pending', stateDeadline: deadline,
      host: 'volumes', contentId: snapshotId, startedAt: new Date(),
    });
    return { context: { ...context, input: { ...context.input, snapshotIds: [snapshotId] } }, snapshotId };
  }
  const workOn = async (snapshotId: string) => {
    const snapshot = await loadSnapshot(cloud.database.db, snapshotId);
    return operationsOf(cloud.database.db, snapshot?.volumeId ?? '', 10);
  };
  const settle = (snapshotId: string, change: Partial<typeof snapshots.$inferInsert>) =>
    cloud.database.db.update(snapshots).set(change).where(eq(snapshots.id, snapshotId));

  it('are begun once, when the guest has ended, and waited for before it starts again', async () => {
    const { context, snapshotId } = await withSnapshot();
    const work = runFlow(createImage, context, memoryJournal());
    await eventually(async () => (await workOn(snapshotId)).length > 0);
    expect(domainOf(context)?.state).toBe('shutoff');
    await settle(snapshotId, { state: 'completed' });
    expect(await work).toMatchObject({ done: true });
    expect(domainOf(context)?.state).toBe('running');
    expect(await workOn(snapshotId)).toMatchObject([{ kind: 'volume.snapshot', owner: 'volume@volumes', input: { snapshotId } }]);
  });

  it('fail the image when one cannot be made: the guest runs again, and the others go', async () => {
    const { context, snapshotId } = await withSnapshot();
    const work = runFlow(createImage, context, memoryJournal());
    await eventually(async () => (await workOn(snapshotId)).length > 0);
    await settle(snapshotId, { state: 'error', stateReason: 'the disk is full' });
    expect(await work).toMatchObject({ done: false, error: expect.stringContaining('the disk is full') });
    expect(domainOf(context)?.state).toBe('running');
    await afterFailedImage({ ...context }, 'the disk is full');
    expect(await imageOf(context)).toMatchObject({ state: 'failed', stateReasonCode: 'Server.InternalError', stateReason: 'the disk is full', devices: [] });
    expect(await loadSnapshot(cloud.database.db, snapshotId)).toMatchObject({ state: 'deleting' });
    expect(await operationsOf(cloud.database.db, snapshotId, 5)).toMatchObject([{ kind: 'snapshot.delete', owner: 'volume@volumes' }]);
  });
});

describe('a pending image', () => {
  it('fails when nobody works on it any more, and not before', async () => {
    const { db } = cloud.database;
    const context = await imaged(cloud, await running(cloud), true);
    const { imageId } = context.input as { imageId: string };
    const at = (minutes: number) => new Date(Date.now() + minutes * 60_000);
    const { projectId, id: resourceId } = context.instance;
    const operationId = await insertOperation(db, {
      kind: 'instance.createImage', resourceId, projectId, userId: 'u', requestId: 'r', input: { imageId }, owner: 'compute@spec', deadline: at(60),
    }, at(0));
    expect(await failAbandonedImages(db, at(30))).not.toContain(imageId);
    await finishOperation(db, operationId, { state: 'failed', error: 'gone' }, at(0));
    expect(await failAbandonedImages(db, at(1))).not.toContain(imageId);
    expect(await failAbandonedImages(db, at(11))).toContain(imageId);
    expect(await imageOf(context)).toMatchObject({ state: 'failed', stateReason: 'not done within its time' });
    await db.delete(operations).where(eq(operations.id, operationId));
  });
});
