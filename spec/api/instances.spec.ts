// Instances over the dispatcher and a real database: what is shown of them, their life cycle, attributes and consoles.
import { eq, inArray } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unfinishedOperations } from '../../src/db/operations.ts';
import { clearLimit, setLimit } from '../../src/db/quotas.ts';
import { fixedAddresses, hosts, instances, networks, type InstanceState } from '../../src/db/schema/all.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Element, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
let consoleText: () => Promise<{ output: string; timestamp: string }>;
beforeAll(async () => {
  lab = await createEc2Lab({ console: () => consoleText() });
});
beforeEach(async () => {
  consoleText = async () => ({ output: Buffer.from('login: ').toString('base64'), timestamp: '2026-11-22T16:00:00.000Z' });
  await lab.clear();
});
afterAll(() => lab.close());

/** Launched, and as if a host had them in that state. */
async function instancesIn(state: InstanceState, options: { count?: number; placed?: boolean; params?: Params } = {}): Promise<string[]> {
  const { count = 1, placed = true, params = {} } = options;
  const answer = await lab.ask('RunInstances', { ImageId: await lab.addImage(), MinCount: count, MaxCount: count, ...params });
  const ids = items(answer, 'instancesSet').map((each) => String(each['instanceId']));
  await lab.db.update(instances).set({ state, stateDeadline: null, ...(placed ? { host: 'host1', hypervisor: 'qemu' } : {}) })
    .where(inArray(instances.id, ids));
  await lab.told();
  return ids;
}
async function instanceIn(state: InstanceState, options: { placed?: boolean; params?: Params } = {}): Promise<string> {
  const [id = ''] = await instancesIn(state, options);
  return id;
}
const rowOf = async (id: string) => (await lab.db.select().from(instances).where(eq(instances.id, id)))[0];
const see = async (params: Params = {}): Promise<Element[]> => items(await lab.ask('DescribeInstances', params), 'reservationSet')
  .flatMap((each) => items(each, 'instancesSet'));
const idsOf = async (params: Params = {}) => (await see(params)).map((each) => each['instanceId']);
const newest = async (id: string) => (await unfinishedOperations(lab.db, id)).at(-1);
const change = (answer: Element) => items(answer, 'instancesSet')
  .map((each) => [at(each, 'previousState', 'name'), at(each, 'currentState', 'name'), at(each, 'currentState', 'code')]);

async function give(id: string, address: string): Promise<void> {
  const now = new Date();
  await lab.db.insert(networks).values({ id: 'net-1', name: 'n', manager: 'flat', cidr: '10.0.0.0/24', gateway: '10.0.0.1', bridge: 'br', mtu: 1500,
    createdAt: now }).onConflictDoNothing();
  await lab.db.insert(fixedAddresses).values({ networkId: 'net-1', address, position: 2, instanceId: id, claimedAt: now });
}

