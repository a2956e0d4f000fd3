// CreateImage over the dispatcher and a real database: what is asked for, what it makes, and what is refused.
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { operationsOf } from '../../src/db/operations.ts';
import { images, instances, snapshots, volumeAttachments, volumes } from '../../src/db/schema/all.ts';
import { newId } from '../../src/lib/ids.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
let instance: string;
beforeAll(async () => {
  lab = await createEc2Lab();
});
beforeEach(async () => {
  await lab.clear();
  instance = await launch();
});
afterAll(() => lab.close());

async function launch(change: Partial<typeof instances.$inferInsert> = {}): Promise<string> {
  const reservation = await lab.ask('RunInstances', { ImageId: await lab.addImage(), MinCount: 1, MaxCount: 1 });
  const id = String(at(reservation, 'instancesSet', 'item', 0, 'instanceId'));
  await lab.db.update(instances).set({ state: 'running', host: 'host1', ...change }).where(eq(instances.id, id));
  return id;
}

async function attach(device: string, change: Partial<typeof volumes.$inferInsert> = {}): Promise<string> {
  const id = newId('vol');
  const now = new Date();
  await lab.db.insert(volumes).values({
    id, projectId: lab.ann.projectId, userId: 'u', sizeGiB: 3, type: 'gp3', zone: 'nova', host: 'volumes1', state: 'in-use', createdAt: now,
    stateChangedAt: now, ...change,
  });
  await lab.db.insert(volumeAttachments).values({
    id: newId('vat'), volumeId: id, instanceId: instance, device, target: `vd${device.at(-1)}`, state: 'attached', attachedAt: now,
  });
  return id;
}

const create = async (params: Params = {}): Promise<string> =>
  String((await lab.ask('CreateImage', { InstanceId: instance, Name: 'of mine', ...params }))['imageId']);
const codeOf = (params: Params = {}) => lab.codeOf('CreateImage', { InstanceId: instance, Name: 'of mine', ...params });
const see = async (id: string) => items(await lab.ask('DescribeImages', { 'ImageId.1': id }), 'imagesSet')[0] ?? {};
const madeOf = (volumeId: string) => lab.db.select().from(snapshots).where(eq(snapshots.volumeId, volumeId));
const mapping = (device: string, values: Params): Params => ({
  'BlockDeviceMapping.1.DeviceName': device, ...Object.fromEntries(Object.entries(values).map(([name, value]) => [`BlockDeviceMapping.1.${name}`, value])),
});

