// Imports of images over the dispatcher and a real database.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/auth/principal.ts';
import { failImport, noteImport, publishImport } from '../../src/db/imports.ts';
import { operationsOf } from '../../src/db/operations.ts';
import { setLimit } from '../../src/db/quotas.ts';
import { buckets, images, importTasks, objects, projectQuotas } from '../../src/db/schema/all.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
let bob: Principal;
beforeAll(async () => {
  lab = await createEc2Lab();
  bob = { ...lab.bob, roles: new Set(['sysadmin'] as const) };
  const now = new Date();
  for (const [name, projectId] of [['anns', lab.ann.projectId], ['bobs', lab.bob.projectId]] as const) {
    await lab.db.insert(buckets).values({ name, projectId, createdAt: now });
    await lab.db.insert(objects).values({
      bucket: name, key: 'a/disk.vmdk', acl: 'private', projectId, blobId: `blob-${name}`, sizeBytes: 10, etag: 'e', headers: {}, metadata: {}, checksums: {},
      modifiedAt: now,
    });
  }
});
afterAll(() => lab.close());
beforeEach(async () => {
  await lab.clear();
  await lab.db.delete(importTasks);
  await lab.db.delete(projectQuotas);
});

const disk = (more: Params = {}): Params => ({ 'DiskContainer.1.UserBucket.S3Bucket': 'anns', 'DiskContainer.1.UserBucket.S3Key': 'a/disk.vmdk', ...more });
const start = (more: Params = {}, as?: Principal) => lab.ask('ImportImage', disk(more), as);
const idOf = async (more: Params = {}): Promise<string> => String((await start(more))['importTaskId']);
const codeOf = (more: Params = {}, as?: Principal) => lab.codeOf('ImportImage', disk(more), as);
const tasks = async (params: Params = {}, as?: Principal) => items(await lab.ask('DescribeImportImageTasks', params, as), 'importImageTaskSet');
const see = async (id: string) => (await tasks({ 'ImportTaskId.1': id }))[0] ?? {};
const rowOf = async (id: string) => (await lab.db.select().from(importTasks).where(eq(importTasks.id, id)))[0] ?? expect.fail('no task');

