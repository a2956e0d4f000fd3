// Images over the dispatcher and a real database.
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/auth/principal.ts';
import { markImage } from '../../src/db/image-work.ts';
import { operationsOf } from '../../src/db/operations.ts';
import { buckets, images, objects } from '../../src/db/schema/all.ts';
import { newId } from '../../src/lib/ids.ts';
import type { objectstoreProtocol } from '../../src/messages/objectstore.ts';
import type { ReplyOf } from '../../src/messages/protocol.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
const described = { type: 'machine' as const, architecture: 'i386', kernelId: null, ramdiskId: null };
/** What the objectstore says of the bundle that is asked for. */
let bundle: () => Promise<ReplyOf<(typeof objectstoreProtocol)['table']['describeBundle']>>;
beforeAll(async () => {
  lab = await createEc2Lab({ bundle: () => bundle() });
  const now = new Date();
  for (const [name, projectId] of [['anns', lab.ann.projectId], ['bobs', lab.bob.projectId]] as const) {
    await lab.db.insert(buckets).values({ name, projectId, createdAt: now });
    for (const [key, acl] of [['disk.img', 'private'], ['open.img', 'public-read'], ['b/x.manifest.xml', 'private']] as const) {
      await lab.db.insert(objects).values({ bucket: name, key, acl, projectId, blobId: `${name}-${key}`, sizeBytes: 10, etag: 'e', headers: {}, metadata: {},
        checksums: {}, modifiedAt: now });
    }
  }
});
afterAll(() => lab.close());

let count = 0;
async function register(params: Params = {}): Promise<string> {
  const made = await lab.ask('RegisterImage', { Name: `image ${(count += 1)}`, ImageLocation: 'anns/disk.img', ...params });
  return String(made['imageId']);
}
const see = async (id: string, as?: Principal) => items(await lab.ask('DescribeImages', { 'ImageId.1': id }, as), 'imagesSet')[0];
const idsOf = async (params: Params, as?: Principal) => items(await lab.ask('DescribeImages', params, as), 'imagesSet').map((image) => image['imageId']);