describe('CreateImage', () => {
  it('makes a pending image that boots as the instance does, and tells the host of the instance', async () => {
    await lab.told();
    const id = await create({
      Description: 'nightly', 'TagSpecification.1.ResourceType': 'image', 'TagSpecification.1.Tag.1.Key': 'of', 'TagSpecification.1.Tag.1.Value': 'night',
    });
    expect(await see(id)).toMatchObject({
      imageState: 'pending', name: 'of mine', description: 'nightly', imageOwnerId: lab.ann.projectId, imageLocation: `${lab.ann.projectId}/of mine`,
      imageType: 'machine', isPublic: 'false', rootDeviceType: 'ebs', rootDeviceName: '/dev/vda', tagSet: { item: [{ key: 'of', value: 'night' }] },
    });
    const [operation] = await operationsOf(lab.db, instance, 1);
    expect(operation).toMatchObject({
      kind: 'instance.createImage', owner: 'compute@host1', state: 'waiting', input: { imageId: id, snapshotIds: [], reboots: true },
    });
    expect((await lab.told()).filter(({ to }) => to === 'compute@host1').at(-1)).toEqual(
      { to: 'compute@host1', verb: 'performOperation', body: { instanceId: instance, operationId: operation?.id } });
  });

  it('lets the guest go on when NoReboot says so, and takes stopped instances', async () => {
    await create({ NoReboot: true });
    expect((await operationsOf(lab.db, instance, 1))[0]?.input).toMatchObject({ reboots: false });
    await lab.db.update(instances).set({ state: 'stopped' }).where(eq(instances.id, instance));
    expect(await codeOf({ Name: 'another' })).toBe('ok');
  });

  it('has a snapshot of every volume in its mapping, each pending and not begun, with tags of its own', async () => {
    const volumeId = await attach('/dev/sdf');
    const id = await create({
      'TagSpecification.1.ResourceType': 'snapshot', 'TagSpecification.1.Tag.1.Key': 'of', 'TagSpecification.1.Tag.1.Value': 'image',
    });
    const [snapshot] = await madeOf(volumeId);
    expect(snapshot).toMatchObject({ state: 'pending', sizeGiB: 3, host: 'volumes1', description: `Created by CreateImage(${instance}) for ${id}` });
    expect(items(await see(id), 'blockDeviceMapping').map((each) => [each['deviceName'], at(each, 'ebs', 'snapshotId')])).toEqual(
      [['/dev/vda', undefined], ['/dev/sdf', snapshot?.id]]);
    expect(await operationsOf(lab.db, volumeId, 5)).toEqual([]);
    const shown = items(await lab.ask('DescribeSnapshots', { 'Filter.1.Name': 'tag:of', 'Filter.1.Value.1': 'image' }), 'snapshotSet');
    expect(shown.map((each) => each['snapshotId'])).toEqual([snapshot?.id]);
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: snapshot?.id ?? '' })).toBe('IncorrectState');
  });

  it('is the snapshot of its root volume for an instance that boots from one', async () => {
    await lab.db.update(instances).set({ bootsFromVolume: true }).where(eq(instances.id, instance));
    const volumeId = await attach('/dev/vda');
    const id = await create();
    const [snapshot] = await madeOf(volumeId);
    expect(items(await see(id), 'blockDeviceMapping')).toMatchObject([
      { deviceName: '/dev/vda', ebs: { snapshotId: snapshot?.id, volumeSize: '3', volumeType: 'gp3', deleteOnTermination: 'true' } },
    ]);
    expect(await codeOf({ Name: 'rootless', ...mapping('/dev/vda', { NoDevice: '' }) })).toBe('InvalidBlockDeviceMapping');
  });

  it('changes, leaves out and adds what the mapping says', async () => {
    const volumeId = await attach('/dev/sdf');
    const larger = await create({ Name: 'larger', ...mapping('/dev/sdf', { 'Ebs.VolumeSize': 5, 'Ebs.DeleteOnTermination': true }) });
    expect(items(await see(larger), 'blockDeviceMapping')[1]).toMatchObject({ ebs: { volumeSize: '5', deleteOnTermination: 'true' } });
    const without = await create({ Name: 'without', ...mapping('/dev/sdf', { NoDevice: '' }) });
    expect(items(await see(without), 'blockDeviceMapping')).toHaveLength(1);
    const added = await create({ Name: 'added', ...mapping('/dev/sdg', { 'Ebs.VolumeSize': 2 }) });
    expect(items(await see(added), 'blockDeviceMapping').map((each) => each['deviceName'])).toEqual(['/dev/vda', '/dev/sdf', '/dev/sdg']);
    expect(await madeOf(volumeId)).toHaveLength(2);
    expect(await codeOf(mapping('/dev/sdf', { 'Ebs.VolumeSize': 2 }))).toBe('InvalidBlockDeviceMapping');
    expect(await codeOf(mapping('/dev/sdf', { 'Ebs.SnapshotId': newId('snap') }))).toBe('InvalidBlockDeviceMapping');
    expect(await codeOf(mapping('/dev/sdf', { 'Ebs.Encrypted': true }))).toBe('UnsupportedOperation');
    expect(await codeOf(mapping('/dev/vda', { 'Ebs.VolumeSize': 50 }))).toBe('UnsupportedOperation');
  });

  it('refuses what is wrong with the request, by AWS\'s codes', async () => {
    const wrong: readonly [Params, string][] = [
      [{ InstanceId: 'i-0fffffffffffffff1' }, 'InvalidInstanceID.NotFound'], [{ InstanceId: 'x' }, 'InvalidInstanceID.Malformed'],
      [{ InstanceId: '' }, 'MissingParameter'], [{ Name: '' }, 'MissingParameter'], [{ Name: 'ab' }, 'InvalidAMIName.Malformed'],
      [{ Description: 'x'.repeat(256) }, 'InvalidParameterValue'],
      [{ 'TagSpecification.1.ResourceType': 'volume', 'TagSpecification.1.Tag.1.Key': 'a' }, 'InvalidParameterValue'],
    ];
    for (const [params, code] of wrong) expect([params, await codeOf(params)]).toEqual([params, code]);
    for (const state of ['pending', 'stopping', 'shutting-down', 'terminated'] as const) {
      await lab.db.update(instances).set({ state }).where(eq(instances.id, instance));
      expect([state, await codeOf()]).toEqual([state, 'IncorrectInstanceState']);
    }
  });

  it('refuses a name that is taken, and instances of others', async () => {
    const id = await create();
    await expect(lab.ask('CreateImage', { InstanceId: instance, Name: 'of mine' })).rejects.toThrow(`AMI name of mine is already in use by AMI ${id}`);
    const bob = { ...lab.bob, roles: new Set(['sysadmin'] as const) };
    expect(await lab.codeOf('CreateImage', { InstanceId: instance, Name: 'of hers' }, bob)).toBe('InvalidInstanceID.NotFound');
  });

  it('makes all of it or nothing: of a volume that is on its way elsewhere, and beyond the quota of snapshots', async () => {
    const volumeId = await attach('/dev/sdf');
    await attach('/dev/sdg', { state: 'error' });
    expect(await codeOf()).toBe('IncorrectState');
    await lab.db.update(volumes).set({ state: 'in-use' });
    const startedAt = new Date();
    const row = { projectId: lab.ann.projectId, userId: 'u', volumeId: newId('vol'), sizeGiB: 1, state: 'completed' as const, host: 'h', startedAt };
    await lab.db.insert(snapshots).values(Array.from({ length: 19 }, () => ({ ...row, id: newId('snap'), contentId: newId('snap') })));
    expect(await codeOf()).toBe('SnapshotLimitExceeded');
    expect(await madeOf(volumeId)).toEqual([]);
    expect(await lab.db.select().from(images).where(and(eq(images.projectId, lab.ann.projectId), eq(images.name, 'of mine')))).toEqual([]);
  });
});
