// Volumes as users have them, with Debian's awscli, boto3 and boto 2 and real QEMU guests, over iSCSI: made, attached to a running guest, written,
// snapshotted, grown under it, taken off, attached to another guest, read the same, restored, booted from; novact killed in between; then nothing is left.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hosts } from '../../src/db/schema/all.ts';
import { aws, openBoto3, python, ssh, untilSsh, writeKey, type Boto3, type Login } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { diskCommand } from '../support/guest-disks.ts';
import { expectNoLeftovers } from '../support/leftovers.ts';
import { waitFor } from '../support/patience.ts';

let cloud: CloudProcess;
let boto3: Boto3;
const ec2 = <T = Record<string, unknown>>(...args: readonly string[]) => aws<T>(cloud, 'ec2', ...args);
const patience = { timeoutMs: 120_000 };
const slowMs = 300_000;

interface Guest extends Login {
  readonly id: string;
}

let guests: readonly [Guest, Guest];
/** The machine image that all begin with. */
let image: { readonly ImageId: string; readonly KernelId: string; readonly RamdiskId: string };
let volumeId: string;
let snapshotId: string;

interface ShownVolume {
  readonly State: string;
  readonly Attachments: readonly { readonly State: string; readonly InstanceId: string }[];
}

async function stateOf(id: string): Promise<string> {
  const { Volumes: [volume] } = await boto3.call<{ Volumes: ShownVolume[] }>('ec2', 'describe_volumes', { VolumeIds: [id] });
  return [volume?.State, ...(volume?.Attachments ?? []).map(({ State }) => State)].join(' ');
}

const untilState = (id: string, state: string) => waitFor(`${id} is ${state}`, patience, async () => {
  const now = await stateOf(id);
  if (now === state) return true;
  throw new Error(`it is ${now}`);
});
const untilGone = (id: string) => waitFor(`${id} is gone`, patience, () =>
  stateOf(id).then(() => undefined, (error: { code?: string }) => (error.code === 'InvalidVolume.NotFound' ? true : undefined)));

async function attach(id: string, guest: Guest, device = '/dev/sdf'): Promise<void> {
  await boto3.call('ec2', 'attach_volume', { VolumeId: id, InstanceId: guest.id, Device: device });
  await untilState(id, 'in-use attached');
}

async function detach(id: string): Promise<void> {
  await ec2('detach-volume', '--volume-id', id);
  await untilState(id, 'available');
}

async function remove(id: string): Promise<void> {
  await boto3.call('ec2', 'delete_volume', { VolumeId: id });
  await untilGone(id);
}

/** The guest's own name of the disk with that volume's serial number; empty while it has none. */
const diskIn = (guest: Guest, id: string) =>
  ssh(cloud, guest, diskCommand(id.replace('-', '').slice(0, 20))).catch(() => '');
const untilSeen = (guest: Guest, id: string) => waitFor(`${guest.id} sees ${id}`, patience, async () => (await diskIn(guest, id)) || undefined);
const gibibytesOf = async (guest: Guest, disk: string) => Number(await ssh(cloud, guest, `cat /sys/block/${disk}/size`)) / 2 ** 21;
const read = (guest: Guest, disk: string) =>
  ssh(cloud, guest, `mount -t ext4 /dev/${disk} /mnt && cat /mnt/proof; umount /mnt`);

interface ShownInstance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly PrivateIpAddress: string;
}

const untilRunning = (id: string, keyFile: string) => waitFor(`${id} runs`, { timeoutMs: slowMs }, async () => {
  const answer = await boto3.call<{ Reservations: { Instances: ShownInstance[] }[] }>('ec2', 'describe_instances', { InstanceIds: [id] });
  const instance = answer.Reservations[0]?.Instances[0];
  return instance?.State.Name === 'running' ? { id, address: instance.PrivateIpAddress, keyFile } : undefined;
});

