// Instances that are launched with volumes, and that boot from one: through the product's own actors on two simulated hosts.
import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { insertLaunchVolumes, type LaunchVolume } from '../../src/db/launch-volumes.ts';
import { volumesOfInstance } from '../../src/db/attachments.ts';
import { volumeHosts } from '../../src/db/schema/all.ts';
import { DriverError } from '../../src/lib/errors.ts';
import { volumeSerial } from '../../src/lib/ids.ts';
import { waitFor } from '../support/patience.ts';
import { createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';
import { untilSnapshot, untilVolume, volumeOf, wishSnapshot, wishVolume } from '../support/volume-wishes.ts';

let cloud: SimCloud;
beforeEach(async () => {
  cloud = await createSimCloud({ hosts: ['h1', 'h2'] });
});
afterEach(() => cloud.close());

const disk = (changes: Partial<LaunchVolume>): LaunchVolume => (
  { device: '/dev/sdf', target: 'vdb', snapshotId: null, sizeGiB: 1, type: 'gp2', iops: null, throughput: null, deleteOnTermination: true, ...changes }
);

async function launchWith(volumes: readonly LaunchVolume[], changes: Parameters<SimCloud['launch']>[1] = {}): Promise<string> {
  const now = new Date();
  const contents = new Map(volumes.flatMap(({ snapshotId }) => (snapshotId === null ? [] : [[snapshotId, snapshotId] as const])));
  const [id = ''] = await cloud.launch(1, changes, (tx, instanceIds) => insertLaunchVolumes(tx, {
    instanceIds, volumes, contents, projectId: cloud.projectId, userId: 'u', zone: 'nova', tags: [], quota: { volumes: 10, gigabytes: 100 },
    deadline: new Date(now.getTime() + 60_000),
  }, now));
  return id;
}

const until = (id: string, state: string) => waitFor(`${id} is ${state}`, { timeoutMs: 25_000 }, async () => {
  const row = await stateOf(cloud, id);
  if (row?.state === state) return true;
  throw new Error(`it is ${row?.state}: ${row?.stateReasonMessage}`);
});

async function disksOf(instanceId: string): Promise<string[]> {
  const name = (await stateOf(cloud, instanceId))?.host;
  const host = cloud.hosts.find((one) => one.name === name);
  const disks = await host?.compute.hypervisor.disks(instanceId) ?? [];
  return disks.filter(({ isPlugged }) => isPlugged).map(({ target, serial }) => `${target} ${serial}`);
}

/** A snapshot with `text` at its beginning. */
async function snapshotWith(text: string): Promise<string> {
  const source = await wishVolume(cloud);
  await untilVolume(cloud, source, 'available');
  for (const { volumes } of cloud.hosts) if (volumes.volumes.has(source)) volumes.write(source, 0, text);
  const snapshotId = await wishSnapshot(cloud, source);
  await untilSnapshot(cloud, snapshotId, 'completed');
  return snapshotId;
}

const contentOf = (volumeId: string) => cloud.hosts.map(({ volumes }) => volumes.volumes.get(volumeId)?.content[0]).find((text) => text !== undefined);

describe('an instance that is launched with volumes', () => {
  it('has them when it runs, and those that belong to it go with it', async () => {
    const snapshotId = await snapshotWith('kept');
    const id = await launchWith([disk({ sizeGiB: 2, deleteOnTermination: false }), disk({ device: '/dev/sdg', target: 'vdc', snapshotId })]);
    await until(id, 'running');
    const [first, second] = await volumesOfInstance(cloud.database.db, id);
    if (first === undefined || second === undefined) throw new Error('two volumes were expected');
    expect([first, second].map(({ attachment, volume }) => [attachment.state, volume.state, volume.sizeGiB]))
      .toEqual([['attached', 'in-use', 2], ['attached', 'in-use', 1]]);
    expect(await disksOf(id)).toEqual(['vda root', `vdb ${volumeSerial(first.volume.id)}`, `vdc ${volumeSerial(second.volume.id)}`]);
    expect(contentOf(second.volume.id)).toBe('kept');
    await cloud.wish(id, 'instance.terminate', 'shutting-down');
    await untilVolume(cloud, first.volume.id, 'available');
    await untilVolume(cloud, second.volume.id, 'deleted');
    for (const { volumes } of cloud.hosts) expect(volumes.exports.size).toBe(0);
  }, 90_000);

  it('goes to a host that can have them, where volume hosts serve nobody but themselves', async () => {
    const { db } = cloud.database;
    await db.update(volumeHosts).set({ isRemote: false });
    await db.update(volumeHosts).set({ enabled: false }).where(eq(volumeHosts.name, 'h1'));
    // The emptiest host is taken: one of the two comes to h1 first.
    const ids = [await launchWith([disk({})]), await launchWith([disk({})])];
    for (const id of ids) await until(id, 'running');
    expect(await Promise.all(ids.map(async (id) => (await stateOf(cloud, id))?.host))).toEqual(['h2', 'h2']);
    expect((await Promise.all(ids.map(async (id) => (await stateOf(cloud, id))?.failedHosts))).flat()).toEqual(['h1']);
  }, 90_000);

  it('ends, with the reason, when one cannot be made, and leaves nothing that was to go with it', async () => {
    for (const { volumes } of cloud.hosts) volumes.failNext('ensureVolume', new DriverError('failed', 'no room'));
    const id = await launchWith([disk({})]);
    const [attached] = await volumesOfInstance(cloud.database.db, id);
    await until(id, 'terminated');
    expect((await stateOf(cloud, id))?.stateReasonMessage).toContain('no room');
    await waitFor('its volume is gone', { timeoutMs: 25_000 }, async () => {
      const row = await volumeOf(cloud, attached?.volume.id ?? '');
      return row === undefined || row.state === 'deleted' ? true : undefined;
    });
  }, 90_000);
});

describe('an instance that boots from a volume', () => {
  it('K6: has it as its first disk and nothing of the image, and keeps it while it is stopped', async () => {
    const snapshotId = await snapshotWith('a system');
    const id = await launchWith([disk({ device: '/dev/vda', target: 'vda', snapshotId })], { bootsFromVolume: true, rootGiB: 0 });
    await until(id, 'running');
    const [root] = await volumesOfInstance(cloud.database.db, id);
    const volumeId = root?.volume.id ?? '';
    expect(await disksOf(id)).toEqual([`vda ${volumeSerial(volumeId)}`]);
    expect(contentOf(volumeId)).toBe('a system');
    await cloud.wish(id, 'instance.stop', 'stopping');
    await until(id, 'stopped');
    await cloud.wish(id, 'instance.start', 'pending');
    await until(id, 'running');
    expect(await disksOf(id)).toEqual([`vda ${volumeSerial(volumeId)}`]);
    await cloud.wish(id, 'instance.terminate', 'shutting-down');
    await untilVolume(cloud, volumeId, 'deleted');
  }, 90_000);
});
