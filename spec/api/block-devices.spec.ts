// Block device mappings of launches and images, and the quotas of volumes, over the dispatcher and a real database.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { images, instances, snapshots, volumeAttachments, volumes } from '../../src/db/schema/all.ts';
import { newId } from '../../src/lib/ids.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Element, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
let image: string;
beforeAll(async () => {
  lab = await createEc2Lab();
});
beforeEach(async () => {
  await lab.clear();
  image = await lab.addImage();
});
afterAll(() => lab.close());

async function snapshot(sizeGiB = 2, projectId = lab.ann.projectId): Promise<string> {
  const id = newId('snap');
  const now = new Date();
  await lab.db.insert(snapshots).values({
    id, projectId, userId: 'u', volumeId: newId('vol'), sizeGiB, state: 'completed', host: 'host1', contentId: id, startedAt: now, completedAt: now,
  });
  return id;
}

/** `mapping(1, '/dev/sdf', { VolumeSize: 3 })`. */
const mapping = (index: number, device: string, ebs: Params = {}, other: Params = {}): Params => ({
  [`BlockDeviceMapping.${index}.DeviceName`]: device,
  ...Object.fromEntries(Object.entries(ebs).map(([name, value]) => [`BlockDeviceMapping.${index}.Ebs.${name}`, value])),
  ...Object.fromEntries(Object.entries(other).map(([name, value]) => [`BlockDeviceMapping.${index}.${name}`, value])),
});
const run = (params: Params = {}): Promise<Element> => lab.ask('RunInstances', { ImageId: image, MinCount: 1, MaxCount: 1, ...params });
const runCode = (params: Params = {}) => lab.codeOf('RunInstances', { ImageId: image, MinCount: 1, MaxCount: 1, ...params });
const idOf = (reservation: Element): string => String(at(reservation, 'instancesSet', 'item', 0, 'instanceId'));
const rowOf = async (id: string) => (await lab.db.select().from(instances).where(eq(instances.id, id)))[0];
const attached = async (instanceId: string) => (await lab.db.select({ attachment: volumeAttachments, volume: volumes }).from(volumeAttachments)
  .innerJoin(volumes, eq(volumes.id, volumeAttachments.volumeId)).where(eq(volumeAttachments.instanceId, instanceId)))
  .map(({ attachment, volume }) => [attachment.device, attachment.target, volume.sizeGiB, volume.snapshotId, attachment.deleteOnTermination]).toSorted();
const register = async (params: Params): Promise<string> => String((await lab.ask('RegisterImage', { Name: 'of a snapshot', ...params }))['imageId']);

