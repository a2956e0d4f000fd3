// The life of volumes through the product's own actors on several hosts: made, attached, grown, snapshotted, taken back, deleted, and what
// becomes of them when something fails or ends in between.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DriverError } from '../../src/lib/errors.ts';
import { volumeSerial } from '../../src/lib/ids.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { volumeProtocol } from '../../src/messages/volume.ts';
import { waitFor } from '../support/patience.ts';
import { createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';
import {
  attachmentFor, untilAttached, untilSnapshot, untilVolume, volumeOf, wishAttach, wishDelete, wishDetach, wishGrowth, wishSnapshot, wishVolume,
} from '../support/volume-wishes.ts';

let cloud: SimCloud;
beforeEach(async () => {
  cloud = await createSimCloud({ hosts: ['h1', 'h2'] });
});
afterEach(() => cloud.close());

async function runningInstance(): Promise<string> {
  const [id = ''] = await cloud.launch(1);
  await waitFor(`${id} runs`, { timeoutMs: 20_000 }, async () => ((await stateOf(cloud, id))?.state === 'running' ? true : undefined));
  return id;
}

const hostNamed = (name: string | null | undefined) => cloud.hosts.find((host) => host.name === name);
const keeperOf = async (volumeId: string) => hostNamed((await volumeOf(cloud, volumeId))?.host);
/** Serials of the volumes that the guest has. */
const disksOf = async (instanceId: string): Promise<string[]> => {
  const host = hostNamed((await stateOf(cloud, instanceId))?.host);
  const disks = await host?.compute.hypervisor.disks(instanceId) ?? [];
  return disks.filter(({ isPlugged, serial }) => isPlugged && serial !== 'root').map(({ serial }) => serial);
};
const exportsOf = async (volumeId: string) =>
  [...((await keeperOf(volumeId))?.volumes.exports.values() ?? [])].filter(({ spec }) => spec.volumeId === volumeId);

async function available(sizeGiB = 1): Promise<string> {
  const id = await wishVolume(cloud, { sizeGiB });
  await untilVolume(cloud, id, 'available');
  return id;
}

async function attached(): Promise<{ volumeId: string; instanceId: string }> {
  const [volumeId, instanceId] = [await available(), await runningInstance()];
  await wishAttach(cloud, volumeId, { instanceId, device: '/dev/sdf' });
  await untilAttached(cloud, volumeId);
  return { volumeId, instanceId };
}

describe('E20: a volume', () => {
  it('is placed, made, attached, grown under its guest, taken off, attached elsewhere and deleted, and nothing of it is left', async () => {
    const { volumeId, instanceId } = await attached();
    expect(await disksOf(instanceId)).toEqual([volumeSerial(volumeId)]);
    const instance = await stateOf(cloud, instanceId);
    expect((await exportsOf(volumeId)).map(({ spec }) => spec.initiators.map(({ name }) => name))).toEqual([[`iqn.2011-02.org.novact:${instance?.host}`]]);
    await wishGrowth(cloud, volumeId, 3);
    await waitFor('it has grown', { timeoutMs: 20_000 }, async () => ((await volumeOf(cloud, volumeId))?.sizeGiB === 3 ? true : undefined));
    expect((await keeperOf(volumeId))?.volumes.volumes.get(volumeId)?.sizeBytes).toBe(3 * 2 ** 30);
    expect((await exportsOf(volumeId)).map(({ sizeBytes }) => sizeBytes)).toEqual([3 * 2 ** 30]);
    await wishDetach(cloud, volumeId);
    await untilVolume(cloud, volumeId, 'available');
    expect(await disksOf(instanceId)).toEqual([]);
    expect(await exportsOf(volumeId)).toEqual([]);
    const other = await runningInstance();
    await wishAttach(cloud, volumeId, { instanceId: other, device: '/dev/sdg' });
    await untilAttached(cloud, volumeId);
    expect(await disksOf(other)).toEqual([volumeSerial(volumeId)]);
    await wishDetach(cloud, volumeId);
    await untilVolume(cloud, volumeId, 'available');
    const keeper = await keeperOf(volumeId);
    await wishDelete(cloud, volumeId);
    await untilVolume(cloud, volumeId, 'deleted');
    expect(keeper?.volumes.volumes.size).toBe(0);
  }, 90_000);

  it('V8: of twenty parallel attaches exactly one wins', async () => {
    const volumeId = await available();
    const instanceIds = await Promise.all(Array.from({ length: 4 }, runningInstance));
    const results = await Promise.all(Array.from({ length: 20 }, (_, index) =>
      wishAttach(cloud, volumeId, { instanceId: instanceIds[index % 4] ?? '', device: `/dev/sd${String.fromCharCode(102 + (index % 10))}` })));
    expect(results.filter((result) => !('refused' in result))).toHaveLength(1);
    expect(new Set(results.flatMap((result) => ('refused' in result ? [result.refused] : [])))).toEqual(new Set(['inUse']));
    await untilAttached(cloud, volumeId);
    expect((await Promise.all(instanceIds.map(disksOf))).flat()).toEqual([volumeSerial(volumeId)]);
    expect(await exportsOf(volumeId)).toHaveLength(1);
  }, 90_000);

  it('that cannot be made on one host is made on another', async () => {
    const [first] = cloud.hosts;
    for (const host of cloud.hosts) host.volumes.failNext('ensureVolume', new DriverError('failed', 'no room'));
    const id = await wishVolume(cloud);
    await untilVolume(cloud, id, 'error');
    expect((await volumeOf(cloud, id))?.stateReason).toContain('no room');
    first?.volumes.failNext('ensureVolume', new DriverError('failed', 'no room'));
    const next = await wishVolume(cloud);
    await untilVolume(cloud, next, 'available');
  }, 90_000);

  it('C4: that fits nowhere is in error at once, with its reason, and can be deleted', async () => {
    const id = await wishVolume(cloud, { sizeGiB: 5_000 });
    await untilVolume(cloud, id, 'error');
    expect((await volumeOf(cloud, id))?.stateReason).toBe('no volume host of the zone nova has room for 5000 GiB');
    await wishDelete(cloud, id);
    await untilVolume(cloud, id, 'deleted');
  });

  it('V9: that could not be deleted is in error, and can be deleted again', async () => {
    const id = await available();
    (await keeperOf(id))?.volumes.failNext('ensureVolumeAbsent', new DriverError('failed', 'the device is busy'));
    await wishDelete(cloud, id);
    await untilVolume(cloud, id, 'error');
    expect((await volumeOf(cloud, id))?.stateReason).toContain('the device is busy');
    await wishDelete(cloud, id);
    await untilVolume(cloud, id, 'deleted');
    for (const host of cloud.hosts) expect(host.volumes.volumes.size).toBe(0);
  });

  it('that cannot be attached is free again, and says why', async () => {
    const [volumeId, instanceId] = [await available(), await runningInstance()];
    (await keeperOf(volumeId))?.volumes.failNext('ensureExport', new DriverError('failed', 'tgtd is gone'));
    await wishAttach(cloud, volumeId, { instanceId, device: '/dev/sdf' });
    await untilVolume(cloud, volumeId, 'available');
    expect((await volumeOf(cloud, volumeId))?.stateReason).toContain('tgtd is gone');
    expect(await attachmentFor(cloud, volumeId)).toBeUndefined();
    expect(await exportsOf(volumeId)).toEqual([]);
  });
});

describe('V4: when its instance ends', () => {
  it('a volume is taken off and stays, and one that belongs to it goes with it', async () => {
    const { volumeId, instanceId } = await attached();
    await cloud.wish(instanceId, 'instance.terminate', 'shutting-down');
    await untilVolume(cloud, volumeId, 'available');
    expect(await exportsOf(volumeId)).toEqual([]);
    expect(await attachmentFor(cloud, volumeId)).toBeUndefined();
  }, 90_000);
});

describe('V5: after a restart', () => {
  it('a stopped instance starts with its volume', async () => {
    const { volumeId, instanceId } = await attached();
    await cloud.wish(instanceId, 'instance.stop', 'stopping');
    await waitFor('it is stopped', { timeoutMs: 20_000 }, async () => ((await stateOf(cloud, instanceId))?.state === 'stopped' ? true : undefined));
    expect(await disksOf(instanceId)).toEqual([]);
    await cloud.wish(instanceId, 'instance.start', 'pending');
    await waitFor('it runs', { timeoutMs: 20_000 }, async () => ((await stateOf(cloud, instanceId))?.state === 'running' ? true : undefined));
    expect(await disksOf(instanceId)).toEqual([volumeSerial(volumeId)]);
  }, 90_000);

  it('what served a volume has died: it is served again at once', async () => {
    const { volumeId } = await attached();
    const keeper = await keeperOf(volumeId);
    keeper?.volumes.killServer((await attachmentFor(cloud, volumeId))?.id ?? '');
    const isServed = async () => (await exportsOf(volumeId)).every((one) => one.isServed);
    await waitFor('it is served', { timeoutMs: 25_000, pollMs: 20 }, async () => ((await isServed()) ? true : undefined));
    expect(await exportsOf(volumeId)).toHaveLength(1);
  }, 90_000);
});

describe('E21: a snapshot', () => {
  it('V10: keeps what an attached volume held, and volumes are made of it after the volume is gone', async () => {
    const { volumeId } = await attached();
    const keeper = await keeperOf(volumeId);
    keeper?.volumes.write(volumeId, 0, 'before');
    const snapshotId = await wishSnapshot(cloud, volumeId);
    await untilSnapshot(cloud, snapshotId, 'completed');
    keeper?.volumes.write(volumeId, 0, 'after');
    const copy = await wishVolume(cloud, { snapshotId, sizeGiB: 2 });
    await untilVolume(cloud, copy, 'available');
    expect((await volumeOf(cloud, copy))?.host).toBe(keeper?.name);
    expect(keeper?.volumes.volumes.get(copy)?.content[0]).toBe('before');
  }, 90_000);

  it('of a volume that a guest has in place is copied by that guest, to the drafts beside it and nowhere else', async () => {
    await cloud.close();
    const copied: string[][] = [];
    cloud = await createSimCloud({ hosts: ['h1'], sim: () => ({ copyFile: async (from, to) => void copied.push([from, to]) }) });
    const { volumeId, instanceId } = await attached();
    const copy = (path: string, ids = { instanceId, volumeId }) =>
      cloud.transport.ask({ role: 'compute', host: 'h1' }, computeProtocol, 'copyVolume', { ...ids, path }, { timeoutMs: 10_000 });
    expect(await copy('/drafts/1')).toEqual({ copied: true });
    expect(copied).toEqual([[`/fake/${volumeId}`, '/drafts/1']]);
    for (const path of ['/etc/passwd', '/drafts/../fake/1', '/drafts/deeper/1']) await expect(copy(path)).rejects.toThrow('is not copied to');
    expect(await copy('/drafts/2', { instanceId, volumeId: await available() })).toEqual({ copied: false });
    expect(await copy('/drafts/2', { instanceId: await runningInstance(), volumeId })).toEqual({ copied: false });
    expect(copied).toHaveLength(1);
  }, 90_000);

  it('that cannot be made is in error, with its reason', async () => {
    const id = await available();
    (await keeperOf(id))?.volumes.failNext('ensureSnapshot', new DriverError('failed', 'no room'));
    const snapshotId = await wishSnapshot(cloud, id);
    await untilSnapshot(cloud, snapshotId, 'error');
  });
});

it('M8: a late request for an export changes nothing', async () => {
  const id = await available();
  const keeper = (await volumeOf(cloud, id))?.host ?? '';
  const answer = await cloud.transport.ask({ role: 'volume', host: keeper }, volumeProtocol, 'settleExports', { volumeId: id });
  expect(answer).toEqual({ attachmentId: null, connection: null });
  expect(await exportsOf(id)).toEqual([]);
});
