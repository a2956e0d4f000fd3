// N2: the network manager flat, with the whole product and real QEMU guests: nobody serves addresses, a drive tells them. Root only.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findProcesses } from '../../src/lib/processes.ts';
import { aws, ssh, untilSsh, writeKey } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { waitUntil } from '../support/patience.ts';

interface Instance {
  readonly InstanceId: string;
  readonly PrivateIpAddress: string;
  readonly State: { readonly Name: string };
}

const gateway = '10.45.0.1';
const userData = '#!/bin/sh\necho told > /run/told\n';

let cloud: CloudProcess;
let keyFile: string;
let ids: string[];
let guests: Instance[];
const ec2 = <T>(...args: readonly string[]) => aws<T>(cloud, 'ec2', ...args);
const inside = ({ PrivateIpAddress: address }: Instance, command: string) => ssh(cloud, { address, keyFile }, command);

async function described(): Promise<Instance[]> {
  const { Reservations } = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe-instances', '--instance-ids', ...ids);
  return Reservations.flatMap(({ Instances }) => Instances);
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-flat', { guests: 'qemu', settings: { NOVACT_NETWORK_MANAGER: 'flat', NOVACT_NAME_SERVERS: '192.0.2.53' } });
  const { KeyMaterial } = await ec2<{ KeyMaterial: string }>('create-key-pair', '--key-name', 'flat');
  keyFile = await writeKey(cloud, 'flat', KeyMaterial);
  await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
  const { Images } = await ec2<{ Images: { ImageId: string }[] }>('describe-images', '--filters', 'Name=name,Values=novact-tiny');
  const { Instances } = await ec2<{ Instances: Instance[] }>(
    'run-instances', '--image-id', Images[0]?.ImageId ?? '', '--instance-type', 't2.nano', '--count', '2', '--key-name', 'flat', '--user-data', userData,
  );
  ids = Instances.map(({ InstanceId }) => InstanceId);
  await waitUntil('both run', { timeoutMs: 120_000 }, async () => (await described()).every(({ State }) => State.Name === 'running'));
  guests = await described();
  for (const { PrivateIpAddress: address } of guests) await untilSsh(cloud, { address, keyFile }, 'true', 200_000);
}, 400_000);
afterAll(() => cloud?.down());
onFailureShow(() => cloud);

describe('N2: guests of the network manager flat', () => {
  it('have address, route, MTU, name and name servers by their drive, and no DHCP server runs', async () => {
    for (const guest of guests) {
      expect(await inside(guest, 'ip -4 -o addr show eth0')).toContain(`inet ${guest.PrivateIpAddress}/20 `);
      expect(await inside(guest, 'ip route')).toContain(`default via ${gateway} dev eth0`);
      expect(await inside(guest, 'cat /sys/class/net/eth0/mtu /etc/resolv.conf; hostname')).toBe(
        `1500\nsearch novact.internal\nnameserver 192.0.2.53\n${guest.InstanceId}`);
      expect(await inside(guest, 'ls /run/udhcpc.log || true')).toBe('');
    }
    expect(await findProcesses((args) => args.some((arg) => arg.startsWith(`--pid-file=${cloud.state}/networks/`)))).toEqual([]);
  });

  it('have metadata as well, and on the drive what cloud-init looks for there, which they cannot write', async () => {
    const [guest] = guests as [Instance];
    expect(await inside(guest, '/sbin/metadata get meta-data/instance-id')).toBe(guest.InstanceId);
    expect(await inside(guest, '/sbin/metadata get meta-data/local-ipv4')).toBe(guest.PrivateIpAddress);
    await waitUntil('its user data ran', { timeoutMs: 60_000 }, async () => (await inside(guest, 'cat /run/told || true')) === 'told');
    const drive = '/run/config-drive/openstack/latest';
    expect(`${await inside(guest, `cat ${drive}/user_data`)}\n`).toBe(userData);
    expect(JSON.parse(await inside(guest, `cat ${drive}/meta_data.json`))).toMatchObject({ name: guest.InstanceId, public_keys: { flat: expect.any(String) } });
    expect(JSON.parse(await inside(guest, `cat ${drive}/network_data.json`))).toMatchObject({ networks: [{ ip_address: `${guest.PrivateIpAddress}/20` }] });
    expect(await inside(guest, 'disk=$(grep config-drive /proc/mounts | cut -d" " -f1); cat /sys/block/${disk#/dev/}/ro')).toBe('1');
  });

  it('reach each other as far as their groups let them', async () => {
    const [one, two] = guests as [Instance, Instance];
    // Members of the default group may all; the host is none.
    expect(await inside(one, `ping -c 1 -W 5 ${two.PrivateIpAddress} > /dev/null && echo yes`)).toBe('yes');
    const pings = async () => (await cloud.run('ping', ['-c', '1', '-W', '1', two.PrivateIpAddress], { okCodes: [0, 1] })).code === 0;
    expect(await pings()).toBe(false);
    await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'icmp', '--port', '-1', '--cidr', '0.0.0.0/0');
    await waitUntil('it pings', { timeoutMs: 30_000 }, pings);
  });

  it('keep the address when they start again', async () => {
    const [guest] = guests as [Instance];
    const boot = await inside(guest, 'cat /proc/sys/kernel/random/boot_id');
    await ec2('reboot-instances', '--instance-ids', guest.InstanceId);
    await waitUntil('it has booted again', { timeoutMs: 200_000 }, async () => (await inside(guest, 'cat /proc/sys/kernel/random/boot_id')) !== boot);
    expect(await inside(guest, 'ip -4 -o addr show eth0')).toContain(`inet ${guest.PrivateIpAddress}/20 `);
  });
});