describe('describing', () => {
  it('groups instances by launch, in its order, and shows the address that answers while they run', async () => {
    const [first = '', second = ''] = await instancesIn('running', { count: 2 });
    const third = await instanceIn('stopped');
    await give(first, '10.0.0.2');
    const reservations = items(await lab.ask('DescribeInstances'), 'reservationSet');
    expect(reservations.map((each) => items(each, 'instancesSet').map((instance) => instance['instanceId']))).toEqual([[first, second], [third]]);
    const [running] = await see({ 'InstanceId.1': first });
    expect(running).toMatchObject({
      instanceState: { code: '16', name: 'running' }, privateIpAddress: '10.0.0.2', ipAddress: '10.0.0.2', dnsName: '10.0.0.2',
      privateDnsName: `${first}.novact.internal`, hypervisor: 'qemu', reason: '',
    });
    expect(running).not.toHaveProperty('stateReason');
    await lab.db.update(instances).set({ state: 'stopped' }).where(eq(instances.id, first));
    const [stopped] = await see({ 'InstanceId.1': first });
    expect(stopped).toMatchObject({ privateIpAddress: '10.0.0.2', dnsName: '' });
    expect(stopped).not.toHaveProperty('ipAddress');
  });

  it('finds instances by the filters of AWS', async () => {
    const [id = '', other = ''] = [await instanceIn('running',
      { params: { ClientToken: 'token-1', InstanceType: 'm1.tiny', 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'role',
        'TagSpecification.1.Tag.1.Value': 'db' } }), await instanceIn('stopped')];
    await give(id, '10.0.0.2');
    const [shown] = await see({ 'InstanceId.1': id });
    const row = await rowOf(id);
    const group = String(at(shown, 'groupSet', 'item', 0, 'groupId'));
    const only: Record<string, string> = {
      'instance-id': id, 'instance-state-name': 'running', 'instance-state-code': '16', 'instance-type': '*tiny', 'client-token': 'token-1',
        'tag:role': 'd?', 'tag-key': 'role', 'private-ip-address': '10.0.0.2',
      'ip-address': '10.0.0.*', 'dns-name': '10.0.0.2', 'image-id': row?.imageId ?? '', 'reservation-id': row?.reservationId ?? '',
    };
    for (const [name, value] of Object.entries(only)) expect(await idsOf({ 'Filter.1.Name': name, 'Filter.1.Value.1': value }), name).toEqual([id]);
    const both: Record<string,
      string> = { 'owner-id': lab.ann.projectId, 'availability-zone': 'nova', 'group-name': 'default', 'instance.group-id': group, architecture: 'x86_64',
        'launch-index': '0', 'root-device-type': 'ebs', 'metadata-options.http-tokens': 'optional', 'source-dest-check': 'true',
        'platform-details': 'Linux*', 'hibernation-options.configured': 'false' };
    for (const [name, value] of Object.entries(both)) expect(await idsOf({ 'Filter.1.Name': name, 'Filter.1.Value.1': value }), name).toEqual([id, other]);
    expect(await idsOf({ 'Filter.1.Name': 'vpc-id', 'Filter.1.Value.1': 'vpc-*' })).toEqual([id, other]);
    expect(await idsOf({ 'Filter.1.Name': 'vpc-id', 'Filter.1.Value.1': 'vpc-0' })).toEqual([]);
    expect(await lab.codeOf('DescribeInstances', { 'Filter.1.Name': 'colour', 'Filter.1.Value.1': 'x' })).toBe('InvalidParameterValue');
  });

  it('tells how its metadata service is, and lets it be closed, or opened by tokens alone', async () => {
    const id = await instanceIn('running', { params: { 'MetadataOptions.HttpTokens': 'required', 'MetadataOptions.HttpPutResponseHopLimit': 2 } });
    const options = async () => at((await see({ 'InstanceId.1': id }))[0], 'metadataOptions');
    expect(await options()).toMatchObject({ state: 'applied', httpTokens: 'required', httpEndpoint: 'enabled', instanceMetadataTags: 'disabled' });
    const modify = (params: Params, which = id) => lab.codeOf('ModifyInstanceMetadataOptions', { InstanceId: which, ...params });
    const changed = await lab.ask('ModifyInstanceMetadataOptions', { InstanceId: id, HttpTokens: 'optional', HttpPutResponseHopLimit: 2 });
    expect(at(changed, 'instanceMetadataOptions')).toMatchObject({ httpTokens: 'optional', httpEndpoint: 'enabled' });
    expect(await modify({ HttpEndpoint: 'disabled' })).toBe('ok');
    expect(await options()).toMatchObject({ httpTokens: 'optional', httpEndpoint: 'disabled' });
    const found = await lab.ask('DescribeInstances', { 'Filter.1.Name': 'metadata-options.http-endpoint', 'Filter.1.Value.1': 'disabled' });
    expect(items(found, 'reservationSet').length).toBe(1);
    for (const none of [{ InstanceMetadataTags: 'enabled' }, { HttpProtocolIpv6: 'enabled' }]) {
      expect(await modify(none), JSON.stringify(none)).toBe('UnsupportedOperation');
    }
    for (const wrong of [{ HttpTokens: 'yes' }, { HttpEndpoint: 'off' }, { HttpPutResponseHopLimit: 65 }, { HttpPutResponseHopLimit: 0 }]) {
      expect(await modify(wrong), JSON.stringify(wrong)).toBe('InvalidParameterValue');
    }
    expect(await modify({ HttpTokens: 'required' }, 'i-00000000')).toBe('InvalidInstanceID.NotFound');
    expect(await options()).toMatchObject({ httpTokens: 'optional', httpEndpoint: 'disabled' });
  });

  it('goes page by page, over launches', async () => {
    const ids = [...await instancesIn('running', { count: 4 }), ...await instancesIn('running', { count: 4 })];
    const first = await lab.ask('DescribeInstances', { MaxResults: 5 });
    const second = await lab.ask('DescribeInstances', { MaxResults: 5, NextToken: String(first['nextToken']) });
    const seen = [first, second].flatMap((page) => items(page, 'reservationSet')
      .flatMap((each) => items(each, 'instancesSet').map((instance) => instance['instanceId'])));
    expect(seen).toEqual(ids);
    expect(await lab.codeOf('DescribeInstances', { MaxResults: 5, 'InstanceId.1': ids[0] ?? '' })).toBe('InvalidParameterCombination');
  });

  it('knows no malformed, unknown or foreign id', async () => {
    const id = await instanceIn('running');
    expect(await lab.codeOf('DescribeInstances', { 'InstanceId.1': 'i-x' })).toBe('InvalidInstanceID.Malformed');
    expect(await lab.codeOf('DescribeInstances', { 'InstanceId.1': 'i-\0' })).toBe('InvalidParameterValue'); // as of every parameter with a NUL
    await expect(lab.ask('DescribeInstances',
      { 'InstanceId.1': 'i-0badbadb' })).rejects.toThrow("InvalidInstanceID.NotFound: The instance ID 'i-0badbadb' does not exist");
    expect(await lab.codeOf('DescribeInstances', { 'InstanceId.1': id }, lab.bob)).toBe('InvalidInstanceID.NotFound');
    expect(items(await lab.ask('DescribeInstances', {}, lab.bob), 'reservationSet')).toEqual([]);
  });

  it('tells the status of running instances, or of all', async () => {
    const [running, stopped] = [await instanceIn('running'), await instanceIn('stopped')];
    const statuses = async (params: Params = {}) => items(await lab.ask('DescribeInstanceStatus', params), 'instanceStatusSet')
      .map((each) => [each['instanceId'], at(each, 'instanceStatus', 'status'), at(each, 'systemStatus', 'status')]);
    expect(await statuses()).toEqual([[running, 'ok', 'ok']]);
    expect(await statuses({ 'InstanceId.1': stopped })).toEqual([]);
    expect(await statuses({ 'InstanceId.1': stopped, IncludeAllInstances: true })).toEqual([[stopped, 'not-applicable', 'not-applicable']]);
    expect(await statuses({ IncludeAllInstances: true, 'Filter.1.Name': 'instance-status.status', 'Filter.1.Value.1': 'ok' })).toEqual([[running, 'ok', 'ok']]);
  });
});

