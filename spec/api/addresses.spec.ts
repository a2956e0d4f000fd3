// E22: floating addresses over the dispatcher and a real database, in the forms of today's clients and of Nova's: all refusals, races, and whom the
// changes are told.
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/auth/principal.ts';
import { floatingOfHost } from '../../src/db/addresses.ts';
import { createFloating, deleteFloating, listFloating } from '../../src/db/address-pools.ts';
import { endInstance, loadInstance } from '../../src/db/instance-work.ts';
import { switchHost } from '../../src/db/migrate-work.ts';
import { fixedAddresses, floatingAddresses, instances, networks, outbox, type InstanceState } from '../../src/db/schema/all.ts';
import { floatingCommands } from '../../src/roles/manage/floating.ts';
import { createEc2Lab, items, type Ec2Lab, type Element, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab();
  for (const user of ['ann', 'bob']) {
    for (const role of ['netadmin', 'sysadmin']) {
      await lab.auth.addRole(user, role);
      await lab.auth.addRole(user, role, user);
    }
  }
  Object.assign(lab.ann, await lab.auth.principalFor('ann', 'ann'));
  Object.assign(lab.bob, await lab.auth.principalFor('bob', 'bob'));
});
beforeEach(async () => {
  await lab.clear();
  await lab.db.delete(floatingAddresses);
  await createFloating(lab.db, { range: '203.0.113.0/26', pool: 'default' });
});
afterAll(() => lab.close());

let address = 1;
async function instance(state: InstanceState = 'running', as?: Principal): Promise<{ id: string; fixed: string }> {
  const answer = await lab.ask('RunInstances', { ImageId: await lab.addImage({ isPublic: true }), MinCount: 1, MaxCount: 1 }, as);
  const [id = ''] = items(answer, 'instancesSet').map((each) => String(each['instanceId']));
  const fixed = `10.0.0.${(address += 1)}`;
  await lab.db.update(instances).set({ state, stateDeadline: null, host: 'host1', hypervisor: 'qemu' }).where(eq(instances.id, id));
  await lab.db.insert(networks).values({
    id: 'net-1', name: 'n', manager: 'flat', cidr: '10.0.0.0/24', gateway: '10.0.0.1', bridge: 'br', mtu: 1500, createdAt: new Date(),
  }).onConflictDoNothing();
  await lab.db.insert(fixedAddresses).values({ networkId: 'net-1', address: fixed, position: address, instanceId: id, claimedAt: new Date() });
  await lab.told();
  return { id, fixed };
}
async function allocate(params: Params = {}, as?: Principal): Promise<{ ip: string; id: string }> {
  const answer = await lab.ask('AllocateAddress', params, as);
  return { ip: String(answer['publicIp']), id: String(answer['allocationId']) };
}
const see = async (params: Params = {}, as?: Principal): Promise<Element[]> => items(await lab.ask('DescribeAddresses', params, as), 'addressesSet');
const associate = async (params: Params): Promise<string> => String((await lab.ask('AssociateAddress', params))['associationId']);
const seeInstance = async (id: string): Promise<Element | undefined> =>
  items(items(await lab.ask('DescribeInstances', { 'InstanceId.1': id }), 'reservationSet')[0], 'instancesSet')[0];
const rules = [{ to: 'network@host1', verb: 'refreshFirewall', body: { groupIds: [] } }];