async function launch(): Promise<[Guest, Guest]> {
  const { KeyMaterial } = await ec2<{ KeyMaterial: string }>('create-key-pair', '--key-name', 'volumes');
  const keyFile = await writeKey(cloud, 'volumes', KeyMaterial);
  await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
  const { Images: [found] } = await ec2<{ Images: (typeof image)[] }>('describe-images', '--filters', 'Name=image-type,Values=machine');
  if (found === undefined) throw new Error('a cloud that is ready has an image');
  image = found;
  const { Instances } = await ec2<{ Instances: ShownInstance[] }>('run-instances', '--image-id', image.ImageId, '--instance-type', 'm1.tiny',
    '--count', '2', '--key-name', 'volumes');
  const made = await Promise.all(Instances.map(({ InstanceId }) => untilRunning(InstanceId, keyFile)));
  for (const guest of made) await untilSsh(cloud, guest, 'true', slowMs);
  const [first, second] = made;
  if (first === undefined || second === undefined) throw new Error('two guests were expected');
  return [first, second];
}

/** An image of a snapshot of the guest's own system, which is copied to a volume. */
async function systemImage(guest: Guest): Promise<string> {
  const { VolumeId: copy } = await boto3.call<{ VolumeId: string }>('ec2', 'create_volume', { AvailabilityZone: 'nova', Size: 1 });
  await boto3.call('ec2', 'wait:volume_available', { VolumeIds: [copy] });
  await attach(copy, guest);
  const disk = await untilSeen(guest, copy);
  expect(await ssh(cloud, guest, `sync; dd if=/dev/vda of=/dev/${disk} bs=1M 2>/dev/null && sync && echo done`, 120_000)).toBe('done');
  await detach(copy);
  ({ SnapshotId: snapshotId } = await boto3.call<{ SnapshotId: string }>('ec2', 'create_snapshot', { VolumeId: copy }));
  await boto3.call('ec2', 'wait:snapshot_completed', { SnapshotIds: [snapshotId] });
  await remove(copy);
  const { ImageId } = await ec2<{ ImageId: string }>('register-image', '--name', 'of a snapshot', '--root-device-name', '/dev/vda',
    '--kernel-id', image.KernelId, '--ramdisk-id', image.RamdiskId, '--block-device-mappings', `DeviceName=/dev/vda,Ebs={SnapshotId=${snapshotId}}`);
  return ImageId;
}

/** Its volumes by the names of its devices: `/dev/vda` comes after `/dev/sdf`. */
async function devicesOf(guest: Guest): Promise<string[]> {
  type Described = { BlockDeviceMappings: { DeviceName: string; Ebs: { VolumeId: string } }[] };
  const parameters = { InstanceId: guest.id, Attribute: 'blockDeviceMapping' };
  const { BlockDeviceMappings: found } = await boto3.call<Described>('ec2', 'describe_instance_attribute', parameters);
  return found.toSorted((a, b) => b.DeviceName.localeCompare(a.DeviceName)).map(({ Ebs }) => Ebs.VolumeId);
}