describe('a launch with block device mappings', () => {
  it('has the root disk larger, and volumes beside it: empty, of a snapshot, with tags of their own', async () => {
    const snapshotId = await snapshot();
    const answer = await run({
      ...mapping(1, '/dev/vda', { VolumeSize: 9, DeleteOnTermination: true }), ...mapping(2, 'sdf', { VolumeSize: 5, DeleteOnTermination: false }),
      ...mapping(3, '/dev/sdg', { SnapshotId: snapshotId, VolumeType: 'gp3' }), ...mapping(4, '/dev/sdb', {}, { VirtualName: 'ephemeral0' }),
      ...mapping(5, '/dev/sdh', {}, { NoDevice: '' }),
      'TagSpecification.1.ResourceType': 'volume', 'TagSpecification.1.Tag.1.Key': 'of', 'TagSpecification.1.Tag.1.Value': 'launch',
    });
    const id = idOf(answer);
    expect(await rowOf(id)).toMatchObject({ rootGiB: 9, bootsFromVolume: false });
    expect(await attached(id)).toEqual([['/dev/sdf', 'vdb', 5, null, false], ['/dev/sdg', 'vdc', 2, snapshotId, true]]);
    expect(items(items(answer, 'instancesSet')[0] ?? {}, 'blockDeviceMapping').map((each) => each['deviceName'])).toEqual(['/dev/sdf', '/dev/sdg']);
    const shown = items(await lab.ask('DescribeVolumes', { 'Filter.1.Name': 'tag:of', 'Filter.1.Value.1': 'launch' }), 'volumeSet');
    expect(shown.map((each) => [each['size'], each['status'], each['volumeType']]).toSorted()).toEqual([['2', 'creating', 'gp3'], ['5', 'creating', 'gp2']]);
    // Nobody makes them before the host of the instance is known.
    expect((await lab.told()).map(({ verb }) => verb)).toEqual(['placeInstance']);
  });

  it('of several instances gives each its own', async () => {
    const answer = await run({ MaxCount: 3, ...mapping(1, '/dev/sdf', { VolumeSize: 1 }) });
    expect(items(answer, 'instancesSet')).toHaveLength(3);
    expect(await lab.db.select().from(volumes)).toHaveLength(3);
  });

  it('that asks for what is wrong or not there leaves nothing', async () => {
    const [foreign, own] = [await snapshot(2, lab.bob.projectId), await snapshot(4)];
    const refused: [Params, string][] = [
      [mapping(1, '/dev/vda', { VolumeSize: 2 }), 'InvalidBlockDeviceMapping'],
      [mapping(1, '/dev/vda', { SnapshotId: own }), 'InvalidBlockDeviceMapping'],
      [mapping(1, '/dev/vda', { DeleteOnTermination: false }), 'UnsupportedOperation'],
      [mapping(1, '/dev/sdf', { DeleteOnTermination: true }), 'MissingParameter'],
      [mapping(1, '/dev/sdf'), 'MissingParameter'],
      [mapping(1, '', { VolumeSize: 1 }), 'MissingParameter'],
      [mapping(1, 'floppy', { VolumeSize: 1 }), 'InvalidBlockDeviceMapping'],
      [{ ...mapping(1, '/dev/sdf', { VolumeSize: 1 }), ...mapping(2, 'sdf', { VolumeSize: 1 }) }, 'InvalidBlockDeviceMapping'],
      [mapping(1, '/dev/sdf', {}, { VirtualName: 'tape0' }), 'InvalidBlockDeviceMapping'],
      [mapping(1, '/dev/sdf', { SnapshotId: own, VolumeSize: 3 }), 'InvalidBlockDeviceMapping'],
      [mapping(1, '/dev/sdf', { SnapshotId: foreign }), 'InvalidSnapshot.NotFound'],
      [mapping(1, '/dev/sdf', { SnapshotId: 'snap-x' }), 'InvalidSnapshotID.Malformed'],
      [mapping(1, '/dev/sdf', { VolumeSize: 1, VolumeType: 'tape' }), 'UnknownVolumeType'],
      [mapping(1, '/dev/sdf', { VolumeSize: 1, Encrypted: true }), 'UnsupportedOperation'],
      [mapping(1, '/dev/sdf', { VolumeSize: 0 }), 'InvalidParameterValue'],
      [mapping(1, '/dev/sdf', { VolumeSize: 1_001 }), 'VolumeLimitExceeded'],
      [Object.assign({}, ...Array.from({ length: 26 }, (_, index) => mapping(index + 1, `/dev/xvdb${String.fromCharCode(97 + index)}`, { VolumeSize: 1 }))),
        'AttachmentLimitExceeded'],
    ];
    for (const [params, code] of refused) expect(await runCode(params), JSON.stringify(params).slice(0, 200)).toBe(code);
    expect(await lab.db.select().from(instances)).toEqual([]);
    expect(await lab.db.select().from(volumes)).toEqual([]);
  });
});

describe('an image of a snapshot', () => {
  it('is there at once, is shown with its devices, keeps its snapshot, and its instances boot from a volume', async () => {
    const [snapshotId, second] = [await snapshot(2), await snapshot(1)];
    const id = await register({ RootDeviceName: '/dev/xvda', ...mapping(1, '/dev/xvda', { SnapshotId: snapshotId }), ...mapping(2, '/dev/sdf',
      { SnapshotId: second, VolumeSize: 3, DeleteOnTermination: false }), ...mapping(3, '/dev/sdg', { VolumeSize: 1 }) });
    const [shown] = items(await lab.ask('DescribeImages', { 'ImageId.1': id }), 'imagesSet');
    expect(shown).toMatchObject({
      imageState: 'available', rootDeviceType: 'ebs', rootDeviceName: '/dev/xvda', imageLocation: `${lab.ann.projectId}/of a snapshot`,
    });
    expect(items(shown ?? {}, 'blockDeviceMapping').map((each) => [each['deviceName'], at(each, 'ebs', 'snapshotId'), at(each, 'ebs', 'volumeSize')]))
      .toEqual([['/dev/xvda', snapshotId, '2'], ['/dev/sdf', second, '3'], ['/dev/sdg', undefined, '1']]);
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: snapshotId })).toBe('InvalidSnapshot.InUse');
    const launched = idOf(await run({ ImageId: id, ...mapping(1, '/dev/xvda', { VolumeSize: 6, DeleteOnTermination: false }), ...mapping(2, '/dev/sdg', {},
      { NoDevice: '' }) }));
    expect(await rowOf(launched)).toMatchObject({ bootsFromVolume: true, rootGiB: 0, rootDeviceName: '/dev/xvda' });
    expect(await attached(launched)).toEqual([['/dev/sdf', 'vdb', 3, second, false], ['/dev/xvda', 'vda', 6, snapshotId, false]]);
    // Who may launch an image may have volumes of its snapshots.
    await lab.ask('ModifyImageAttribute', { ImageId: id, 'LaunchPermission.Add.1.Group': 'all' });
    expect(await lab.codeOf('DescribeSnapshots', { 'SnapshotId.1': snapshotId }, lab.bob)).toBe('InvalidSnapshot.NotFound');
    expect(await runCode({ ImageId: id, ...mapping(1, '/dev/xvda', { SnapshotId: second }) })).toBe('InvalidBlockDeviceMapping');
    expect(await runCode({ ImageId: id, ...mapping(1, '/dev/xvda', {}, { NoDevice: '' }) })).toBe('InvalidBlockDeviceMapping');
    expect(await runCode({ ImageId: id, ...mapping(1, '/dev/xvda', { VolumeSize: 1 }) })).toBe('InvalidBlockDeviceMapping');
    await lab.ask('DeregisterImage', { ImageId: id });
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: snapshotId })).toBe('InvalidSnapshot.InUse');
    await lab.db.update(volumes).set({ state: 'in-use' });
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: snapshotId })).toBe('ok');
  });

  it('needs a name, a snapshot for the root device, and no content of its own', async () => {
    const snapshotId = await snapshot();
    const root = mapping(1, '/dev/vda', { SnapshotId: snapshotId });
    const refused: [Params, string][] = [
      [root, 'MissingParameter'],
      [{ Name: 'n-1', ...mapping(1, '/dev/sdf', { SnapshotId: snapshotId }) }, 'InvalidBlockDeviceMapping'],
      [{ Name: 'n-1', ...mapping(1, '/dev/vda', { VolumeSize: 4 }) }, 'InvalidBlockDeviceMapping'],
      [{ Name: 'n-1', ...root, ImageLocation: 'anns/disk.img' }, 'InvalidBlockDeviceMapping'],
      [{ Name: 'n-1', ...root, KernelId: 'true' }, 'InvalidParameterCombination'],
    ];
    for (const [params, code] of refused) expect(await lab.codeOf('RegisterImage', params), JSON.stringify(params)).toBe(code);
    expect(await lab.db.select({ id: images.id }).from(images)).toEqual([{ id: image }]);
  });
});