describe('E22 an address', () => {
  it('is allocated lowest first, described with its tags, and released for somebody else', async () => {
    const mine = await allocate({ Domain: 'vpc', 'TagSpecification.1.ResourceType': 'elastic-ip', 'TagSpecification.1.Tag.1.Key': 'k',
      'TagSpecification.1.Tag.1.Value': 'v' });
    expect(mine).toEqual({ ip: '203.0.113.0', id: expect.stringMatching(/^eipalloc-[0-9a-f]{17}$/) });
    expect((await allocate({}, lab.bob)).ip).toBe('203.0.113.1');
    for (const params of [{ 'AllocationId.1': mine.id }, { 'PublicIp.1': mine.ip }, { 'Filter.1.Name': 'tag:k', 'Filter.1.Value.1': 'v' },
      { 'Filter.1.Name': 'public-ip', 'Filter.1.Value.1': '203.*' }, {}]) {
      expect(await see(params)).toEqual([{ publicIp: mine.ip, allocationId: mine.id, domain: 'vpc', instanceId: '', publicIpv4Pool: 'amazon',
        tagSet: { item: [{ key: 'k', value: 'v' }] } }]);
    }
    expect(await lab.codeOf('CreateTags', { 'ResourceId.1': mine.id, 'Tag.1.Key': 'l', 'Tag.1.Value': 'w' })).toBe('ok');
    expect(await lab.codeOf('ReleaseAddress', { AllocationId: mine.id })).toBe('ok');
    expect(await lab.codeOf('ReleaseAddress', { AllocationId: mine.id })).toBe('InvalidAllocationID.NotFound');
    expect(items(await lab.ask('DescribeTags'), 'tagSet')).toEqual([]);
    // Rested before it is anybody's again, while there are others.
    expect((await allocate()).ip).toBe('203.0.113.2');
    expect((await allocate({ Address: mine.ip })).ip).toBe(mine.ip);
  });

  it('E22: leads to an instance, whose public address it is, and back', async () => {
    const { id: AllocationId, ip } = await allocate();
    const { id: InstanceId, fixed } = await instance();
    const AssociationId = await associate({ AllocationId, InstanceId });
    expect(AssociationId).toMatch(/^eipassoc-[0-9a-f]{17}$/);
    expect(await lab.told()).toEqual(rules);
    expect(await floatingOfHost(lab.db, 'host1')).toEqual([{ address: ip, fixed, bridge: 'br' }]);
    expect(await see({ 'Filter.1.Name': 'instance-id', 'Filter.1.Value.1': InstanceId })).toMatchObject([
      { publicIp: ip, associationId: AssociationId, instanceId: InstanceId, privateIpAddress: fixed, networkInterfaceOwnerId: lab.ann.projectId },
    ]);
    expect(await seeInstance(InstanceId)).toMatchObject({ ipAddress: ip, dnsName: ip, privateIpAddress: fixed });
    // A second time, and by the interface, it is the same.
    expect(await associate({ PublicIp: ip, InstanceId, AllowReassociation: false })).toBe(AssociationId);
    expect(await associate({ AllocationId, NetworkInterfaceId: InstanceId.replace('i-', 'eni-'), PrivateIpAddress: fixed })).toBe(AssociationId);
    expect(await lab.told()).toEqual([]);
    expect(await lab.codeOf('ReleaseAddress', { AllocationId })).toBe('InvalidIPAddress.InUse');
    expect(await lab.codeOf('DisassociateAddress', { AssociationId })).toBe('ok');
    expect(await lab.told()).toEqual(rules);
    expect(await seeInstance(InstanceId)).toMatchObject({ ipAddress: fixed });
    expect(await lab.codeOf('DisassociateAddress', { AssociationId })).toBe('InvalidAssociationID.NotFound');
    expect(await lab.codeOf('DisassociateAddress', { PublicIp: ip })).toBe('ok');
    expect(await lab.told()).toEqual([]);
  });

  it('E22: moves to another instance, or is refused where that is not wished, and replaces the one that the instance had', async () => {
    const [a, b] = [await allocate(), await allocate()];
    const [one, two] = [await instance(), await instance('stopped')];
    await associate({ AllocationId: a.id, InstanceId: one.id });
    expect(await lab.codeOf('AssociateAddress', { AllocationId: a.id, InstanceId: two.id, AllowReassociation: false })).toBe('Resource.AlreadyAssociated');
    expect(await lab.codeOf('AssociateAddress', { AllocationId: b.id, InstanceId: one.id, AllowReassociation: false })).toBe('Resource.AlreadyAssociated');
    await associate({ AllocationId: a.id, InstanceId: two.id });
    expect(await floatingOfHost(lab.db, 'host1')).toEqual([{ address: a.ip, fixed: two.fixed, bridge: 'br' }]);
    await associate({ AllocationId: b.id, InstanceId: two.id });
    expect(await floatingOfHost(lab.db, 'host1')).toEqual([{ address: b.ip, fixed: two.fixed, bridge: 'br' }]);
    expect(await see({ 'AllocationId.1': a.id })).toMatchObject([{ instanceId: '' }]);
  });

  it('of the old kind is named by itself alone, and let go by being released', async () => {
    const { ip } = await allocate({ Domain: 'standard' });
    const { id: InstanceId } = await instance();
    expect(await see()).toMatchObject([{ publicIp: ip, domain: 'standard' }]);
    await associate({ PublicIp: ip, InstanceId });
    await lab.told();
    expect(await lab.codeOf('ReleaseAddress', { PublicIp: ip })).toBe('ok');
    expect(await lab.told()).toEqual(rules);
    expect(await floatingOfHost(lab.db, 'host1')).toEqual([]);
  });

  it('is free when its instance has ended, and goes along when that moves', async () => {
    const { id: AllocationId, ip } = await allocate();
    const { id: InstanceId } = await instance();
    await associate({ AllocationId, InstanceId });
    await lab.told();
    await lab.db.update(instances).set({ migratingTo: 'host2' }).where(eq(instances.id, InstanceId));
    expect(await floatingOfHost(lab.db, 'host2')).toEqual([]);
    const change = { instanceId: InstanceId, source: 'host1', claim: { target: 'host2', fence: 0, running: true }, operationId: '', requestId: 'r' };
    expect(await switchHost(lab.db, { ...change, deadline: new Date(Date.now() + 60_000) }, new Date())).toBe(true);
    const letters = await lab.db.delete(outbox).returning();
    expect(letters.map(({ mailbox }) => mailbox)).toEqual(expect.arrayContaining(['network@host1', 'network@host2']));
    expect(await floatingOfHost(lab.db, 'host2')).toMatchObject([{ address: ip }]);
    const row = await loadInstance(lab.db, InstanceId);
    if (row === undefined) throw new Error('the instance is gone');
    await lab.db.transaction((tx) => endInstance(tx, row, undefined, new Date()));
    expect(await see()).toMatchObject([{ publicIp: ip, instanceId: '' }]);
    expect(await lab.codeOf('ReleaseAddress', { AllocationId })).toBe('ok');
  });

  it('E22: that is badly named, unknown or foreign is refused in AWS\'s words', async () => {
    const [mine, foreign] = [await allocate(), await allocate({}, lab.bob)];
    const [own, others, pending] = [await instance(), await instance('running', lab.bob), await instance('pending')];
    const nobody = 'i-00000000000000000';
    const refused: [string, Params, string][] = [
      ['AllocateAddress', { Domain: 'x' }, 'InvalidParameterValue'],
      ['AllocateAddress', { Address: '203.0.113' }, 'InvalidAddress.Malformed'],
      ['AllocateAddress', { Address: foreign.ip }, 'InvalidAddress.NotFound'],
      ['AllocateAddress', { Address: '198.51.100.1' }, 'InvalidAddress.NotFound'],
      ['AllocateAddress', { PublicIpv4Pool: 'other' }, 'InvalidPublicIpv4PoolID.NotFound'],
      ['AllocateAddress', { IpamPoolId: 'x' }, 'UnsupportedOperation'],
      ['AllocateAddress', { 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'k' }, 'InvalidParameterValue'],
      ['AssociateAddress', { InstanceId: own.id }, 'MissingParameter'],
      ['AssociateAddress', { AllocationId: mine.id }, 'MissingParameter'],
      ['AssociateAddress', { AllocationId: mine.id, PublicIp: mine.ip, InstanceId: own.id }, 'InvalidParameterCombination'],
      ['AssociateAddress', { AllocationId: mine.id, InstanceId: own.id, NetworkInterfaceId: 'eni-00000000000000000' }, 'InvalidParameterCombination'],
      ['AssociateAddress', { AllocationId: foreign.id, InstanceId: own.id }, 'InvalidAllocationID.NotFound'],
      ['AssociateAddress', { PublicIp: foreign.ip, InstanceId: own.id }, 'AuthFailure'],
      ['AssociateAddress', { PublicIp: 'x', InstanceId: own.id }, 'InvalidAddress.Malformed'],
      ['AssociateAddress', { AllocationId: mine.id, InstanceId: others.id }, 'InvalidInstanceID.NotFound'],
      ['AssociateAddress', { AllocationId: mine.id, InstanceId: nobody }, 'InvalidInstanceID.NotFound'],
      ['AssociateAddress', { AllocationId: mine.id, InstanceId: 'i-x' }, 'InvalidInstanceID.Malformed'],
      ['AssociateAddress', { AllocationId: mine.id, InstanceId: pending.id }, 'InvalidInstanceID'],
      ['AssociateAddress', { AllocationId: mine.id, NetworkInterfaceId: 'eni-x' }, 'InvalidNetworkInterfaceID.NotFound'],
      ['AssociateAddress', { AllocationId: mine.id, NetworkInterfaceId: nobody.replace('i-', 'eni-') }, 'InvalidNetworkInterfaceID.NotFound'],
      ['AssociateAddress', { AllocationId: mine.id, InstanceId: own.id, PrivateIpAddress: '10.0.0.250' }, 'InvalidParameterValue'],
      ['DisassociateAddress', {}, 'MissingParameter'],
      ['DisassociateAddress', { AssociationId: 'eipassoc-00000000000000000' }, 'InvalidAssociationID.NotFound'],
      ['DisassociateAddress', { PublicIp: foreign.ip }, 'AuthFailure'],
      ['DisassociateAddress', { PublicIp: mine.ip, AssociationId: 'x' }, 'InvalidParameterCombination'],
      ['ReleaseAddress', {}, 'MissingParameter'],
      ['ReleaseAddress', { AllocationId: foreign.id }, 'InvalidAllocationID.NotFound'],
      ['ReleaseAddress', { PublicIp: foreign.ip }, 'AuthFailure'],
      ['DescribeAddresses', { 'PublicIp.1': foreign.ip }, 'InvalidAddress.NotFound'],
      ['DescribeAddresses', { 'AllocationId.1': foreign.id }, 'InvalidAllocationID.NotFound'],
      ['DescribeAddresses', { 'Filter.1.Name': 'x', 'Filter.1.Value.1': 'y' }, 'InvalidParameterValue'],
      ['DescribeAddressesAttribute', { Attribute: 'x' }, 'InvalidParameterValue'],
      ['ModifyAddressAttribute', { AllocationId: mine.id, DomainName: 'example.org' }, 'UnsupportedOperation'],
      ['ModifyAddressAttribute', { AllocationId: foreign.id, DomainName: 'example.org' }, 'InvalidAllocationID.NotFound'],
      ['ResetAddressAttribute', { AllocationId: foreign.id, Attribute: 'domain-name' }, 'InvalidAllocationID.NotFound'],
      ['CreateTags', { 'ResourceId.1': foreign.id, 'Tag.1.Key': 'k' }, 'InvalidAllocationID.NotFound'],
    ];
    for (const [action, params, code] of refused) expect([action, params, await lab.codeOf(action, params)]).toEqual([action, params, code]);
    expect(await lab.told()).toEqual([]);
  });

  it('has no reverse name, before and after it is reset', async () => {
    const { id, ip } = await allocate();
    expect(items(await lab.ask('DescribeAddressesAttribute', { 'AllocationId.1': id, Attribute: 'domain-name' }), 'addressSet'))
      .toEqual([{ publicIp: ip, allocationId: id }]);
    expect(await lab.ask('ResetAddressAttribute', { AllocationId: id, Attribute: 'domain-name' })).toMatchObject({ address: { publicIp: ip } });
  });
});