describe('registering', () => {
  it('makes a pending image and tells the objectstore to fetch its content', async () => {
    await lab.told();
    const id = await register({ Description: 'a disk', Architecture: 'i386', 'TagSpecification.1.ResourceType': 'image',
      'TagSpecification.1.Tag.1.Key': 'os', 'TagSpecification.1.Tag.1.Value': 'none' });
    expect(id).toMatch(/^ami-[0-9a-f]{17}$/);
    expect(await see(id)).toMatchObject({
      imageLocation: 'anns/disk.img', imageState: 'pending', imageOwnerId: lab.ann.projectId, isPublic: 'false', architecture: 'i386', imageType: 'machine',
        description: 'a disk',
      rootDeviceType: 'ebs', rootDeviceName: '/dev/vda', virtualizationType: 'hvm', tagSet: { item: [{ key: 'os', value: 'none' }] },
    });
    const [operation] = await operationsOf(lab.db, id, 5);
    expect(operation).toMatchObject({ kind: 'image.register', owner: 'objectstore', state: 'waiting', input: { bucket: 'anns', key: 'disk.img' } });
    expect(await lab.told()).toEqual([{ to: 'objectstore', verb: 'performOperation', body: { imageId: id, operationId: operation?.id } }]);
  });

  it('knows kernels and ramdisks by the word true, and machine images that boot with them', async () => {
    const kernel = await register({ KernelId: 'true' });
    const ramdisk = await register({ RamdiskId: 'true' });
    expect([kernel.slice(0, 4), ramdisk.slice(0, 4)]).toEqual(['aki-', 'ari-']);
    const machine = await register({ KernelId: kernel, RamdiskId: ramdisk });
    expect(await see(machine)).toMatchObject({ kernelId: kernel, ramdiskId: ramdisk });
    expect(await see(kernel)).toMatchObject({ imageType: 'kernel' });
    expect(await lab.codeOf('RegisterImage', { Name: 'wrong', ImageLocation: 'anns/disk.img', KernelId: ramdisk })).toBe('InvalidParameterValue');
  });

  it('refuses what is missing, foreign or badly written, and leaves nothing', async () => {
    await register({ Name: 'taken' });
    const before = await idsOf({});
    const refused: [Params, string][] = [
      [{ Name: 'n-1' }, 'MissingParameter'],
      [{ Name: 'n-2', ImageLocation: 'anns/disk.img', BootMode: 'uefi' }, 'UnsupportedOperation'],
      [{ Name: 'n-1', ImageLocation: 'anns/absent.img' }, 'InvalidManifest'],
      [{ Name: 'n-1', ImageLocation: 'bobs/disk.img' }, 'InvalidManifest'],
      [{ Name: 'n-1', ImageLocation: 'nowhere/x' }, 'InvalidManifest'],
      [{ Name: 'n-1', ImageLocation: 'nokey' }, 'InvalidManifest'],
      [{ Name: 'no', ImageLocation: 'anns/disk.img' }, 'InvalidAMIName.Malformed'],
      [{ Name: 'taken', ImageLocation: 'anns/disk.img' }, 'InvalidAMIName.Duplicate'],
      [{ Name: 'n-1', ImageLocation: 'anns/disk.img', Architecture: 'sparc' }, 'InvalidParameterValue'],
      [{ Name: 'n-1', ImageLocation: 'anns/disk.img', RootDeviceName: '../x' }, 'InvalidParameterValue'],
      [{ Name: 'n-1', ImageLocation: 'anns/disk.img', KernelId: 'aki-00000000' }, 'InvalidAMIID.NotFound'],
      [{ Name: 'n-1', 'BlockDeviceMapping.1.Ebs.SnapshotId': 'snap-12345678' }, 'MissingParameter'],
    ];
    for (const [params, code] of refused) expect(await lab.codeOf('RegisterImage', params), JSON.stringify(params)).toBe(code);
    expect(await idsOf({})).toEqual(before);
    expect(await lab.codeOf('RegisterImage', { Name: 'bobs own', ImageLocation: 'bobs/disk.img' }, lab.bob)).toBe('UnauthorizedOperation');
    expect(await register({ ImageLocation: 'bobs/open.img' })).toMatch(/^ami-/);
  });

  it('reads what the policy of the bucket or a grant lets its project read, and nothing that the policy denies', async () => {
    const statement = (Effect: string, key: string) => ({
      Effect, Principal: { AWS: lab.ann.projectId }, Action: 's3:GetObject', Resource: `arn:aws:s3:::bobs/${key}` });
    const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement('Allow', 'disk.*'), statement('Deny', 'open.*')] });
    await lab.db.update(buckets).set({ policy }).where(eq(buckets.name, 'bobs'));
    expect(await register({ ImageLocation: 'bobs/disk.img' })).toMatch(/^ami-/);
    expect(await lab.codeOf('RegisterImage', { Name: 'denied', ImageLocation: 'bobs/open.img' })).toBe('InvalidManifest');
    await lab.db.update(buckets).set({ policy: null }).where(eq(buckets.name, 'bobs'));
    expect(await lab.codeOf('RegisterImage', { Name: 'closed', ImageLocation: 'bobs/disk.img' })).toBe('InvalidManifest');
    const granted = JSON.stringify([{ grantee: lab.ann.projectId, permission: 'READ' }]);
    await lab.db.update(objects).set({ acl: granted }).where(and(eq(objects.bucket, 'bobs'), eq(objects.key, 'disk.img')));
    expect(await register({ ImageLocation: 'bobs/disk.img' })).toMatch(/^ami-/);
    await lab.db.update(objects).set({ acl: 'private' }).where(and(eq(objects.bucket, 'bobs'), eq(objects.key, 'disk.img')));
  });
});