describe('the life cycle', () => {
  it('stops and starts, each with an operation for the host', async () => {
    const id = await instanceIn('running');
    expect(change(await lab.ask('StopInstances', { 'InstanceId.1': id, Force: true }))).toEqual([['running', 'stopping', '64']]);
    const stop = await newest(id);
    expect(stop).toMatchObject({ kind: 'instance.stop', owner: 'compute@host1', input: { force: true } });
    expect(await lab.told()).toEqual([{ to: 'compute@host1', verb: 'performOperation', body: { instanceId: id, operationId: stop?.id } }]);
    expect(await see({ 'InstanceId.1': id })).toMatchObject([{
      stateReason: { code: 'Client.UserInitiatedShutdown', message: 'Client.UserInitiatedShutdown: User initiated shutdown' },
        reason: expect.stringMatching(/^User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)$/),
    }]);
    expect(change(await lab.ask('StopInstances', { 'InstanceId.1': id }))).toEqual([['stopping', 'stopping', '64']]);
    expect(await lab.told()).toEqual([]);
    expect(await lab.codeOf('StartInstances', { 'InstanceId.1': id })).toBe('IncorrectInstanceState');
    await lab.db.update(instances).set({ state: 'stopped', stateDeadline: null });
    expect(change(await lab.ask('StartInstances', { 'InstanceId.1': id }))).toEqual([['stopped', 'pending', '0']]);
    expect(await newest(id)).toMatchObject({ kind: 'instance.start', owner: 'compute@host1' });
    const row = await rowOf(id);
    expect([row?.stateReasonCode, (row?.stateDeadline?.getTime() ?? 0) - (row?.stateChangedAt.getTime() ?? 0)]).toEqual([null, 300_000]);
    expect(change(await lab.ask('StartInstances', { 'InstanceId.1': id }))).toEqual([['pending', 'pending', '0']]);
  });

  it('stops for good what would run again when its lost host returns', async () => {
    const id = await instanceIn('stopped');
    await lab.db.update(instances).set({ hostLost: true, stateReasonCode: 'Server.HostUnavailable' }).where(eq(instances.id, id));
    expect(change(await lab.ask('StopInstances', { 'InstanceId.1': id }))).toEqual([['stopped', 'stopped', '80']]);
    expect(await rowOf(id)).toMatchObject({ state: 'stopped', hostLost: false, stateReasonCode: 'Client.UserInitiatedShutdown' });
    expect(await newest(id)).toMatchObject({ kind: 'instance.stop', owner: 'compute@host1', input: { force: true } });
  });

  it('reboots without a change of state', async () => {
    const id = await instanceIn('running');
    expect(await lab.ask('RebootInstances', { 'InstanceId.1': id })).toMatchObject({ return: 'true' });
    expect(await newest(id)).toMatchObject({ kind: 'instance.reboot', owner: 'compute@host1' });
    expect((await rowOf(id))?.state).toBe('running');
    expect(await lab.codeOf('RebootInstances', { 'InstanceId.1': await instanceIn('stopped') })).toBe('IncorrectInstanceState');
  });

  it('terminates by the host, or by a scheduler when there is none, and again without harm', async () => {
    const [placed, unplaced] = [await instanceIn('running'), await instanceIn('pending', { placed: false })];
    expect(change(await lab.ask('TerminateInstances', { 'InstanceId.1': placed, 'InstanceId.2': unplaced }))).toEqual([['running', 'shutting-down', '32'],
      ['pending', 'shutting-down', '32']]);
    expect((await newest(placed))?.owner).toBe('compute@host1');
    expect(await newest(unplaced)).toMatchObject({ kind: 'instance.terminate', owner: 'scheduler' });
    expect((await lab.told()).map((each) => [each.to, at(each.body, 'instanceId')]).toSorted()).toEqual([['compute@host1', placed], ['scheduler', unplaced]]);
    await lab.db.update(instances).set({ state: 'terminated' }).where(eq(instances.id, placed));
    expect(change(await lab.ask('TerminateInstances', { 'InstanceId.1': placed }))).toEqual([['terminated', 'terminated', '48']]);
    expect(await lab.told()).toEqual([]);
  });

  it('refuses what the state does not allow', async () => {
    const allowed: Record<string, readonly InstanceState[]> = {
      StopInstances: ['running', 'stopping', 'stopped'], StartInstances: ['stopped', 'pending', 'running'], RebootInstances: ['running'],
      TerminateInstances: ['pending', 'running', 'shutting-down', 'terminated', 'stopping', 'stopped'],
    };
    const [id = ''] = await instancesIn('running');
    for (const [action, states] of Object.entries(allowed)) {
      for (const state of ['pending', 'running', 'shutting-down', 'terminated', 'stopping', 'stopped'] as const) {
        await lab.db.update(instances).set({ state });
        expect(await lab.codeOf(action, { 'InstanceId.1': id }), `${action} ${state}`).toBe(states.includes(state) ? 'ok' : 'IncorrectInstanceState');
      }
    }
  });

  it('changes all instances of a request or none', async () => {
    const [running, kept] = [await instanceIn('running'), await instanceIn('running', { params: { DisableApiTermination: true } })];
    expect(await lab.codeOf('TerminateInstances', { 'InstanceId.1': running, 'InstanceId.2': kept })).toBe('OperationNotPermitted');
    expect(await lab.codeOf('StopInstances', { 'InstanceId.1': running, 'InstanceId.2': 'i-00000000' })).toBe('InvalidInstanceID.NotFound');
    expect(await lab.codeOf('StopInstances', { 'InstanceId.1': running },
      Object.assign({}, lab.bob, { roles: new Set(['sysadmin']) }))).toBe('InvalidInstanceID.NotFound');
    expect(await lab.codeOf('StopInstances')).toBe('MissingParameter');
    expect((await rowOf(running))?.state).toBe('running');
    expect(await lab.told()).toEqual([]);
    await lab.ask('ModifyInstanceAttribute', { InstanceId: kept, 'DisableApiTermination.Value': false });
    expect(await lab.codeOf('TerminateInstances', { 'InstanceId.1': running, 'InstanceId.2': kept })).toBe('ok');
  });

  it('makes one operation of a stop that is asked for twice at once', async () => {
    const id = await instanceIn('running');
    await Promise.all([1, 2, 3].map(() => lab.ask('StopInstances', { 'InstanceId.1': id, 'InstanceId.2': id })));
    expect((await unfinishedOperations(lab.db, id)).filter((operation) => operation.kind === 'instance.stop')).toHaveLength(1);
  });
});

