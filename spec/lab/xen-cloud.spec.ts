// A cloud whose compute host is the first domain of a real Xen: compute, network and volumes run there as an operator starts them, all else here. A user
// runs a paravirtual instance from the ready-made image's parts, logs in, gives it disks, takes them, stops, starts and ends it. Its disks are a logical
// volume of the host, and one that comes from another host by ATA over Ethernet.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aws, ssh, untilSsh, writeKey, type Login } from '../support/clients.ts';
import { onFailureShow } from '../support/cloud-process.ts';
import { startLabCloud, type LabCloud } from '../support/lab-cloud.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { waitFor } from '../support/patience.ts';

const slowMs = 300_000;
const patience = { timeoutMs: slowMs, pollMs: 2_000 };
const guests = '10.45.0.0/20';
const group = 'novact';
let lab: Lab;
let cloud: LabCloud;
let id: string;
let login: Login;

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly PrivateIpAddress?: string;
  readonly Hypervisor: string;
}

const ec2 = <T>(...args: readonly string[]) => aws<T>(cloud, 'ec2', ...args);
const virsh = async (...args: readonly string[]) => (await lab.run('virsh', ['-q', '-c', 'xen:///system', ...args], { timeoutMs: slowMs })).stdout.trim();
const inGuest = (command: string, timeoutMs = slowMs) => ssh(cloud, login, command, timeoutMs);

async function instance(): Promise<Instance> {
  const { Reservations: [reservation] } = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe-instances', '--instance-ids', id);
  const [found] = reservation?.Instances ?? [];
  if (found === undefined) throw new Error(`${id} is not shown`);
  return found;
}

const reaches = (state: string) => waitFor(`${id} is ${state}`, patience, async () => {
  const found = await instance();
  return found.State.Name === state ? found : undefined;
});

async function createVolume(): Promise<string> {
  const { VolumeId } = await ec2<{ VolumeId: string }>('create-volume', '--availability-zone', 'nova', '--size', '1');
  await ec2('wait', 'volume-available', '--volume-ids', VolumeId);
  return VolumeId;
}

/** Attached to the running guest, given a file system and a file, and taken off. */
async function useDisk(volumeId: string, source: RegExp): Promise<void> {
  await ec2('attach-volume', '--volume-id', volumeId, '--instance-id', id, '--device', '/dev/sdf');
  await waitFor('the guest sees the disk', patience, async () => ((await inGuest('cat /sys/block/xvdb/size')) === String(2 ** 21) ? true : undefined));
  expect(await virsh('domblklist', id)).toMatch(source);
  const write = 'mke2fs -q -F /dev/xvdb 2>/dev/null && mount -t ext4 /dev/xvdb /mnt && echo "$0" > /mnt/proof && umount /mnt && echo done';
  expect(await inGuest(`sh -c '${write}' ${volumeId}`)).toBe('done');
  await ec2('wait', 'volume-in-use', '--volume-ids', volumeId);
  await ec2('detach-volume', '--volume-id', volumeId);
  await ec2('wait', 'volume-available', '--volume-ids', volumeId);
  expect(await inGuest('ls /sys/block')).not.toContain('xvdb');
}

beforeAll(async () => {
  lab = await startLab('lab-xen-cloud', { xen: true, memoryMiB: 2560, guestsMiB: 900 });
  await lab.run('modprobe', ['-a', 'loop', 'dm_mod']);
  await lab.run('truncate', ['-s', '2G', '/var/lib/disk']);
  await lab.run('losetup', ['/dev/loop0', '/var/lib/disk']);
  await lab.run('vgcreate', ['--physicalextentsize', '1M', group, '/dev/loop0'], { timeoutMs: slowMs });
  cloud = await startLabCloud(lab, {
    inside: {
      roles: ['network', 'volume', 'compute'],
      settings: { NOVACT_LIBVIRT_URI: 'xen:///system', NOVACT_VOLUME_DRIVER: 'local', NOVACT_VOLUME_STORE: 'lvm', NOVACT_VOLUME_GROUP: group },
    },
  });
  await lab.outside('ip', ['route', 'add', guests, 'via', lab.address]);
}, 4 * slowMs);
afterAll(async () => {
  await cloud?.down();
  await lab?.down();
});
onFailureShow(() => cloud);