describe('E22 fifty at once', () => {
  it('get an address each, no two the same, and a project no more than its quota', async () => {
    const as = (n: number): Principal | undefined => (n % 2 === 0 ? lab.bob : undefined);
    const got = await Promise.all(Array.from({ length: 50 }, (_, n) => allocate({}, as(n)).catch((error: Error) => ({ ip: error.message, id: '' }))));
    const given = got.filter(({ id }) => id !== '').map(({ ip }) => ip);
    expect(given).toHaveLength(20);
    expect(new Set(given).size).toBe(20);
    expect(got.filter(({ id }) => id === '').every(({ ip }) => ip.startsWith('AddressLimitExceeded'))).toBe(true);
  });

  it('move one address about: it ends with one instance, and each instance with one address', async () => {
    const [a, b] = [await allocate(), await allocate()];
    const ids = [(await instance()).id, (await instance()).id, (await instance()).id];
    await Promise.all(Array.from({ length: 24 }, (_, n) => associate({ AllocationId: n % 2 === 0 ? a.id : b.id, InstanceId: ids[n % 3] ?? '' })));
    const rows = await see();
    expect(new Set(rows.map((row) => row['instanceId'])).size).toBe(2);
  });

  it('of a pool that is used up are told so', async () => {
    await lab.db.delete(floatingAddresses).where(sql`${floatingAddresses.position} % 64 > 1`);
    await Promise.all([allocate(), allocate({}, lab.bob)]);
    expect(await lab.codeOf('AllocateAddress')).toBe('InsufficientAddressCapacity');
  });
});

