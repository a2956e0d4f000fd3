// N14: IPv6 with the whole product: a guest has the address that the API foretells, its groups decide who reaches it, and its metadata know it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { slaacAddress } from '../../src/lib/ipv6.ts';
import { openBoto3, ssh, untilSsh, writeKey, type Boto3 } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { waitUntil } from '../support/patience.ts';

interface Instance {
  readonly InstanceId: string;
  readonly PrivateIpAddress: string;
  readonly Ipv6Address: string;
  readonly NetworkInterfaces: readonly { readonly MacAddress: string; readonly Ipv6Addresses: readonly { readonly Ipv6Address: string }[] }[];
}

const range = 'fd00:45::/64';
let cloud: CloudProcess;
let boto3: Boto3;
let keyFile: string;
let one: Instance;
let two: Instance;
const ec2 = <T = Record<string, unknown>>(method: string, parameters: Record<string, unknown> = {}) => boto3.call<T>('ec2', method, parameters);
const inside = ({ PrivateIpAddress: address }: Instance, command: string) => ssh(cloud, { address, keyFile }, command);
const pings = async (from: Instance, to: Instance) => (await inside(from, `ping -6 -c 1 -W 2 ${to.Ipv6Address} > /dev/null && echo yes || echo no`)) === 'yes';

async function launch(group: string, imageId: string | undefined): Promise<Instance> {
  const { Instances: [made] } = await ec2<{ Instances: Instance[] }>('run_instances', {
    ImageId: imageId, InstanceType: 't2.nano', MinCount: 1, MaxCount: 1, KeyName: 'six', SecurityGroups: [group],
  });
  const which = { InstanceIds: [made?.InstanceId] };
  await ec2('wait:instance_running', { ...which, WaiterConfig: { Delay: 1, MaxAttempts: 120 } });
  const { Reservations } = await ec2<{ Reservations: { Instances: [Instance] }[] }>('describe_instances', which);
  const [found] = Reservations[0]?.Instances ?? [];
  if (found === undefined) throw new Error('the instance is not described');
  await untilSsh(cloud, { address: found.PrivateIpAddress, keyFile }, 'true');
  return found;
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-six', { guests: 'lxc', settings: { NOVACT_IPV6_RANGE: range } });
  boto3 = openBoto3(cloud);
  keyFile = await writeKey(cloud, 'six', (await ec2<{ KeyMaterial: string }>('create_key_pair', { KeyName: 'six' })).KeyMaterial);
  for (const GroupName of ['left', 'right']) {
    await ec2('create_security_group', { GroupName, Description: GroupName });
    await ec2('authorize_security_group_ingress', { GroupName, IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' });
  }
  const { Images } = await ec2<{ Images: { ImageId: string }[] }>('describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  [one, two] = [await launch('left', Images[0]?.ImageId), await launch('right', Images[0]?.ImageId)];
}, 400_000);
afterAll(async () => {
  await boto3?.close();
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('N14: instances of a cloud with IPv6', () => {
  it('have the address that their MAC foretells, as the API, their card and their metadata say', async () => {
    for (const guest of [one, two]) {
      const [card] = guest.NetworkInterfaces;
      expect(guest.Ipv6Address).toBe(slaacAddress(range, card?.MacAddress ?? ''));
      expect(card?.Ipv6Addresses).toMatchObject([{ Ipv6Address: guest.Ipv6Address }]);
      await waitUntil('its card has it', { timeoutMs: 60_000 }, async () =>
        (await inside(guest, 'ip -6 -o addr show eth0 scope global')).includes(`${guest.Ipv6Address}/64`));
      expect(await inside(guest, '/sbin/metadata token > /dev/null; /sbin/metadata get meta-data/ipv6')).toBe(guest.Ipv6Address);
    }
    const { Subnets } = await ec2<{ Subnets: { Ipv6CidrBlockAssociationSet: object[] }[] }>('describe_subnets');
    expect(Subnets).toMatchObject([{ AssignIpv6AddressOnCreation: true, Ipv6CidrBlockAssociationSet: [{ Ipv6CidrBlock: range }] }]);
  });

  it('reach each other as rules of IPv6 say, by range and by group, while they run', async () => {
    expect(await pings(one, two)).toBe(false);
    const echo = { IpProtocol: 'icmpv6', FromPort: 128, ToPort: -1 };
    const byRange = { GroupName: 'right', IpPermissions: [{ ...echo, Ipv6Ranges: [{ CidrIpv6: '::/0' }] }] };
    await ec2('authorize_security_group_ingress', byRange);
    await waitUntil('it pings', { timeoutMs: 30_000 }, () => pings(one, two));
    expect(await pings(two, one)).toBe(false);
    await ec2('revoke_security_group_ingress', byRange);
    await waitUntil('it does not any more', { timeoutMs: 30_000 }, async () => !(await pings(one, two)));
    await ec2('authorize_security_group_ingress', { GroupName: 'right', IpPermissions: [{ IpProtocol: '-1', UserIdGroupPairs: [{ GroupName: 'left' }] }] });
    await waitUntil('members of the other group do', { timeoutMs: 30_000 }, () => pings(one, two));
    expect(await inside(one, `nc -w 2 ${two.Ipv6Address} 22 < /dev/null | head -c 3`)).toBe('SSH');
  });
});