describe('attributes', () => {
  it('are read one by one', async () => {
    const id = await instanceIn('running', { params: { UserData: 'aGVsbG8=', InstanceType: 'm1.tiny' } });
    const read = (attribute: string) => lab.ask('DescribeInstanceAttribute', { InstanceId: id, Attribute: attribute });
    expect(await read('userData')).toMatchObject({ userData: { value: 'aGVsbG8=' } });
    expect(await read('instanceType')).toMatchObject({ instanceId: id, instanceType: { value: 'm1.tiny' } });
    expect(await read('disableApiTermination')).toMatchObject({ disableApiTermination: { value: 'false' } });
    expect(await read('disableApiStop')).toMatchObject({ disableApiStop: { value: 'false' } });
    expect(await read('instanceInitiatedShutdownBehavior')).toMatchObject({ instanceInitiatedShutdownBehavior: { value: 'stop' } });
    expect(items(await read('groupSet'), 'groupSet')).toHaveLength(1);
    expect(await lab.codeOf('DescribeInstanceAttribute', { InstanceId: id, Attribute: 'height' })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('DescribeInstanceAttribute', { InstanceId: 'i-00000000', Attribute: 'userData' })).toBe('InvalidInstanceID.NotFound');
  });

  it('are changed in both forms, as far as they can be', async () => {
    const id = await instanceIn('running');
    const modify = (params: Params) => lab.codeOf('ModifyInstanceAttribute', { InstanceId: id, ...params });
    expect(await modify({ Attribute: 'disableApiTermination', Value: 'true' })).toBe('ok');
    expect(await modify({ 'InstanceInitiatedShutdownBehavior.Value': 'terminate' })).toBe('ok');
    expect(await rowOf(id)).toMatchObject({ disableApiTermination: true, shutdownBehavior: 'terminate' });
    expect(await modify({ 'UserData.Value': 'aGVsbG8=' })).toBe('IncorrectInstanceState');
    expect(await modify({ 'InstanceType.Value': 'm1.small' })).toBe('ok');
    expect(await modify({ 'InstanceType.Value': 'm1.large' })).toBe('IncorrectInstanceState');
    expect(await modify({ 'SourceDestCheck.Value': false })).toBe('UnsupportedOperation');
    expect(await modify({ Attribute: 'height', Value: '1' })).toBe('InvalidParameterValue');
    expect(await modify({})).toBe('MissingParameter');
    expect(await modify({ 'DisableApiTermination.Value': true, 'InstanceInitiatedShutdownBehavior.Value': 'stop' })).toBe('InvalidParameterCombination');
    await lab.db.update(instances).set({ state: 'stopped' });
    expect(await modify({ 'UserData.Value': 'aGVsbG8=' })).toBe('ok');
    expect((await rowOf(id))?.userData).toBe('aGVsbG8=');
  });

  it('include the type, while stopped, as far as the host and the project have room for it', async () => {
    const [id = '', other = ''] = await instancesIn('stopped', { count: 2, params: { InstanceType: 'm1.small' } });
    const claimed = { claimedCores: 2, claimedMemoryMiB: 4096, claimedDiskGiB: 40 };
    const host = { name: 'host-of-types', zone: 'nova', hypervisor: 'qemu', cores: 1, memoryMiB: 8192, diskGiB: 40, ...claimed };
    await lab.db.insert(hosts).values({ ...host, bootId: 'b', updatedAt: new Date() });
    await lab.db.update(instances).set({ host: host.name });
    const resize = (type: string, form: 'old' | 'new' = 'new') => lab.codeOf('ModifyInstanceAttribute', {
      InstanceId: id, ...(form === 'new' ? { 'InstanceType.Value': type } : { Attribute: 'instanceType', Value: type }) });
    const room = async () => (await lab.db.select().from(hosts).where(eq(hosts.name, host.name)))[0];
    expect(await resize('m1.medium')).toBe('ok');
    expect(await rowOf(id)).toMatchObject({ instanceType: 'm1.medium', cores: 2, memoryMiB: 4096, rootGiB: 20 });
    expect(await room()).toMatchObject({ claimedCores: 3, claimedMemoryMiB: 6144, claimedDiskGiB: 40 });
    // The other has 2 GiB of its 8.
    expect(await resize('m1.large')).toBe('InsufficientInstanceCapacity');
    expect(await resize('x9.huge')).toBe('InvalidInstanceAttributeValue');
    await setLimit(lab.db, lab.ann.projectId, 'cores', 3);
    expect(await resize('t3.nano')).toBe('ok');
    expect(await lab.codeOf('ModifyInstanceAttribute', { InstanceId: other, 'InstanceType.Value': 'm1.medium' })).toBe('VcpuLimitExceeded');
    await clearLimit(lab.db, lab.ann.projectId, 'cores');
    await lab.db.update(instances).set({ migratingTo: 'host2' }).where(eq(instances.id, id));
    expect(await resize('m1.tiny')).toBe('IncorrectInstanceState');
    await lab.db.update(instances).set({ migratingTo: null }).where(eq(instances.id, id));
    // Less is given back even where nothing is given out.
    await lab.db.update(hosts).set({ enabled: false }).where(eq(hosts.name, host.name));
    expect(await resize('m1.tiny', 'old')).toBe('ok');
    expect(await rowOf(id)).toMatchObject({ instanceType: 'm1.tiny', cores: 1, memoryMiB: 512 });
    expect(await room()).toMatchObject({ claimedCores: 2, claimedMemoryMiB: 2560, claimedDiskGiB: 40 });
  });

  it('include the groups, and network hosts are told of those left and joined', async () => {
    const id = await instanceIn('running');
    await lab.auth.addRole('ann', 'netadmin');
    await lab.auth.addRole('ann', 'netadmin', 'ann');
    const made = await lab.ask('CreateSecurityGroup', { GroupName: 'web', GroupDescription: 'x' }, await lab.auth.principalFor('ann', 'ann'));
    const groupId = String(made['groupId']);
    const [before] = await see();
    await lab.ask('ModifyInstanceAttribute', { InstanceId: id, 'GroupId.1': groupId });
    const [after] = await see();
    expect(items(after, 'groupSet')).toEqual([{ groupId, groupName: 'web' }]);
    const [told] = await lab.told();
    expect(told).toMatchObject({ to: 'network@host1', verb: 'refreshFirewall' });
    expect((at(told, 'body', 'groupIds') as string[]).toSorted()).toEqual([groupId, String(at(before, 'groupSet', 'item', 0, 'groupId'))].toSorted());
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: groupId }, await lab.auth.principalFor('ann', 'ann'))).toBe('InvalidGroup.InUse');
    await lab.db.update(instances).set({ state: 'terminated' });
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: groupId }, await lab.auth.principalFor('ann', 'ann'))).toBe('ok');
  });
});

describe('the console', () => {
  it('is what its host reads, and empty before there is one', async () => {
    const placed = await instanceIn('running');
    expect(await lab.ask('GetConsoleOutput', { 'InstanceId.1': placed })).toMatchObject({ instanceId: placed, output: 'bG9naW46IA==',
      timestamp: '2026-11-22T16:00:00.000Z' });
    expect(await lab.ask('GetConsoleOutput', { InstanceId: await instanceIn('pending', { placed: false }) })).toMatchObject({ output: '' });
    expect(await lab.codeOf('GetConsoleOutput', { InstanceId: 'i-00000000' })).toBe('InvalidInstanceID.NotFound');
  });

  it('of a host that fails is unavailable, and no internal error', async () => {
    consoleText = () => Promise.reject(new Error('the disk is gone'));
    expect(await lab.codeOf('GetConsoleOutput', { InstanceId: await instanceIn('running') })).toBe('Unavailable');
  });
});
