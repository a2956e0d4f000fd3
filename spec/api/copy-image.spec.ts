// CopyImage over the dispatcher and a real database.
import { eq, inArray } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/auth/principal.ts';
import { operationsOf } from '../../src/db/operations.ts';
import { setLimit } from '../../src/db/quotas.ts';
import { images, projectQuotas, snapshotPermissions, snapshots } from '../../src/db/schema/all.ts';
import { newId } from '../../src/lib/ids.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
let bob: Principal;
let source: string;
beforeAll(async () => {
  lab = await createEc2Lab();
  bob = { ...lab.bob, roles: new Set(['sysadmin'] as const) };
});
afterAll(() => lab.close());
beforeEach(async () => {
  await lab.clear();
  await lab.db.delete(projectQuotas);
  source = await lab.addImage({ name: 'source', description: 'of the source', architecture: 'i386', rootDeviceName: '/dev/sda1' });
});

const params = (more: Params = {}): Params => ({ SourceImageId: source, SourceRegion: 'nova', Name: 'copy', ...more });
const copy = async (more: Params = {}, as?: Principal): Promise<string> => String((await lab.ask('CopyImage', params(more), as))['imageId']);
const codeOf = (more: Params = {}, as?: Principal) => lab.codeOf('CopyImage', params(more), as);
const see = async (id: string, as?: Principal) => items(await lab.ask('DescribeImages', { 'ImageId.1': id }, as), 'imagesSet')[0] ?? {};
const tag = (type: string, key: string, value: string): Params => ({
  'TagSpecification.1.ResourceType': type, 'TagSpecification.1.Tag.1.Key': key, 'TagSpecification.1.Tag.1.Value': value,
});

async function snapshot(change: Partial<typeof snapshots.$inferInsert> = {}): Promise<string> {
  const id = newId('snap');
  await lab.db.insert(snapshots).values({
    id, projectId: lab.ann.projectId, userId: 'u', volumeId: newId('vol'), sizeGiB: 2, state: 'completed', host: 'host1', contentId: id,
    startedAt: new Date(), ...change,
  });
  return id;
}

const mapped = (snapshotId: string) => ({ device: '/dev/sdf', snapshotId, sizeGiB: 2, type: 'gp2', deleteOnTermination: true });

