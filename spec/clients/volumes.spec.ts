// Volumes as a user has them, with Debian's awscli and real QEMU guests, over iSCSI: made, attached to a running guest, written, taken off, attached
// to another guest, read the same, grown under it, snapshotted, restored; novact killed in between; and then nothing is left.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aws, ssh, untilSsh, writeKey, type Login } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { expectNoLeftovers } from '../support/leftovers.ts';
import { waitFor } from '../support/patience.ts';

let cloud: CloudProcess;
const ec2 = <T = Record<string, unknown>>(...args: readonly string[]) => aws<T>(cloud, 'ec2', ...args);
const patience = { timeoutMs: 90_000 };

interface Guest extends Login {
  readonly id: string;
}

let guests: readonly [Guest, Guest];
let volumeId: string;

async function stateOf(id: string): Promise<string> {
  const answer = await ec2<{ Volumes: { State: string; Attachments: { State: string }[] }[] }>('describe-volumes', '--volume-ids', id);
  const [volume] = answer.Volumes;
  return [volume?.State, ...(volume?.Attachments ?? []).map(({ State }) => State)].join(' ');
}

const untilState = (id: string, state: string) => waitFor(`${id} is ${state}`, patience, async () => {
  const now = await stateOf(id);
  if (now === state) return true;
  throw new Error(`it is ${now}`);
});

async function create(...args: readonly string[]): Promise<string> {
  const { VolumeId } = await ec2<{ VolumeId: string }>('create-volume', '--availability-zone', 'nova', ...args);
  await untilState(VolumeId, 'available');
  return VolumeId;
}

async function attach(id: string, guest: Guest): Promise<void> {
  await ec2('attach-volume', '--volume-id', id, '--instance-id', guest.id, '--device', '/dev/sdf');
  await untilState(id, 'in-use attached');
}

async function detach(id: string): Promise<void> {
  await ec2('detach-volume', '--volume-id', id);
  await untilState(id, 'available');
}

const sizeInGuest = (guest: Guest) => ssh(cloud, guest, 'cat /sys/block/vdb/size 2>/dev/null || echo none');
const marker = 'the same in every guest';
const readMarker = (guest: Guest) => ssh(cloud, guest, `dd if=/dev/vdb bs=${marker.length} count=1 2>/dev/null`);

async function launch(): Promise<[Guest, Guest]> {
  const { KeyMaterial } = await ec2<{ KeyMaterial: string }>('create-key-pair', '--key-name', 'volumes');
  const keyFile = await writeKey(cloud, 'volumes', KeyMaterial);
  await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
  const { Images: [image] } = await ec2<{ Images: { ImageId: string }[] }>('describe-images', '--filters', 'Name=image-type,Values=machine');
  type Launched = { Instances: { InstanceId: string }[] };
  const { Instances } = await ec2<Launched>('run-instances', '--image-id', image?.ImageId ?? '', '--instance-type', 'm1.tiny', '--count', '2',
    '--key-name', 'volumes');
  const made = await Promise.all(Instances.map(({ InstanceId: id }) => waitFor(`${id} runs`, patience, async () => {
    type Shown = { Reservations: { Instances: { State: { Name: string }; PrivateIpAddress: string }[] }[] };
    const answer = await ec2<Shown>('describe-instances', '--instance-ids', id);
    const instance = answer.Reservations[0]?.Instances[0];
    return instance?.State.Name === 'running' ? { id, address: instance.PrivateIpAddress, keyFile } : undefined;
  })));
  for (const guest of made) await untilSsh(cloud, guest, 'true', 180_000);
  const [first, second] = made;
  if (first === undefined || second === undefined) throw new Error('two guests were expected');
  return [first, second];
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-vol', { guests: 'qemu', settings: { NOVACT_VOLUME_DRIVER: 'iscsi', NOVACT_VOLUME_ALLOCATION: 'thin' } });
  guests = await launch();
}, 420_000);
afterAll(() => cloud?.down());
onFailureShow(() => cloud);

describe('volumes over iSCSI with QEMU guests', () => {
  it('V3: a running guest sees an attached volume at once, with its size, and writes to it', async () => {
    volumeId = await create('--size', '1');
    await attach(volumeId, guests[0]);
    await waitFor('the guest sees it', patience, async () => ((await sizeInGuest(guests[0])) === String(2 ** 21) ? true : undefined));
    await ssh(cloud, guests[0], `echo -n '${marker}' | dd of=/dev/vdb conv=notrunc 2>/dev/null; sync`);
    expect(await readMarker(guests[0])).toBe(marker);
  }, 180_000);

  it('V5: a kill of novact changes nothing for the guest', async () => {
    await cloud.kill9();
    await cloud.start();
    expect(await readMarker(guests[0])).toBe(marker);
    expect(await stateOf(volumeId)).toBe('in-use attached');
  }, 180_000);

  it('E21: a snapshot of the attached volume is made', async () => {
    const { SnapshotId } = await ec2<{ SnapshotId: string }>('create-snapshot', '--volume-id', volumeId);
    await waitFor(`${SnapshotId} is completed`, patience, async () => {
      const { Snapshots: [snapshot] } = await ec2<{ Snapshots: { State: string }[] }>('describe-snapshots', '--snapshot-ids', SnapshotId);
      return snapshot?.State === 'completed' ? true : undefined;
    });
    const restored = await create('--snapshot-id', SnapshotId);
    await attach(restored, guests[1]);
    await waitFor('the other guest reads the same', patience, async () => ((await readMarker(guests[1])) === marker ? true : undefined));
    await detach(restored);
    await ec2('delete-volume', '--volume-id', restored);
    await ec2('delete-snapshot', '--snapshot-id', SnapshotId);
  }, 240_000);

  it('V4: taken off one guest and attached to another, it reads the same there', async () => {
    await detach(volumeId);
    await waitFor('the guest has it no more', patience, async () => ((await sizeInGuest(guests[0])) === 'none' ? true : undefined));
    await attach(volumeId, guests[1]);
    await waitFor('the other guest reads the same', patience, async () => ((await readMarker(guests[1])) === marker ? true : undefined));
  }, 240_000);

  it('E20: it grows under its guest', async () => {
    await ec2('modify-volume', '--volume-id', volumeId, '--size', '2');
    await waitFor('the guest sees it grow', patience, async () => ((await sizeInGuest(guests[1])) === String(2 ** 22) ? true : undefined));
  }, 240_000);

  it('V1: a new volume reads as zeros, whatever was deleted before', async () => {
    await detach(volumeId);
    await ec2('delete-volume', '--volume-id', volumeId);
    await waitFor('it is gone', patience, () => stateOf(volumeId).then(() => undefined, () => true as const));
    const next = await create('--size', '1');
    await attach(next, guests[1]);
    expect(await ssh(cloud, guests[1], `dd if=/dev/vdb bs=64 count=1 2>/dev/null | tr -d '\\000' | wc -c`)).toBe('0');
    volumeId = next;
  }, 240_000);

  it('V4: when its instance ends, the volume is free, and then nothing is left', async () => {
    await ec2('terminate-instances', '--instance-ids', ...guests.map(({ id }) => id));
    await untilState(volumeId, 'available');
    await ec2('delete-volume', '--volume-id', volumeId);
    await waitFor('it is gone', patience, () => stateOf(volumeId).then(() => undefined, () => true as const));
    await expectNoLeftovers(cloud);
  }, 240_000);
});
