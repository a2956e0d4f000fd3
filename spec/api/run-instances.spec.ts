// RunInstances over the dispatcher and a real database: what it writes, whom it tells, and what it refuses.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { operationsOf } from '../../src/db/operations.ts';
import { instances, reservations } from '../../src/db/schema/all.ts';
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

const run = (params: Params = {}): Promise<Element> => lab.ask('RunInstances', { ImageId: image, MinCount: 1, MaxCount: 1, ...params });
const runCode = (params: Params = {}) => lab.codeOf('RunInstances', { ImageId: image, MinCount: 1, MaxCount: 1, ...params });
const idOf = (reservation: Element): string => String(at(reservation, 'instancesSet', 'item', 0, 'instanceId'));
const rowOf = async (reservation: Element) => (await lab.db.select().from(instances).where(eq(instances.id, idOf(reservation))))[0];

describe('a launch', () => {
  it('answers with pending instances, each with an operation that a scheduler is told of', async () => {
    const answer = await run({ MaxCount: 3, InstanceType: 'm1.tiny', 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'Name',
      'TagSpecification.1.Tag.1.Value': 'a', 'TagSpecification.2.ResourceType': 'volume', 'TagSpecification.2.Tag.1.Key': 'x' });
    expect(answer).toMatchObject({ ownerId: lab.ann.projectId, reservationId: expect.stringMatching(/^r-[0-9a-f]{17}$/) });
    const launched = items(answer, 'instancesSet');
    expect(launched.map((each) => each['amiLaunchIndex'])).toEqual(['0', '1', '2']);
    for (const each of launched) {
      expect(each).toMatchObject({
        imageId: image, instanceState: { code: '0', name: 'pending' }, stateReason: { code: 'pending' }, instanceType: 'm1.tiny',
          placement: { availabilityZone: 'nova' }, monitoring: { state: 'disabled' },
        rootDeviceType: 'ebs', rootDeviceName: '/dev/vda', blockDeviceMapping: '',
        networkInterfaceSet: { item: [{ status: 'in-use', attachment: { status: 'attaching', deviceIndex: '0' } }] }, privateDnsName: '', dnsName: '',
          architecture: 'x86_64', tagSet: { item: [{ key: 'Name', value: 'a' }] },
        groupSet: { item: [{ groupName: 'default' }] },
      });
    }
    const expected = [];
    for (const each of launched) {
      const operations = await operationsOf(lab.db, String(each['instanceId']), 5);
      expect(operations).toMatchObject([{ kind: 'instance.run', owner: 'scheduler', state: 'waiting', requestId: 'request-1' }]);
      expected.push({ to: 'scheduler', verb: 'placeInstance', body: { instanceId: each['instanceId'], operationId: operations[0]?.id } });
    }
    expect(await lab.told()).toEqual(expected);
  });

  it('copies what it was made from: key, groups, user data, kernel, zone and sizes', async () => {
    const [kernel, ramdisk] = [await lab.addImage({ id: 'aki-0123456789abcdef0', type: 'kernel' }),
      await lab.addImage({ id: 'ari-0123456789abcdef0', type: 'ramdisk' })];
    await lab.ask('CreateKeyPair', { KeyName: 'k', KeyType: 'ed25519' });
    const row = await rowOf(await run({
      KeyName: 'k', UserData: Buffer.from('#!/bin/sh\n\0').toString('base64'), KernelId: kernel, RamdiskId: ramdisk, 'Placement.AvailabilityZone': '',
        DisableApiTermination: true,
      InstanceInitiatedShutdownBehavior: 'terminate', 'BlockDeviceMapping.1.DeviceName': '/dev/vda', 'BlockDeviceMapping.1.Ebs.VolumeSize': 9,
        'SecurityGroup.1': 'default',
    }));
    expect(row).toMatchObject({
      keyName: 'k', kernelId: kernel, ramdiskId: ramdisk, zone: 'nova', disableApiTermination: true, shutdownBehavior: 'terminate', rootGiB: 9,
        instanceType: 'm1.small', memoryMiB: 2048, host: null,
      userData: 'IyEvYmluL3NoCgA=', publicKey: expect.stringMatching(/^ssh-ed25519 \S+ k$/), mac: expect.stringMatching(/^02:16:3e:/),
    });
    expect((row?.stateDeadline?.getTime() ?? 0) - (row?.stateChangedAt.getTime() ?? 0)).toBe(600_000);
  });

  it('with a client token happens once, and the token cannot mean something else', async () => {
    const first = await run({ ClientToken: 'once', MaxCount: 2 });
    const again = await run({ MaxCount: 2, ClientToken: 'once' });
    expect(again['reservationId']).toBe(first['reservationId']);
    expect(items(again, 'instancesSet').map((each) => each['instanceId'])).toEqual(items(first, 'instancesSet').map((each) => each['instanceId']));
    expect(await runCode({ ClientToken: 'once', MaxCount: 3 })).toBe('IdempotentParameterMismatch');
    expect(await runCode({ ClientToken: 'x'.repeat(65) })).toBe('InvalidParameterValue');
    const together = await Promise.all([1, 2, 3].map(() => run({ ClientToken: 'together' })));
    expect(new Set(together.map((each) => each['reservationId'])).size).toBe(1);
    expect(await lab.db.select().from(instances)).toHaveLength(3);
    expect(await lab.told()).toHaveLength(3);
  });

  it('fills the quota and does not pass it, also when two launch at once', async () => {
    expect(items(await run({ MinCount: 1, MaxCount: 18 }), 'instancesSet')).toHaveLength(18);
    const codes = await Promise.all([runCode({ MinCount: 2, MaxCount: 2 }), runCode({ MinCount: 2, MaxCount: 2 })]);
    expect(codes.toSorted()).toEqual(['InstanceLimitExceeded', 'ok']);
    await lab.db.update(instances).set({ state: 'terminated' });
    expect(items(await run({ MinCount: 1, MaxCount: 100 }), 'instancesSet')).toHaveLength(20);
  });

  it('that asks for what is wrong or not there leaves nothing and tells nobody', async () => {
    const pending = await lab.addImage({ state: 'pending' });
    const foreign = await lab.addImage({ projectId: lab.bob.projectId });
    const kernel = await lab.addImage({ id: 'aki-0123456789abcdef1', type: 'kernel' });
    const refused: [Params, string][] = [
      [{ ImageId: '' }, 'MissingParameter'],
      [{ ImageId: 'ami-x' }, 'InvalidAMIID.Malformed'],
      [{ ImageId: 'ami-00000000' }, 'InvalidAMIID.NotFound'],
      [{ ImageId: foreign }, 'InvalidAMIID.NotFound'],
      [{ ImageId: pending }, 'InvalidAMIID.Unavailable'],
      [{ ImageId: kernel }, 'InvalidParameterValue'],
      [{ KernelId: image }, 'InvalidParameterValue'],
      [{ KernelId: 'nokernel', RamdiskId: kernel }, 'InvalidParameterCombination'],
      [{ KeyName: 'nobody' }, 'InvalidKeyPair.NotFound'],
      [{ InstanceType: 'x9.huge' }, 'InvalidParameterValue'],
      [{ MinCount: 0 }, 'InvalidParameterValue'],
      [{ MinCount: 2, MaxCount: 1 }, 'InvalidParameterValue'],
      [{ MaxCount: 100_000 }, 'InvalidParameterValue'],
      [{ MinCount: 21, MaxCount: 21 }, 'InstanceLimitExceeded'],
      [{ 'SecurityGroup.1': 'nobody' }, 'InvalidGroup.NotFound'],
      [{ 'SecurityGroupId.1': 'sg-x' }, 'InvalidGroupId.Malformed'],
      [{ 'SecurityGroupId.1': 'sg-00000000' }, 'InvalidGroup.NotFound'],
      [{ UserData: '!!!' }, 'InvalidUserData.Malformed'],
      [{ UserData: Buffer.alloc(16_385).toString('base64') }, 'InvalidParameterValue'],
      [{ 'Placement.AvailabilityZone': 'mars' }, 'InvalidParameterValue'],
      [{ 'Placement.Tenancy': 'dedicated' }, 'UnsupportedOperation'],
      [{ SubnetId: 'subnet-12345678' }, 'InvalidSubnetID.NotFound'],
      [{ PrivateIpAddress: '10.0.0.9' }, 'InvalidParameterValue'],
      [{ PrivateIpAddress: '10.45.0.1' }, 'InvalidIPAddress.InUse'],
      [{ PrivateIpAddress: '10.45.0.9', MaxCount: 2 }, 'InvalidParameterCombination'],
      [{ SubnetId: 'subnet-x' }, 'InvalidSubnetId.Malformed'],
      [{ 'BlockDeviceMapping.1.DeviceName': '/dev/vda', 'BlockDeviceMapping.1.Ebs.VolumeSize': 2 }, 'InvalidBlockDeviceMapping'],
      [{ InstanceInitiatedShutdownBehavior: 'explode' }, 'InvalidParameterValue'],
      [{ 'IamInstanceProfile.Name': 'admin' }, 'UnsupportedOperation'],
      [{ 'MetadataOptions.HttpTokens': 'always' }, 'InvalidParameterValue'],
      [{ 'MetadataOptions.InstanceMetadataTags': 'enabled' }, 'UnsupportedOperation'],
      [{ 'TagSpecification.1.ResourceType': 'image', 'TagSpecification.1.Tag.1.Key': 'a' }, 'InvalidParameterValue'],
      [{ 'NetworkInterface.1.DeviceIndex': 0, 'NetworkInterface.1.PrivateIpAddress': '10.0.0.9' }, 'InvalidParameterValue'],
      [{ 'NetworkInterface.1.DeviceIndex': 0, 'NetworkInterface.1.SecondaryPrivateIpAddressCount': 1 }, 'UnsupportedOperation'],
      [{ 'NetworkInterface.1.DeviceIndex': 0, SubnetId: 'subnet-12345678' }, 'InvalidParameterCombination'],
      [{ 'NetworkInterface.1.DeviceIndex': 0, 'SecurityGroup.1': 'default' }, 'InvalidParameterCombination'],
    ];
    for (const [params, code] of refused) expect(await runCode(params), JSON.stringify(params).slice(0, 200)).toBe(code);
    expect(await lab.codeOf('RunInstances', { ImageId: image, MinCount: 1, MaxCount: 1 }, lab.bob)).toBe('UnauthorizedOperation');
    expect(await lab.db.select().from(reservations)).toEqual([]);
    expect(await lab.told()).toEqual([]);
  });

  it('takes groups from its network interface, as Ansible sends them', async () => {
    const [group] = items(await lab.ask('DescribeSecurityGroups'), 'securityGroupInfo');
    const answer = await run({ 'NetworkInterface.1.DeviceIndex': 0, 'NetworkInterface.1.AssociatePublicIpAddress': true,
      'NetworkInterface.1.DeleteOnTermination': true, 'NetworkInterface.1.SecurityGroupId.1': String(group?.['groupId']) });
    expect(at(answer, 'instancesSet', 'item', 0, 'groupSet', 'item', 0, 'groupId')).toBe(group?.['groupId']);
  });

  it('is written though no scheduler can be told', async () => {
    const cut = await createEc2Lab();
    try {
      const alone = await cut.addImage();
      await cut.transport.close();
      expect(idOf(await cut.ask('RunInstances', { ImageId: alone, MinCount: 1, MaxCount: 1 }))).toMatch(/^i-[0-9a-f]{17}$/);
    } finally {
      await cut.close();
    }
  });
});