describe('registering a bundle', () => {
  const bundled = (params: Params = {}) => lab.ask('RegisterImage', { ImageLocation: 'anns/b/x.manifest.xml', ...params });

  it('S7: takes from the manifest what the request leaves out, and leaves the rest to the objectstore', async () => {
    const kernel = await lab.addImage({ id: newId('aki'), type: 'kernel' });
    bundle = async () => ({ refused: null, bundle: { ...described, kernelId: kernel } });
    const id = String((await bundled())['imageId']);
    expect(await see(id)).toMatchObject({ imageState: 'pending', architecture: 'i386', kernelId: kernel, imageLocation: 'anns/b/x.manifest.xml' });
    expect((await operationsOf(lab.db, id, 5))[0]).toMatchObject({ kind: 'image.unbundle', input: { bucket: 'anns', key: 'b/x.manifest.xml' } });
    expect(await see(String((await bundled({ Architecture: 'x86_64' }))['imageId']))).toMatchObject({ architecture: 'x86_64' });
  });

  it.each(['kernel', 'ramdisk'] as const)('S7: makes an image of the kind that the manifest says: %s', async (type) => {
    bundle = async () => ({ refused: null, bundle: { ...described, type } });
    const id = String((await bundled())['imageId']);
    expect(id).toMatch(type === 'kernel' ? /^aki-/ : /^ari-/);
    expect(await see(id)).toMatchObject({ imageType: type });
  });

  it('E23: says while it is pending how far it has come', async () => {
    bundle = async () => ({ refused: null, bundle: described });
    const id = String((await bundled())['imageId']);
    await markImage(lab.db, id, 'untarring');
    expect(await see(id)).toMatchObject({ imageState: 'pending', stateReason: { code: 'untarring', message: expect.stringContaining('unpacked') as string } });
  });

  it('S8: refuses a manifest that is none, one whose images are not there, and one that nobody can read', async () => {
    bundle = async () => ({ refused: 'the manifest names no parts', bundle: null });
    await expect(bundled()).rejects.toThrow(/InvalidManifest: .*names no parts/);
    bundle = async () => ({ refused: null, bundle: { ...described, kernelId: 'aki-00000000' } });
    await expect(bundled()).rejects.toThrow('InvalidAMIID.NotFound');
    bundle = async () => ({ refused: null, bundle: { ...described, architecture: 'sparc' } });
    await expect(bundled()).rejects.toThrow('InvalidParameterValue');
    bundle = () => Promise.reject(new Error('away'));
    await expect(bundled()).rejects.toThrow('Unavailable');
    await expect(bundled({ ImageLocation: 'bobs/b/x.manifest.xml' })).rejects.toThrow('InvalidManifest');
  });
});