describe('the devices of an instance', () => {
  it('can be told to stay or to go with it; the root disk of an image with content goes', async () => {
    const id = idOf(await run(mapping(1, '/dev/sdf', { VolumeSize: 1 })));
    const modify = (device: string, stays: boolean) =>
      lab.codeOf('ModifyInstanceAttribute', { InstanceId: id, ...mapping(1, device, { DeleteOnTermination: !stays }) });
    expect(await modify('/dev/sdf', true)).toBe('ok');
    expect((await attached(id))[0]?.at(-1)).toBe(false);
    const described = await lab.ask('DescribeInstanceAttribute', { InstanceId: id, Attribute: 'blockDeviceMapping' });
    expect(items(described, 'blockDeviceMapping').map((each) => at(each, 'ebs', 'deleteOnTermination'))).toEqual(['false']);
    expect([await modify('/dev/vda', false), await modify('/dev/vda', true), await modify('/dev/sdz', true)])
      .toEqual(['ok', 'UnsupportedOperation', 'InvalidInstanceAttributeValue']);
  });

  it('without its root volume it is not started', async () => {
    const imageId = await register(mapping(1, '/dev/vda', { SnapshotId: await snapshot() }));
    const id = idOf(await run({ ImageId: imageId }));
    await lab.db.update(instances).set({ state: 'stopped', host: 'host1' }).where(eq(instances.id, id));
    await lab.db.delete(volumeAttachments);
    expect(await lab.codeOf('StartInstances', { 'InstanceId.1': id })).toBe('IncorrectInstanceState');
  });
});

describe('V11: the quotas of a project', () => {
  it('of volumes and of gigabytes are refused with AWS\'s code, by launches too, and deletion gives the room back', async () => {
    const create = (size: number) => lab.codeOf('CreateVolume', { AvailabilityZone: 'nova', Size: size });
    expect([await create(990), await create(11), await create(10)]).toEqual(['ok', 'VolumeLimitExceeded', 'ok']);
    expect(await runCode(mapping(1, '/dev/sdf', { VolumeSize: 1 }))).toBe('VolumeLimitExceeded');
    const [large] = await lab.db.select().from(volumes).where(eq(volumes.sizeGiB, 990));
    await lab.db.update(volumes).set({ state: 'available' });
    expect(await lab.codeOf('ModifyVolume', { VolumeId: large?.id ?? '', Size: 991 })).toBe('VolumeLimitExceeded');
    expect(await lab.codeOf('DeleteVolume', { VolumeId: large?.id ?? '' })).toBe('ok');
    const codes = await Promise.all(Array.from({ length: 20 }, () => create(1)));
    expect(codes.filter((code) => code === 'ok')).toHaveLength(19);
    expect(codes.filter((code) => code === 'VolumeLimitExceeded')).toHaveLength(1);
  });
});