describe('a host under Xen', () => {
  it('runs a paravirtual instance with its address, its metadata and its key', async () => {
    const { Images: [image] } = await ec2<{ Images: { ImageId: string }[] }>('describe-images', '--filters', 'Name=image-type,Values=machine');
    const { KeyMaterial } = await ec2<{ KeyMaterial: string }>('create-key-pair', '--key-name', 'key');
    const keyFile = await writeKey(cloud, 'key', KeyMaterial);
    await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
    const { Instances: [asked] } = await ec2<{ Instances: Instance[] }>(
      'run-instances', '--image-id', image?.ImageId ?? '', '--instance-type', 't2.nano', '--key-name', 'key',
      '--user-data', '#!/bin/sh\necho told > /run/told\n',
    );
    id = asked?.InstanceId ?? '';
    const running = await reaches('running');
    expect(running.Hypervisor).toBe('xen');
    expect((await virsh('dumpxml', id)).match(/machine='(\w+)'/)?.[1]).toBe('xenpv');
    login = { address: running.PrivateIpAddress ?? '', keyFile };
    expect(await untilSsh(cloud, login, 'cat /sys/hypervisor/type', slowMs)).toBe('xen');
    expect(await inGuest('cat /var/lib/novact/instance-id')).toBe(id);
    await waitFor('user data ran', patience, async () => ((await inGuest('cat /run/told')) === 'told' ? true : undefined));
  }, 2 * slowMs);

  it('shows its console', async () => {
    const { Output } = await ec2<{ Output: string }>('get-console-output', '--instance-id', id, '--latest');
    expect(Output).toContain('guest: ready at');
  }, slowMs);

  it('V1: gives the running guest a logical volume of its own, and takes it back with what was written', async () => {
    const volumeId = await createVolume();
    await useDisk(volumeId, new RegExp(`/dev/${group}/${volumeId}`));
    const { stdout } = await lab.run('grep', ['-aoc', volumeId, `/dev/${group}/${volumeId}`], { timeoutMs: slowMs });
    expect(Number(stdout)).toBeGreaterThan(0);
    await ec2('delete-volume', '--volume-id', volumeId);
    await waitFor('its room is free', patience, async () => ((await lab.run('lvs', ['--noheadings', group])).stdout.trim() === '' ? true : undefined));
  }, 2 * slowMs);

  it('V6: gives it a disk of another host by ATA over Ethernet, and lets go of it', async () => {
    const volumes = await cloud.startHere('volume', { NOVACT_VOLUME_DRIVER: 'aoe', NOVACT_VOLUME_ALLOCATION: 'thin' });
    const volumeId = await createVolume();
    await useDisk(volumeId, /\/dev\/etherd\/e1\.\d+/);
    const { stdout } = await lab.outside('grep', ['-aoc', volumeId, join(cloud.state, 'volumes', 'volumes', `${volumeId}.raw`)], { timeoutMs: slowMs });
    expect(Number(stdout)).toBeGreaterThan(0);
    expect((await lab.run('sh', ['-c', 'ls /dev/etherd | grep "^e[0-9]" || true'])).stdout).toBe('');
    await ec2('delete-volume', '--volume-id', volumeId);
    await waitFor('it is deleted', patience, async () => {
      const { Volumes } = await ec2<{ Volumes: unknown[] }>('describe-volumes');
      return Volumes.length === 0 ? true : undefined;
    });
    await volumes.stop();
  }, 2 * slowMs);

  it('restarts it when its user wishes so', async () => {
    const bootOf = () => inGuest('cat /proc/sys/kernel/random/boot_id');
    const boot = await bootOf();
    await ec2('reboot-instances', '--instance-ids', id);
    await waitFor('the guest restarted', patience, async () => ((await bootOf()) === boot ? undefined : true));
    expect((await instance()).State.Name).toBe('running');
  }, 2 * slowMs);

  it('K6: stops it by its own shutdown, and starts it again with what it had written', async () => {
    await inGuest('echo kept > /root/proof');
    await ec2('stop-instances', '--instance-ids', id);
    await reaches('stopped');
    expect(await virsh('domstate', '--reason', id)).toBe('shut off (shutdown)');
    await ec2('start-instances', '--instance-ids', id);
    await reaches('running');
    expect(await untilSsh(cloud, login, 'cat /root/proof', slowMs)).toBe('kept');
  }, 3 * slowMs);

  it('leaves nothing of it when it is terminated', async () => {
    await ec2('terminate-instances', '--instance-ids', id);
    await reaches('terminated');
    expect(await virsh('list', '--all', '--name')).toBe('Domain-0');
    expect((await lab.run('ls', [join(cloud.insideState, 'instances')])).stdout.trim()).toBe('');
  }, slowMs);
});