/** What lived on the machine is gone: novact, guests, servers of volumes; and it has started another time since the database was written. */
async function cutPower(): Promise<void> {
  await cloud.kill9();
  const { stdout } = await cloud.host.run('ip', ['netns', 'pids', cloud.host.namespace]);
  for (const pid of stdout.split('\n').filter((line) => line !== '')) {
    const [command = ''] = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (/(^|\/)(tgtd|qemu-system-\w+)$/.test(command)) process.kill(Number(pid), 'SIGKILL');
  }
  const database = await cloud.openDatabase();
  await database.db.update(hosts).set({ bootId: 'before the power cut' });
  await database.close();
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-vol', { guests: 'qemu', settings: { NOVACT_VOLUME_DRIVER: 'iscsi', NOVACT_VOLUME_ALLOCATION: 'thin' } });
  boto3 = openBoto3(cloud);
  guests = await launch();
}, 2 * slowMs);
afterAll(async () => {
  await boto3?.close();
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('volumes over iSCSI with QEMU guests', () => {
  it('V3: a running guest sees an attached volume at once, with its size, and keeps files on it', async () => {
    const [guest] = guests;
    ({ VolumeId: volumeId } = await ec2<{ VolumeId: string }>('create-volume', '--availability-zone', 'nova', '--size', '1'));
    await ec2('wait', 'volume-available', '--volume-ids', volumeId);
    await ec2('attach-volume', '--volume-id', volumeId, '--instance-id', guest.id, '--device', '/dev/sdf');
    await ec2('wait', 'volume-in-use', '--volume-ids', volumeId);
    const disk = await untilSeen(guest, volumeId);
    expect(await gibibytesOf(guest, disk)).toBe(1);
    const make = `mke2fs -F /dev/${disk} >/dev/null 2>&1 && mount -t ext4 /dev/${disk} /mnt && echo here > /mnt/proof && sync && echo done`;
    expect(await ssh(cloud, guest, make, 60_000)).toBe('done');
  }, slowMs);

  it('V5: a kill of novact changes nothing for the guest that has it mounted', async () => {
    await cloud.kill9();
    await cloud.start();
    expect(await ssh(cloud, guests[0], 'cat /mnt/proof')).toBe('here');
    expect(await stateOf(volumeId)).toBe('in-use attached');
  }, slowMs);

  it('E21: a snapshot of it is made while it is mounted', async () => {
    ({ SnapshotId: snapshotId } = await ec2<{ SnapshotId: string }>('create-snapshot', '--volume-id', volumeId, '--description', 'while mounted'));
    await boto3.call('ec2', 'wait:snapshot_completed', { SnapshotIds: [snapshotId] });
    expect(await ssh(cloud, guests[0], 'echo later > /mnt/proof && sync && cat /mnt/proof')).toBe('later');
  }, slowMs);

  it('E20: it grows under its guest, which sees it when the change is said to be completed', async () => {
    const [guest] = guests;
    await ec2('modify-volume', '--volume-id', volumeId, '--size', '2');
    await waitFor('it has grown', patience, async () => {
      type Shown = { VolumesModifications: { ModificationState: string }[] };
      const { VolumesModifications: [change] } = await boto3.call<Shown>('ec2', 'describe_volumes_modifications', { VolumeIds: [volumeId] });
      return change?.ModificationState === 'completed' ? true : undefined;
    });
    expect(await gibibytesOf(guest, await diskIn(guest, volumeId))).toBe(2);
    expect(await ssh(cloud, guest, 'cat /mnt/proof && echo grown >> /mnt/proof && sync && umount /mnt && echo done')).toBe('later\ndone');
  }, slowMs);

  it('V4: taken off one guest and attached to another, it reads the same there', async () => {
    const [first, second] = guests;
    await detach(volumeId);
    expect(await diskIn(first, volumeId)).toBe('');
    await attach(volumeId, second);
    expect(await read(second, await untilSeen(second, volumeId))).toBe('later\ngrown');
  }, slowMs);

  it('V10: a volume of the snapshot has what was on it at that moment', async () => {
    const { VolumeId: restored } = await boto3.call<{ VolumeId: string }>('ec2', 'create_volume', { AvailabilityZone: 'nova', SnapshotId: snapshotId });
    await boto3.call('ec2', 'wait:volume_available', { VolumeIds: [restored] });
    await attach(restored, guests[1], '/dev/sdg');
    expect(await read(guests[1], await untilSeen(guests[1], restored))).toBe('here');
    await detach(restored);
    await remove(restored);
    await boto3.call('ec2', 'delete_snapshot', { SnapshotId: snapshotId });
  }, slowMs);

  it('K6: an image of a snapshot boots from a volume of its own, with another beside it; both stay while it is stopped, one goes with it', async () => {
    const [first] = guests;
    const imageId = await systemImage(first);
    const launched = await boto3.call<{ Instances: ShownInstance[] }>('ec2', 'run_instances', {
      ImageId: imageId, MinCount: 1, MaxCount: 1, InstanceType: 'm1.tiny', KeyName: 'volumes', BlockDeviceMappings: [
        { DeviceName: '/dev/vda', Ebs: { VolumeSize: 2 } }, { DeviceName: '/dev/sdf', Ebs: { VolumeSize: 1, DeleteOnTermination: false } },
      ],
    });
    const guest = await untilRunning(launched.Instances[0]?.InstanceId ?? '', first.keyFile);
    await untilSsh(cloud, guest, 'true', slowMs);
    const [root = '', beside = ''] = await devicesOf(guest);
    const seen = async () => [await diskIn(guest, root), await gibibytesOf(guest, 'vda'), await diskIn(guest, beside), await gibibytesOf(guest, 'vdb')];
    expect(await seen()).toEqual(['vda', 2, 'vdb', 1]);
    const told = ['ami', 'ebs1', 'root'].map((name) => `/sbin/metadata get meta-data/block-device-mapping/${name}; echo`).join('; ');
    expect(await ssh(cloud, guest, told)).toBe('vda\nsdf\n/dev/vda');
    await ssh(cloud, guest, 'echo kept > /root/proof; sync');
    await ec2('stop-instances', '--instance-ids', guest.id);
    await boto3.call('ec2', 'wait:instance_stopped', { InstanceIds: [guest.id] });
    expect([await stateOf(root), await stateOf(beside)]).toEqual(['in-use attached', 'in-use attached']);
    await ec2('start-instances', '--instance-ids', guest.id);
    const again = await untilRunning(guest.id, first.keyFile);
    expect(await untilSsh(cloud, again, 'cat /root/proof', slowMs)).toBe('kept');
    expect(await seen()).toEqual(['vda', 2, 'vdb', 1]);
    await ec2('terminate-instances', '--instance-ids', guest.id);
    await untilGone(root);
    await untilState(beside, 'available');
    await remove(beside);
    await ec2('deregister-image', '--image-id', imageId);
    await ec2('delete-snapshot', '--snapshot-id', snapshotId);
  }, 2 * slowMs);

  it('E20: boto 2 with signature version 2 makes, attaches, snapshots and deletes one', async () => {
    const { stdout } = await cloud.run(python, [join(import.meta.dirname, 'boto2-volumes.py'), guests[0].id], { timeoutMs: slowMs });
    expect(JSON.parse(stdout)).toEqual({
      created: ['creating', 1, 'nova'], attaching: 'attaching', attached: ['/dev/sdh', true], 'in use': '400 VolumeInUse', snapshot: [['by boto 2', 1]],
      gone: ['400 InvalidVolume.NotFound', '400 InvalidSnapshot.NotFound'],
    });
  }, slowMs);

  it('V1: a new volume reads as zeros, whatever was deleted before', async () => {
    const [, guest] = guests;
    await detach(volumeId);
    await remove(volumeId);
    ({ VolumeId: volumeId } = await boto3.call<{ VolumeId: string }>('ec2', 'create_volume', { AvailabilityZone: 'nova', Size: 1 }));
    await boto3.call('ec2', 'wait:volume_available', { VolumeIds: [volumeId] });
    await attach(volumeId, guest);
    const disk = await untilSeen(guest, volumeId);
    expect(await ssh(cloud, guest, `dd if=/dev/${disk} bs=1M count=16 2>/dev/null | tr -d '\\000' | wc -c`)).toBe('0');
  }, slowMs);

  it('V5: after a power cut the host starts its guests, with what was on their volumes', async () => {
    const [, guest] = guests;
    const disk = await diskIn(guest, volumeId);
    await ssh(cloud, guest, `mke2fs -F /dev/${disk} >/dev/null 2>&1 && mount -t ext4 /dev/${disk} /mnt && echo survived > /mnt/proof && sync`, 60_000);
    await cutPower();
    await cloud.start();
    await untilRunning(guest.id, guest.keyFile);
    await untilSsh(cloud, guest, 'true', slowMs);
    expect(await read(guest, await untilSeen(guest, volumeId))).toBe('survived');
    expect(await stateOf(volumeId)).toBe('in-use attached');
  }, 2 * slowMs);

  it('V4: when its instance ends, the volume is free, and then nothing is left', async () => {
    await ec2('terminate-instances', '--instance-ids', ...guests.map(({ id }) => id));
    await untilState(volumeId, 'available');
    await remove(volumeId);
    await ec2('wait', 'instance-terminated', '--instance-ids', ...guests.map(({ id }) => id));
    await expectNoLeftovers(cloud);
  }, slowMs);
});