describe('the pools of operators', () => {
  const manage = (verb: string, args: object): Promise<unknown> => {
    const command = floatingCommands.find((each) => each.verb === verb);
    if (command === undefined) throw new Error(`no command ${verb}`);
    return command.run({ db: lab.db }, command.args.parse(args));
  };

  it('are made of ranges, described, taken from, and unmade when nobody has any of them', async () => {
    expect(await manage('create', { range: '198.51.100.8-198.51.100.10', pool: 'dmz' })).toBe('made 3 in the pool dmz');
    expect(await manage('create', { range: '198.51.100.8/29', pool: 'dmz' })).toBe('made 5 in the pool dmz; 3 were there already');
    expect(await manage('create', { range: '198.51.100.40', pool: 'dmz' })).toBe('made 1 in the pool dmz');
    const mine = await allocate({ PublicIpv4Pool: 'dmz' });
    expect(mine.ip).toBe('198.51.100.8');
    expect(items(await lab.ask('DescribePublicIpv4Pools'), 'publicIpv4PoolSet')).toMatchObject([{
      poolId: 'dmz', totalAddressCount: '9', totalAvailableAddressCount: '8', poolAddressRangeSet: { item: [
        { firstAddress: '198.51.100.8', lastAddress: '198.51.100.15', addressCount: '8', availableAddressCount: '7' },
        { firstAddress: '198.51.100.40', lastAddress: '198.51.100.40', addressCount: '1', availableAddressCount: '1' },
      ] },
    }]);
    expect(await manage('list', { pool: 'dmz', allocated: true })).toEqual([
      { address: mine.ip, pool: 'dmz', project: lab.ann.projectId, instance: '-', host: '-' },
    ]);
    await expect(manage('delete', { range: '198.51.100.0/24' })).rejects.toThrow(`the project ${lab.ann.projectId} has ${mine.ip}`);
    await lab.ask('ReleaseAddress', { AllocationId: mine.id });
    expect(await manage('delete', { range: '198.51.100.0/24' })).toBe('deleted 9');
    expect(await listFloating(lab.db, { pool: 'dmz', allocated: false })).toEqual([]);
  });

  const wrong = ['198.51.100.1/24', '198.51.100.9-198.51.100.1', 'x', '10.0.0.0/8', '127.0.0.1', '224.0.0.0/29', '198.51.100.0/33'];
  it.each(wrong)('%s is no range', async (range) => {
    await expect(createFloating(lab.db, { range, pool: 'dmz' })).rejects.toMatchObject({ name: 'SetupError' });
    await expect(deleteFloating(lab.db, range)).rejects.toMatchObject({ name: 'SetupError' });
  });

  it('do not overlap with what networks give to guests', async () => {
    await instance();
    await expect(createFloating(lab.db, { range: '10.0.0.128/25', pool: 'dmz' })).rejects.toThrow('the private addresses of the network n');
  });
});