describe('ImportImage', () => {
  it('begins an import of an object that the caller may read, and tells the objectstore', async () => {
    await lab.told();
    const made = await start({
      Description: 'from another cloud', 'DiskContainer.1.Format': 'VMDK', Platform: 'linux', Architecture: 'i386', 'TagSpecification.1.ResourceType':
        'import-image-task', 'TagSpecification.1.Tag.1.Key': 'of', 'TagSpecification.1.Tag.1.Value': 'them',
    });
    const id = String(made['importTaskId']);
    expect(id).toMatch(/^import-ami-[0-9a-f]{17}$/);
    expect(made).toMatchObject({
      status: 'active', statusMessage: 'pending', progress: '0', description: 'from another cloud', platform: 'Linux', architecture: 'i386',
    });
    const { imageId } = await rowOf(id);
    const [image] = items(await lab.ask('DescribeImages', { 'ImageId.1': imageId }), 'imagesSet');
    expect(image).toMatchObject({ imageState: 'pending', name: id, description: 'from another cloud', imageLocation: 'anns/a/disk.vmdk', isPublic: 'false' });
    const [operation] = await operationsOf(lab.db, imageId, 5);
    expect(operation).toMatchObject({
      kind: 'image.import', owner: 'objectstore', state: 'waiting',
      input: { taskId: id, format: 'vmdk', source: { kind: 'object', bucket: 'anns', key: 'a/disk.vmdk' } },
    });
    expect(await lab.told()).toEqual([{ to: 'objectstore', verb: 'performOperation', body: { imageId, operationId: operation?.id } }]);
    expect(items(await see(id), 'tagSet')).toEqual([{ key: 'of', value: 'them' }]);
    await lab.ask('CreateTags', { 'ResourceId.1': id, 'Tag.1.Key': 'more', 'Tag.1.Value': 'x' });
    expect(await tasks({ 'Filter.1.Name': 'tag:more', 'Filter.1.Value.1': 'x' })).toHaveLength(1);
  });

  it('takes a location by s3 URL', async () => {
    const made = await lab.ask('ImportImage', { 'DiskContainer.1.Url': 's3://anns/a/disk.vmdk' });
    expect(at(made, 'snapshotDetailSet', 'item', 0, 'userBucket')).toEqual({ s3Bucket: 'anns', s3Key: 'a/disk.vmdk' });
  });

  it('refuses what is missing, foreign, elsewhere or not to be had, and leaves nothing', async () => {
    const url = (Url: string): Params => ({ 'DiskContainer.1.Url': Url });
    const refused: readonly [Params, string][] = [
      [{}, 'MissingParameter'], [{ 'DiskContainer.1.UserBucket.S3Bucket': 'anns' }, 'MissingParameter'],
      [{ 'DiskContainer.1.UserBucket.S3Key': 'a/disk.vmdk' }, 'MissingParameter'], [url('s3://bobs/a/disk.vmdk'), 'InvalidParameter'],
      [url('s3://anns/absent'), 'InvalidParameter'], [url('s3://nowhere/x'), 'InvalidParameter'], [url('s3://anns'), 'InvalidParameterValue'],
      [url('https://example.com/disk.vmdk'), 'InvalidParameterValue'], [url('http://169.254.169.254/latest'), 'InvalidParameterValue'],
      [url('file:///etc/shadow'), 'InvalidParameterValue'],
      [disk(url('s3://anns/a/disk.vmdk')), 'InvalidParameterCombination'], [disk({ 'DiskContainer.1.Format': 'iso' }), 'InvalidParameterValue'],
      [disk({ 'DiskContainer.1.Format': 'OVA' }), 'UnsupportedOperation'], [disk({ 'DiskContainer.1.DeviceName': '../x' }), 'InvalidParameterValue'],
      [disk({ 'DiskContainer.1.SnapshotId': 'snap-12345678' }), 'UnsupportedOperation'],
      [disk({ 'DiskContainer.2.Url': 's3://anns/x' }), 'UnsupportedOperation'], [disk({ Encrypted: true }), 'UnsupportedOperation'],
      [disk({ BootMode: 'uefi' }), 'UnsupportedOperation'], [disk({ Platform: 'Plan9' }), 'InvalidParameterValue'],
      [disk({ Architecture: 'sparc' }), 'InvalidParameterValue'], [disk({ Description: 'x'.repeat(256) }), 'InvalidParameterValue'],
      [disk({ 'TagSpecification.1.ResourceType': 'image', 'TagSpecification.1.Tag.1.Key': 'a' }), 'InvalidParameterValue'],
    ];
    for (const [params, code] of refused) expect([params, await lab.codeOf('ImportImage', params)]).toEqual([params, code]);
    expect(await tasks()).toEqual([]);
    expect(await lab.db.select().from(images)).toEqual([]);
    expect(await codeOf({}, lab.bob)).toBe('UnauthorizedOperation');
    expect(await codeOf({}, bob)).toBe('InvalidParameter');
  });

  it('begins nothing again with the same token, and no more than may be', async () => {
    const same = await Promise.all(Array.from({ length: 5 }, () => idOf({ ClientToken: 'once' })));
    expect(new Set(same).size).toBe(1);
    expect(await codeOf({ ClientToken: 'once', Description: 'other' })).toBe('IdempotentParameterMismatch');
    await setLimit(lab.db, lab.ann.projectId, 'images', 2);
    expect([await codeOf(), await codeOf()]).toEqual(['ok', 'ResourceLimitExceeded']);
    await setLimit(lab.db, lab.ann.projectId, 'images', 100);
    const codes = await Promise.all(Array.from({ length: 25 }, () => codeOf()));
    expect(codes.filter((code) => code === 'ok')).toHaveLength(18);
    expect(codes.filter((code) => code === 'ResourceLimitExceeded')).toHaveLength(7);
  });
});