describe('an image', () => {
  it('S11: is launched by others only as far as it is permitted', async () => {
    const id = await lab.addImage();
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': id }, lab.bob)).toBe('InvalidAMIID.NotFound');
    await lab.ask('ModifyImageAttribute', { ImageId: id, 'LaunchPermission.Add.1.UserId': lab.bob.projectId });
    expect(await idsOf({ 'ExecutableBy.1': 'self' }, lab.bob)).toEqual([id]);
    expect(items(await lab.ask('DescribeImageAttribute', { ImageId: id, Attribute: 'launchPermission' }),
      'launchPermission')).toEqual([{ userId: lab.bob.projectId }]);
    expect(await lab.codeOf('DescribeImageAttribute', { ImageId: id, Attribute: 'launchPermission' }, lab.bob)).toBe('AuthFailure');
    await lab.ask('ModifyImageAttribute', { ImageId: id, Attribute: 'launchPermission', OperationType: 'add', 'UserGroup.1': 'all' });
    expect(await idsOf({ 'ExecutableBy.1': 'all' }, lab.bob)).toEqual([id]);
    expect(items(await lab.ask('DescribeImageAttribute', { ImageId: id, Attribute: 'launchPermission' }), 'launchPermission')).toEqual([{ group: 'all' },
      { userId: lab.bob.projectId }]);
    await lab.ask('ModifyImageAttribute',
      { ImageId: id, Attribute: 'launchPermission', OperationType: 'remove', 'UserGroup.1': 'all', 'UserId.1': lab.bob.projectId });
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': id }, lab.bob)).toBe('InvalidAMIID.NotFound');
    await lab.ask('ModifyImageAttribute', { ImageId: id, 'LaunchPermission.Add.1.Group': 'all' });
    await lab.ask('ResetImageAttribute', { ImageId: id, Attribute: 'launchPermission' });
    expect((await see(id))?.['isPublic']).toBe('false');
  });

  it('has permissions and a description that are checked', async () => {
    const id = await lab.addImage();
    const refused: [Params, string][] = [
      [{ 'LaunchPermission.Add.1.UserId': '999999999999' }, 'InvalidAMIAttributeItemValue'],
      [{ 'LaunchPermission.Add.1.Group': 'some' }, 'InvalidAMIAttributeItemValue'],
      [{ Attribute: 'launchPermission', 'UserGroup.1': 'all' }, 'InvalidParameterCombination'],
      [{}, 'MissingParameter'],
      [{ Attribute: 'kernel', Value: 'aki-12345678' }, 'InvalidParameterValue'],
      [{ 'Description.Value': 'x', 'LaunchPermission.Add.1.Group': 'all' }, 'InvalidParameterCombination'],
      [{ 'ProductCode.1': 'x' }, 'UnsupportedOperation'],
      [{ 'Description.Value': 'x'.repeat(256) }, 'InvalidParameterValue'],
    ];
    for (const [params, code] of refused) expect(await lab.codeOf('ModifyImageAttribute', { ImageId: id, ...params }), JSON.stringify(params)).toBe(code);
    await lab.ask('ModifyImageAttribute', { ImageId: id, 'Description.Value': 'new words' });
    expect(at(await lab.ask('DescribeImageAttribute', { ImageId: id, Attribute: 'description' }), 'description', 'value')).toBe('new words');
    await lab.ask('ModifyImageAttribute', { ImageId: id, Attribute: 'description', Value: 'in the old form' });
    expect(at(await lab.ask('DescribeImageAttribute', { ImageId: id, Attribute: 'description' }), 'description', 'value')).toBe('in the old form');
    expect(await lab.codeOf('DescribeImageAttribute', { ImageId: id, Attribute: 'height' })).toBe('InvalidParameterValue');
    for (const action of ['DescribeImageAttribute', 'ResetImageAttribute']) expect(await lab.codeOf(action, { ImageId: id })).toBe('MissingParameter');
    expect(await lab.codeOf('ResetImageAttribute', { ImageId: id, Attribute: 'description' })).toBe('InvalidParameterValue');
  });

  it('E23: tells every attribute that it has, and that it has no others', async () => {
    const [kernelId, ramdiskId] = [await lab.addImage({ id: newId('aki'), type: 'kernel' }), await lab.addImage({ id: newId('ari'), type: 'ramdisk' })];
    const id = await lab.addImage({ kernelId, ramdiskId });
    const tell = (Attribute: string) => lab.ask('DescribeImageAttribute', { ImageId: id, Attribute });
    expect([at(await tell('kernel'), 'kernel', 'value'), at(await tell('ramdisk'), 'ramdisk', 'value')]).toEqual([kernelId, ramdiskId]);
    expect(items(await tell('blockDeviceMapping'), 'blockDeviceMapping')).toMatchObject([{ deviceName: '/dev/vda', ebs: { volumeSize: '3' } }]);
    expect(at(await tell('deregistrationProtection'), 'deregistrationProtection', 'value')).toBe('disabled');
    for (const none of ['productCodes', 'sriovNetSupport', 'bootMode', 'tpmSupport', 'uefiData', 'imdsSupport']) {
      const { requestId: _request, productCodes = '', ...rest } = await tell(none);
      expect([none, productCodes, rest]).toEqual([none, '', { imageId: id }]);
    }
  });

  it('changes nothing of itself before it is available, nor after it failed', async () => {
    for (const state of ['pending', 'failed'] as const) {
      const id = await lab.addImage({ state });
      expect(await lab.codeOf('ModifyImageAttribute', { ImageId: id, 'LaunchPermission.Add.1.Group': 'all' })).toBe('InvalidAMIID.Unavailable');
      expect(await lab.codeOf('ModifyImageAttribute', { ImageId: id, 'Description.Value': 'x' })).toBe('InvalidAMIID.Unavailable');
      expect(await lab.codeOf('ResetImageAttribute', { ImageId: id, Attribute: 'launchPermission' })).toBe('InvalidAMIID.Unavailable');
    }
  });

  it('is found by id, owner, filter and page', async () => {
    const id = await lab.addImage({ name: 'unlike others', projectId: lab.bob.projectId, isPublic: true });
    expect(await idsOf({ 'Owner.1': lab.bob.projectId })).toEqual([id]);
    expect(await idsOf({ 'Owner.1': 'amazon' })).toEqual([]);
    expect(await idsOf({ 'Owner.1': 'self' }, lab.bob)).toEqual([id]);
    expect(await idsOf({ 'Filter.1.Name': 'name', 'Filter.1.Value.1': 'unlike*', 'Filter.2.Name': 'state', 'Filter.2.Value.1': 'available' })).toEqual([id]);
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': 'ami-x' })).toBe('InvalidAMIID.Malformed');
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': 'ami-00000000' })).toBe('InvalidAMIID.NotFound');
    expect(await lab.codeOf('DescribeImages', { 'Filter.1.Name': 'colour', 'Filter.1.Value.1': 'x' })).toBe('InvalidParameterValue');
    const all = await idsOf({});
    const paged: unknown[] = [];
    for (let token = ''; ; ) {
      const page = await lab.ask('DescribeImages', { MaxResults: 2, ...(token === '' ? {} : { NextToken: token }) });
      paged.push(...items(page, 'imagesSet').map((image) => image['imageId']));
      token = typeof page['nextToken'] === 'string' ? page['nextToken'] : '';
      if (token === '') break;
    }
    expect(paged).toEqual(all);
  });

  it('that failed tells why', async () => {
    const id = await lab.addImage({ state: 'failed', stateReasonCode: 'Client.InvalidImage', stateReason: 'no image at all' });
    expect(await see(id)).toMatchObject({ imageState: 'failed', stateReason: { code: 'Client.InvalidImage', message: 'no image at all' } });
  });

  it('is given up by its owner, once, and its content is freed', async () => {
    const id = await lab.addImage({ isPublic: true });
    expect(await lab.codeOf('DeregisterImage', { ImageId: id }, lab.bob)).toBe('UnauthorizedOperation');
    await lab.told();
    await lab.ask('DeregisterImage', { ImageId: id });
    const [operation] = await operationsOf(lab.db, id, 5);
    expect(operation).toMatchObject({ kind: 'image.deregister', owner: 'objectstore' });
    expect(await lab.told()).toEqual([{ to: 'objectstore', verb: 'performOperation', body: { imageId: id, operationId: operation?.id } }]);
    // Nothing for a while, which clients wait for; then an error, which strangers get at once.
    expect(await see(id)).toBeUndefined();
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': id }, lab.bob)).toBe('InvalidAMIID.NotFound');
    await lab.db.update(images).set({ stateChangedAt: new Date(Date.now() - 3_700_000) }).where(eq(images.id, id));
    expect(await lab.codeOf('DescribeImages', { 'ImageId.1': id })).toBe('InvalidAMIID.NotFound');
    expect(await lab.codeOf('DeregisterImage', { ImageId: id })).toBe('InvalidAMIID.NotFound');
    expect(await lab.db.select({ state: images.state }).from(images).where(eq(images.id, id))).toEqual([{ state: 'deregistered' }]);
  });

  it('of another project cannot be changed, though it is public', async () => {
    const id = await lab.addImage({ isPublic: true, projectId: lab.bob.projectId });
    expect(await lab.codeOf('DeregisterImage', { ImageId: id })).toBe('AuthFailure');
    expect(await lab.codeOf('ModifyImageAttribute', { ImageId: id, 'LaunchPermission.Remove.1.Group': 'all' })).toBe('AuthFailure');
  });
});