describe('CopyImage', () => {
  it('makes a pending, private image of the caller\'s own, and tells the objectstore', async () => {
    await lab.ask('ModifyImageAttribute', { ImageId: source, 'LaunchPermission.Add.1.UserId': bob.projectId });
    await lab.told();
    const id = await copy({ Description: 'mine now' }, bob);
    expect(await see(id, bob)).toMatchObject({
      imageState: 'pending', imageOwnerId: bob.projectId, isPublic: 'false', name: 'copy', description: 'mine now', imageLocation: `${bob.projectId}/copy`,
      architecture: 'i386', rootDeviceName: '/dev/sda1', imageType: 'machine', sourceImageId: source, sourceImageRegion: 'nova',
    });
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': id })).toBe('InvalidAMIID.NotFound');
    const [operation] = await operationsOf(lab.db, id, 5);
    expect(operation).toMatchObject({ kind: 'image.copy', owner: 'objectstore', state: 'waiting', projectId: bob.projectId, input: { sourceImageId: source } });
    expect(await lab.told()).toEqual([{ to: 'objectstore', verb: 'performOperation', body: { imageId: id, operationId: operation?.id } }]);
    expect(items(await lab.ask('DescribeImages', { 'Filter.1.Name': 'source-image-id', 'Filter.1.Value.1': source }, bob), 'imagesSet')).toHaveLength(1);
  });

  it('copies only what the caller may launch', async () => {
    expect(await codeOf({}, bob)).toBe('InvalidAMIID.NotFound');
    expect(await codeOf({}, lab.bob)).toBe('UnauthorizedOperation');
    await lab.ask('ModifyImageAttribute', { ImageId: source, 'LaunchPermission.Add.1.Group': 'all' });
    expect(await codeOf({}, bob)).toBe('ok');
  });

  it('refuses what is missing or wrong, by AWS\'s codes, and leaves nothing', async () => {
    const pending = await lab.addImage({ name: 'unready', state: 'pending' });
    const gone = await lab.addImage({ name: 'gone', state: 'deregistered' });
    const refused: readonly [Params, string][] = [
      [{ SourceImageId: '' }, 'MissingParameter'], [{ SourceRegion: '' }, 'MissingParameter'], [{ Name: '' }, 'MissingParameter'],
      [{ SourceRegion: 'us-east-1' }, 'InvalidParameterValue'], [{ SourceImageId: 'x' }, 'InvalidAMIID.Malformed'],
      [{ SourceImageId: 'ami-00000000' }, 'InvalidAMIID.NotFound'], [{ SourceImageId: gone }, 'InvalidAMIID.NotFound'],
      [{ SourceImageId: pending }, 'InvalidAMIID.Unavailable'], [{ Name: 'ab' }, 'InvalidAMIName.Malformed'], [{ Name: 'source' }, 'InvalidAMIName.Duplicate'],
      [{ Description: 'x'.repeat(256) }, 'InvalidParameterValue'], [{ Encrypted: true }, 'UnsupportedOperation'], [{ KmsKeyId: 'k' }, 'UnsupportedOperation'],
      [{ DestinationOutpostArn: 'arn:aws:outposts:x' }, 'UnsupportedOperation'], [{ SnapshotCopyCompletionDurationMinutes: 20 }, 'InvalidParameterValue'],
      [{ ClientToken: 'x'.repeat(65) }, 'InvalidParameterValue'], [tag('volume', 'a', 'b'), 'InvalidParameterValue'],
    ];
    for (const [more, code] of refused) expect([more, await codeOf(more)]).toEqual([more, code]);
    expect(await lab.db.select().from(images).where(eq(images.name, 'copy'))).toEqual([]);
  });

  it('makes nothing again when it is repeated with its token, and is refused with other parameters', async () => {
    const id = await copy({ ClientToken: 'once' });
    expect(await copy({ ClientToken: 'once' })).toBe(id);
    await lab.db.update(images).set({ state: 'deregistered' }).where(eq(images.id, source));
    expect(await copy({ ClientToken: 'once' })).toBe(id);
    expect(await codeOf({ ClientToken: 'once', Name: 'other' })).toBe('IdempotentParameterMismatch');
    expect(await operationsOf(lab.db, id, 5)).toHaveLength(1);
  });

  it('makes one image of many requests at once with one token, and no more than the quota allows of those without', async () => {
    const same = await Promise.all(Array.from({ length: 8 }, () => copy({ ClientToken: 'race' })));
    expect(new Set(same).size).toBe(1);
    await setLimit(lab.db, lab.ann.projectId, 'images', 4);
    const codes = await Promise.all(Array.from({ length: 8 }, (_, index) => codeOf({ Name: `copy ${index}` })));
    expect(codes.filter((code) => code === 'ok')).toHaveLength(2);
    expect(codes.filter((code) => code === 'ResourceLimitExceeded')).toHaveLength(6);
  });

  it('copies the caller\'s own tags when he says so, under those of the request', async () => {
    await lab.ask('ModifyImageAttribute', { ImageId: source, 'LaunchPermission.Add.1.Group': 'all' });
    await lab.ask('CreateTags', { 'ResourceId.1': source, 'Tag.1.Key': 'os', 'Tag.1.Value': 'anns' });
    await lab.ask('CreateTags', { 'ResourceId.1': source, 'Tag.1.Key': 'os', 'Tag.1.Value': 'bobs', 'Tag.2.Key': 'use', 'Tag.2.Value': 'web' }, bob);
    expect((await see(await copy()))['tagSet']).toBe('');
    expect(items(await see(await copy({ Name: 'tagged', CopyImageTags: true }), lab.ann), 'tagSet')).toEqual([{ key: 'os', value: 'anns' }]);
    const bobs = await copy({ CopyImageTags: true, ...tag('image', 'use', 'db') }, bob);
    expect(items(await see(bobs, bob), 'tagSet')).toEqual([{ key: 'os', value: 'bobs' }, { key: 'use', value: 'db' }]);
  });

  it('copies the snapshots of the image, with tags of their own, so that the source\'s can go', async () => {
    const original = await snapshot();
    await lab.db.update(images).set({ devices: [mapped(original)] }).where(eq(images.id, source));
    const id = await copy(tag('snapshot', 'of', 'copy'));
    const mapping = items(await see(id), 'blockDeviceMapping');
    const made = String(at(mapping[1], 'ebs', 'snapshotId'));
    expect(made).not.toBe(original);
    expect((await lab.db.select().from(snapshots).where(eq(snapshots.id, made)))[0]).toMatchObject({
      state: 'completed', contentId: original, projectId: lab.ann.projectId, description: `Copied for DestinationAmi ${id} from SourceAmi ${source} for `
        + `SourceSnapshot ${original}.`,
    });
    const tagged = items(await lab.ask('DescribeSnapshots', { 'Filter.1.Name': 'tag:of', 'Filter.1.Value.1': 'copy' }), 'snapshotSet');
    expect(tagged.map((each) => each['snapshotId'])).toEqual([made]);
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: original })).toBe('InvalidSnapshot.InUse');
    await lab.ask('DeregisterImage', { ImageId: source });
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: original })).toBe('ok');
    expect(await lab.codeOf('DeleteSnapshot', { SnapshotId: made })).toBe('InvalidSnapshot.InUse');
  });

  it('needs the permission to use the snapshots of a shared image, and room for copies of all of them', async () => {
    const [first, second] = [await snapshot(), await snapshot()];
    await lab.db.update(images).set({ isPublic: true, devices: [mapped(first), { ...mapped(second), device: '/dev/sdg' }] }).where(eq(images.id, source));
    await lab.db.insert(snapshotPermissions).values({ snapshotId: first, projectId: bob.projectId });
    await expect(lab.ask('CopyImage', params(), bob)).rejects.toThrow('InvalidRequest: You do not have permission to access the storage of this ami');
    await lab.db.insert(snapshotPermissions).values({ snapshotId: second, projectId: bob.projectId });
    await setLimit(lab.db, bob.projectId, 'snapshots', 1);
    expect(await codeOf({}, bob)).toBe('SnapshotLimitExceeded');
    expect(await lab.db.select().from(snapshots).where(eq(snapshots.projectId, bob.projectId))).toEqual([]);
    expect(await lab.db.select().from(images).where(inArray(images.name, ['copy']))).toEqual([]);
    await setLimit(lab.db, bob.projectId, 'snapshots', 2);
    expect(await codeOf({}, bob)).toBe('ok');
  });
});