describe('DescribeImportImageTasks', () => {
  const facts = { format: 'qcow2' as const, sizeBytes: 5, virtualSizeBytes: 3 * 2 ** 29, sha256: 'x', blobId: 'blob' };

  it('tells stage, bytes and percent as they go, and the image at the end', async () => {
    const id = await idOf();
    const { imageId } = await rowOf(id);
    const progress: unknown[] = [];
    for (const [stage, bytesDone] of [['fetching', 50], ['validating', 0], ['converting', 10], ['converting', 90], ['checking', 100]] as const) {
      await noteImport(lab.db, id, { stage, bytesDone, bytesTotal: 100, format: 'vmdk', virtualSizeBytes: 3 * 2 ** 29 }, new Date());
      progress.push((await see(id))['progress']);
    }
    expect(progress).toEqual(['15', '30', '40', '80', '99']);
    expect(await see(id)).toMatchObject({ status: 'active', statusMessage: 'checking (100 of 100 bytes)', snapshotDetailSet: { item: [{
      format: 'VMDK', diskImageSize: '1.5', status: 'active', progress: '99', userBucket: { s3Bucket: 'anns', s3Key: 'a/disk.vmdk' },
    }] } });
    expect(await see(id)).not.toHaveProperty('imageId');
    expect(await publishImport(lab.db, { taskId: id, imageId, facts }, new Date())).toBe(true);
    expect(await see(id)).toMatchObject({ status: 'completed', imageId });
    expect(await see(id)).not.toHaveProperty('progress');
    expect(items(await lab.ask('DescribeImages', { 'ImageId.1': imageId }), 'imagesSet')[0]).toMatchObject({ imageState: 'available' });
  });

  it('tells why an import failed, and lists by state, id and page', async () => {
    const [failed, active] = [await idOf(), await idOf()];
    await failImport(lab.db, { taskId: failed, imageId: (await rowOf(failed)).imageId, reason: 'it has a backing file' }, new Date());
    expect(await see(failed)).toMatchObject({ status: 'deleted', statusMessage: 'it has a backing file' });
    const idsOf = async (params: Params) => (await tasks(params)).map((task) => task['importTaskId']);
    expect(await idsOf({ 'Filters.1.Name': 'task-state', 'Filters.1.Value.1': 'active' })).toEqual([active]);
    expect(await idsOf({ 'Filters.1.Name': 'task-state', 'Filters.1.Value.1': 'deleted' })).toEqual([failed]);
    const first = await lab.ask('DescribeImportImageTasks', { MaxResults: 1 });
    const second = await lab.ask('DescribeImportImageTasks', { MaxResults: 1, NextToken: String(first['nextToken']) });
    expect([first, second].flatMap((page) => items(page, 'importImageTaskSet')).map((task) => task['importTaskId'])).toEqual([failed, active].toSorted());
    const wrong: readonly [Params, string][] = [
      [{ 'ImportTaskId.1': 'x' }, 'InvalidConversionTaskId.Malformed'], [{ 'ImportTaskId.1': 'import-ami-00000000' }, 'InvalidConversionTaskId'],
      [{ 'Filters.1.Name': 'colour', 'Filters.1.Value.1': 'x' }, 'InvalidParameterValue'], [{ MaxResults: 0 }, 'InvalidParameterValue'],
    ];
    for (const [params, code] of wrong) expect([params, await lab.codeOf('DescribeImportImageTasks', params)]).toEqual([params, code]);
    expect(await tasks({}, bob)).toEqual([]);
    expect(await lab.codeOf('DescribeImportImageTasks', { 'ImportTaskId.1': active }, bob)).toBe('InvalidConversionTaskId');
  });
});

describe('CancelImportTask', () => {
  it('ends an active import of one\'s own, once', async () => {
    const id = await idOf();
    expect(await lab.codeOf('CancelImportTask', { ImportTaskId: id }, bob)).toBe('InvalidConversionTaskId');
    expect(await lab.ask('CancelImportTask', { ImportTaskId: id, CancelReason: 'wrong disk' })).toMatchObject({
      importTaskId: id, previousState: 'active', state: 'deleting',
    });
    expect(await see(id)).toMatchObject({ status: 'deleting', statusMessage: 'wrong disk' });
    expect(items(await lab.ask('DescribeImages', { 'ImageId.1': (await rowOf(id)).imageId }), 'imagesSet')).toEqual([]);
    expect(await lab.codeOf('CancelImportTask', { ImportTaskId: id })).toBe('IncorrectState');
    expect(await lab.codeOf('CancelImportTask', {})).toBe('MissingParameter');
    expect(await lab.codeOf('CancelImportTask', { ImportTaskId: 'import-i-00000000' })).toBe('InvalidConversionTaskId.Malformed');
  });
});
