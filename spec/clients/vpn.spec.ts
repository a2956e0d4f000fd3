// The whole product as its users meet it: an instance with a chosen address in the default VPC, launched by boto3 as Ansible does it, and reached from
// outside by the project's VPN, with the file that the operator printed. Guests are containers.
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { openBoto3, type Boto3 } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { waitUntil } from '../support/patience.ts';

const outsideName = 'clients-vpn-out';
const wished = '10.45.0.99';
const root = createRun({ log: silentLog });
const outside: Run = createRun({ log: silentLog, networkNamespace: outsideName });
let cloud: CloudProcess;
let boto3: Boto3;
let client: ChildProcess | undefined;

beforeAll(async () => {
  cloud = await startCloudProcess('clients-vpn', { guests: 'lxc', database: 'pglite' });
  boto3 = openBoto3(cloud);
  await root('ip', ['netns', 'add', outsideName]);
  await root('ip', ['-n', cloud.host.namespace, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', outsideName]);
  await cloud.host.run('ip', ['address', 'add', '192.0.2.1/24', 'dev', 'up0']);
  await cloud.host.run('ip', ['link', 'set', 'up0', 'up']);
  await outside('ip', ['address', 'add', '192.0.2.2/24', 'dev', 'eth0']);
  for (const link of ['lo', 'eth0']) await outside('ip', ['link', 'set', link, 'up']);
});
afterAll(async () => {
  client?.kill('SIGKILL');
  await boto3?.close();
  await cloud?.down();
  await root('ip', ['netns', 'del', outsideName], { okCodes: [0, 1] });
});
onFailureShow(() => cloud);

const pings = async (): Promise<boolean> => (await outside('ping', ['-c', '1', '-W', '2', wished], { okCodes: [0, 1, 2] })).code === 0;

describe('the VPN of a project', () => {
  it('is made, opened and taken back by an operator, and leads to an instance at the address that its user chose', async () => {
    const { Account: account } = await boto3.call<{ Account: string }>('sts', 'get_caller_identity');
    await cloud.novact('manage', 'vpn', 'create', account, '--address', '192.0.2.1');
    const file = join(cloud.folder, 'joe.ovpn');
    await writeFile(file, await cloud.novact('manage', 'vpn', 'credentials', account, 'joe'), { mode: 0o600 });

    const { Subnets: [subnet] } = await boto3.call<{ Subnets: { SubnetId: string; VpcId: string }[] }>('ec2', 'describe_subnets', {
      Filters: [{ Name: 'default-for-az', Values: ['true'] }],
    });
    const { GroupId } = await boto3.call<{ GroupId: string }>('ec2', 'create_security_group', { GroupName: 'vpn', Description: 'vpn', VpcId: subnet?.VpcId });
    await boto3.call('ec2', 'authorize_security_group_ingress', { GroupId, IpProtocol: 'icmp', FromPort: -1, ToPort: -1, CidrIp: '172.27.0.0/24' });
    const { Images } = await boto3.call<{ Images: { ImageId: string }[] }>('ec2', 'describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
    const { Instances: [instance] } = await boto3.call<{ Instances: { InstanceId: string; PrivateIpAddress: string }[] }>('ec2', 'run_instances', {
      ImageId: Images[0]?.ImageId, InstanceType: 't2.nano', MinCount: 1, MaxCount: 1,
      NetworkInterfaces: [{ DeviceIndex: 0, SubnetId: subnet?.SubnetId, Groups: [GroupId], PrivateIpAddress: wished, DeleteOnTermination: true }],
    });
    expect(instance?.PrivateIpAddress).toBe(wished);
    const InstanceIds = [instance?.InstanceId ?? ''];
    await boto3.call('ec2', 'wait:instance_running', { InstanceIds, WaiterConfig: { Delay: 1, MaxAttempts: 90 } });

    expect(await pings()).toBe(false);
    client = spawn('ip', ['netns', 'exec', outsideName, 'openvpn', '--config', file], { stdio: 'ignore' });
    await waitUntil('the guest answers through the tunnel', { timeoutMs: 60_000 }, pings);
    const { NetworkInterfaces: [shown] } = await boto3.call<{ NetworkInterfaces: { PrivateIpAddress: string; Attachment: { Status: string } }[] }>(
      'ec2', 'describe_network_interfaces', { Filters: [{ Name: 'attachment.instance-id', Values: InstanceIds }] });
    expect(shown).toMatchObject({ PrivateIpAddress: wished, SubnetId: subnet?.SubnetId, Attachment: { Status: 'attached' } });

    await cloud.novact('manage', 'vpn', 'revoke', account, 'joe');
    await waitUntil('the tunnel is cut', { timeoutMs: 30_000 }, async () => !(await pings()));
    await cloud.novact('manage', 'vpn', 'delete', account);
    await waitUntil('the server is gone', { timeoutMs: 60_000 }, async () => !(await cloud.host.run('ip', ['-o', 'link'])).stdout.includes('novpn'));
    await boto3.call('ec2', 'terminate_instances', { InstanceIds });
    await boto3.call('ec2', 'wait:instance_terminated', { InstanceIds, WaiterConfig: { Delay: 1, MaxAttempts: 90 } });
    const free = await boto3.call<{ NetworkInterfaces: unknown[] }>('ec2', 'describe_network_interfaces');
    expect(free.NetworkInterfaces).toEqual([]);
  });
});
