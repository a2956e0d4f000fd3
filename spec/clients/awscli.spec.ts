// The story of a new user with nothing but Debian's awscli, s3cmd and ssh, against the whole product and real QEMU guests: upload the three
// parts of an image, register it, run two instances of it, log in, stop, start, reboot, terminate; and then nothing is left.
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { aws, s3cmd, ssh, untilSsh, writeKey, type Login } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { expectNoLeftovers, hostLeftovers } from '../support/leftovers.ts';
import { waitFor, waitUntil } from '../support/patience.ts';

const build = resolve(import.meta.dirname, '../../build/tiny');
const userData = '#!/bin/sh\necho "from user data on $(hostname)" > /root/user-data-ran\n';

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly ImageId: string;
  readonly InstanceType: string;
  readonly KeyName: string;
  readonly AmiLaunchIndex: number;
  readonly PrivateIpAddress: string;
  readonly KernelId: string;
  readonly RamdiskId: string;
  readonly StateReason?: { readonly Code: string; readonly Message: string };
  readonly Placement: { readonly AvailabilityZone: string };
  readonly SecurityGroups: readonly { readonly GroupName: string }[];
}

interface Task {
  readonly ImportTaskId: string;
  readonly ImageId: string;
  readonly Status: string;
  readonly StatusMessage?: string;
  readonly SnapshotDetails: readonly { readonly Format?: string }[];
}

let cloud: CloudProcess;
let keyFile: string;
let images: { kernel: string; ramdisk: string; machine: string };
let ids: string[];
/** An imported image, and the copy of another. */
let others: string[];
/** Another one for each boot of a kernel; uptimes of two quick boots overlap. */
const bootOf = (login: Login) => ssh(cloud, login, 'cat /proc/sys/kernel/random/boot_id');
const ec2 = <T>(...args: readonly string[]) => aws<T>(cloud, 'ec2', ...args);

async function instances(): Promise<Instance[]> {
  const answer = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe-instances', '--instance-ids', ...ids);
  return answer.Reservations.flatMap((reservation) => reservation.Instances).toSorted((a, b) => a.AmiLaunchIndex - b.AmiLaunchIndex);
}

async function logins(): Promise<[Login, Login]> {
  const [first, second] = (await instances()).map(({ PrivateIpAddress: address }) => ({ address, keyFile }));
  if (first === undefined || second === undefined) throw new Error('two instances were expected');
  return [first, second];
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-aws', { guests: 'qemu' });
});
afterAll(async () => {
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('awscli, s3cmd and ssh with QEMU guests', () => {
  it('says who asks', async () => {
    const identity = await aws<{ Account: string; Arn: string }>(cloud, 'sts', 'get-caller-identity');
    expect(identity.Account).toMatch(/^\d{12}$/);
    expect(identity.Arn).toContain(identity.Account);
  });

  it('S9: takes the three parts of an image from s3cmd, whole', async () => {
    await s3cmd(cloud, 'mb', 's3://images');
    for (const name of ['vmlinuz', 'initrd.gz', 'root.ext4']) await s3cmd(cloud, 'put', join(build, name), `s3://images/small/${name}`);
    expect((await s3cmd(cloud, 'ls', 's3://images/small/')).stdout).toMatch(/initrd\.gz[\s\S]*root\.ext4[\s\S]*vmlinuz/);
    const back = join(cloud.folder, 'back.ext4');
    await s3cmd(cloud, 'get', 's3://images/small/root.ext4', back);
    expect((await readFile(back)).equals(await readFile(join(build, 'root.ext4')))).toBe(true);
  });

  it('S9: registers kernel, ramdisk and machine, and they become available', async () => {
    const register = async (name: string, key: string, ...args: readonly string[]) =>
      (await ec2<{ ImageId: string }>('register-image', '--name', name, '--image-location', `images/small/${key}`, ...args)).ImageId;
    const kernel = await register('small-kernel', 'vmlinuz', '--kernel-id', 'true');
    const ramdisk = await register('small-ramdisk', 'initrd.gz', '--ramdisk-id', 'true');
    const machine = await register('small', 'root.ext4', '--kernel-id', kernel, '--ramdisk-id', ramdisk, '--description', 'uploaded by s3cmd');
    images = { kernel, ramdisk, machine };
    expect([kernel.slice(0, 4), ramdisk.slice(0, 4), machine.slice(0, 4)]).toEqual(['aki-', 'ari-', 'ami-']);
    await waitUntil('the images are available', { timeoutMs: 60_000 }, async () => {
      const answer = await ec2<{ Images: { State: string }[] }>('describe-images', '--image-ids', kernel, ramdisk, machine);
      return answer.Images.length === 3 && answer.Images.every((image) => image.State === 'available');
    });
    await ec2('wait', 'image-available', '--image-ids', machine);
    // Its content is its own now.
    await s3cmd(cloud, 'del', '--recursive', '--force', 's3://images');
    await s3cmd(cloud, 'rb', 's3://images');
  });

  it('creates a key pair and opens ssh', async () => {
    const pair = await ec2<{ KeyMaterial: string; KeyFingerprint: string }>('create-key-pair', '--key-name', 'mine');
    expect(pair.KeyFingerprint).toMatch(/^([0-9a-f]{2}:){19}[0-9a-f]{2}$/);
    keyFile = await writeKey(cloud, 'mine', pair.KeyMaterial);
    await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
  });

  it('runs two instances, which awscli waits for and ssh logs in to', async () => {
    await writeFile(join(cloud.folder, 'user-data'), userData);
    const run = await ec2<{ Instances: Instance[] }>(
      'run-instances', '--image-id', images.machine, '--instance-type', 'm1.tiny', '--key-name', 'mine', '--count', '2',
      '--user-data', `file://${join(cloud.folder, 'user-data')}`, '--tag-specifications', 'ResourceType=instance,Tags=[{Key=Name,Value=small}]',
    );
    expect(run.Instances.map((instance) => instance.State.Name)).toEqual(['pending', 'pending']);
    ids = run.Instances.map((instance) => instance.InstanceId);
    await ec2('wait', 'instance-running', '--instance-ids', ...ids);
    const [one, two] = await logins();
    expect(one.address).not.toBe(two.address);
    expect(await untilSsh(cloud, one, 'uname -s')).toBe('Linux');
    expect(await untilSsh(cloud, two, 'uname -s')).toBe('Linux');
    // The root disk has grown to what the type promises, if that is more than the image.
    expect(Number(await ssh(cloud, one, "df -k / | awk 'NR == 2 { print $2 }'"))).toBeGreaterThan(25_000);
    for (const login of [one, two]) {
      const said = await waitFor('user data ran', { timeoutMs: 60_000 }, () => ssh(cloud, login, 'cat /root/user-data-ran'));
      expect(said).toMatch(/^from user data on /);
    }
  });

  it('tells each guest about itself what describe-instances tells its owner, by both versions of the metadata service', async () => {
    const [one, two] = await instances();
    for (const instance of [one, two]) {
      const login = { address: instance?.PrivateIpAddress ?? '', keyFile };
      const version1 = (path: string) =>
        ssh(cloud, login, `printf 'GET /latest/${path} HTTP/1.0\\r\\nHost: 169.254.169.254\\r\\n\\r\\n' | nc 169.254.169.254 80 | sed '1,/^\\r*$/d'`);
      const version2 = (path: string) => ssh(cloud, login, `/sbin/metadata token > /dev/null && /sbin/metadata get ${path}`);
      const expected: Record<string, string | undefined> = {
        'meta-data/instance-id': instance?.InstanceId, 'meta-data/ami-id': instance?.ImageId, 'meta-data/instance-type': instance?.InstanceType,
        'meta-data/local-ipv4': instance?.PrivateIpAddress, 'meta-data/ami-launch-index': String(instance?.AmiLaunchIndex),
        'meta-data/placement/availability-zone': instance?.Placement.AvailabilityZone, 'meta-data/kernel-id': instance?.KernelId,
        'meta-data/ramdisk-id': instance?.RamdiskId, 'meta-data/security-groups': instance?.SecurityGroups.map((group) => group.GroupName).join('\n'),
        'meta-data/local-hostname': `${instance?.InstanceId}.novact.internal`, 'meta-data/public-keys/': '0=mine',
      };
      for (const [path, value] of Object.entries(expected)) expect([path, await version2(path)]).toEqual([path, value]);
      expect(await version1('meta-data/instance-id')).toBe(instance?.InstanceId);
      expect(await version1('user-data')).toBe(userData.trim());
    }
    expect(one?.KernelId).toBe(images.kernel);
  });

  it('shows the console', async () => {
    const [one] = ids;
    const { Output } = await ec2<{ Output: string }>('get-console-output', '--instance-id', one ?? '');
    expect(Output).toMatch(/guest: ready at \d/);
    expect(Output).toContain('BEGIN SSH HOST KEY FINGERPRINTS');
  });

  it('stops and starts them with disk and address kept, one of them as another type', async () => {
    const before = await logins();
    for (const [index, login] of before.entries()) await ssh(cloud, login, `echo kept-${index} > /root/file && sync`);
    await ec2('stop-instances', '--instance-ids', ...ids);
    await waitUntil('both are stopped', { timeoutMs: 60_000 }, async () => (await instances()).every((instance) => instance.State.Name === 'stopped'));
    await ec2('wait', 'instance-stopped', '--instance-ids', ...ids);
    expect((await instances()).map((instance) => instance.StateReason?.Code)).toEqual(['Client.UserInitiatedShutdown', 'Client.UserInitiatedShutdown']);
    expect((await hostLeftovers(cloud)).processes).toEqual([]);
    await ec2('modify-instance-attribute', '--instance-id', ids[0] ?? '', '--instance-type', 't2.micro');
    await ec2('start-instances', '--instance-ids', ...ids);
    await waitUntil('both are running', { timeoutMs: 60_000 }, async () => (await instances()).every((instance) => instance.State.Name === 'running'));
    const after = await logins();
    expect(after).toEqual(before);
    for (const [index, login] of after.entries()) expect(await untilSsh(cloud, login, 'cat /root/file')).toBe(`kept-${index}`);
    expect((await instances()).map(({ InstanceType }) => InstanceType)).toEqual(['t2.micro', 'm1.tiny']);
    const memoryKiB = await Promise.all(after.map((login) => ssh(cloud, login, "awk '/MemTotal/ { print $2 }' /proc/meminfo")));
    expect(memoryKiB.map((text) => Math.round(Number(text) / 2 ** 19))).toEqual([2, 1]);
  });

  it('reboots one: its kernel is started again, its file is there', async () => {
    const [login] = await logins();
    const before = await bootOf(login);
    expect(before).toMatch(/^[0-9a-f-]{36}/);
    await ec2('reboot-instances', '--instance-ids', ids[0] ?? '');
    await waitFor('another boot', { timeoutMs: 90_000 }, async () => ((await bootOf(login)) !== before ? true : undefined));
    expect(await ssh(cloud, login, 'cat /root/file')).toBe('kept-0');
    expect((await instances()).map((instance) => instance.State.Name)).toEqual(['running', 'running']);
  });

  it('E24: makes images of both, the one restarted for it and the other not, whose instances have what was on their disks', async () => {
    const [first = '', second = ''] = ids;
    const [restarted, untouched] = await logins();
    const boots = [await bootOf(restarted), await bootOf(untouched)];
    await ssh(cloud, untouched, 'sync');
    const of = async (id: string, ...more: readonly string[]) =>
      (await ec2<{ ImageId: string }>('create-image', '--instance-id', id, '--name', `of ${id}`, ...more)).ImageId;
    const made = [await of(first), await of(second, '--no-reboot')];
    const states = async () => (await ec2<{ Images: { State: string; StateReason?: { Message: string } }[] }>('describe-images', '--image-ids', ...made)).Images
      .map(({ State, StateReason }) => StateReason?.Message ?? State);
    await waitUntil('both images are made', { timeoutMs: 180_000 }, async () => (await states()).every((state) => state !== 'pending'));
    expect(await states()).toEqual(['available', 'available']);
    expect(await bootOf(untouched)).toBe(boots[1]);
    const copies: string[] = [];
    for (const imageId of made) {
      const { Instances } = await ec2<{ Instances: Instance[] }>('run-instances', '--image-id', imageId, '--instance-type', 'm1.tiny', '--key-name', 'mine');
      copies.push(...Instances.map(({ InstanceId }) => InstanceId));
    }
    await ec2('wait', 'instance-running', '--instance-ids', ...copies);
    for (const [index, id] of copies.entries()) {
      const { Reservations } = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe-instances', '--instance-ids', id);
      const address = Reservations[0]?.Instances[0]?.PrivateIpAddress ?? '';
      expect(await untilSsh(cloud, { address, keyFile }, 'cat /root/file')).toBe(`kept-${index}`);
    }
    expect(await untilSsh(cloud, restarted, 'cat /proc/sys/kernel/random/boot_id')).not.toBe(boots[0]);
    await ec2('terminate-instances', '--instance-ids', ...copies);
    await ec2('wait', 'instance-terminated', '--instance-ids', ...copies);
    for (const id of made) await ec2('deregister-image', '--image-id', id);
  });

  it('E23: imports disks of other kinds, and copies an image, which its source does not take with it', async () => {
    const forms = { qcow2: ['-O', 'qcow2'], vmdk: ['-O', 'vmdk', '-o', 'subformat=streamOptimized'] } as const;
    await s3cmd(cloud, 'mb', 's3://disks');
    const run = createRun({ log: silentLog });
    const begin = async (format: keyof typeof forms): Promise<string> => {
      const file = join(cloud.folder, `small.${format}`);
      await run('qemu-img', ['convert', '-f', 'raw', ...forms[format], join(build, 'root.ext4'), file]);
      await s3cmd(cloud, 'put', file, `s3://disks/small.${format}`);
      const disk = `Format=${format},UserBucket={S3Bucket=disks,S3Key=small.${format}}`;
      return (await ec2<{ ImportTaskId: string }>('import-image', '--description', format, '--disk-containers', disk)).ImportTaskId;
    };
    const tasks = [await begin('qcow2'), await begin('vmdk')];
    const states = async () => (await ec2<{ ImportImageTasks: Task[] }>('describe-import-image-tasks', '--import-task-ids', ...tasks)).ImportImageTasks
      .toSorted((a, b) => tasks.indexOf(a.ImportTaskId) - tasks.indexOf(b.ImportTaskId));
    await waitUntil('both imports have ended', { timeoutMs: 120_000 }, async () => (await states()).every(({ Status }) => Status !== 'active'));
    expect((await states()).map(({ Status, StatusMessage, SnapshotDetails }) => [Status, StatusMessage, SnapshotDetails[0]?.Format])).toEqual([
      ['completed', undefined, 'QCOW2'], ['completed', undefined, 'VMDK'],
    ]);
    await s3cmd(cloud, 'del', '--recursive', '--force', 's3://disks');
    await s3cmd(cloud, 'rb', 's3://disks');
    const [imported = '', source = ''] = (await states()).map(({ ImageId }) => ImageId);
    const { ImageId: copy } = await ec2<{ ImageId: string }>('copy-image', '--source-image-id', source, '--source-region', 'nova', '--name', 'a copy');
    await ec2('wait', 'image-available', '--image-ids', imported, copy);
    await ec2('deregister-image', '--image-id', source);
    others = [imported, copy];
  });

  it('E23: runs both, and leaves their instances alone when they are given up', async () => {
    const made: string[] = [];
    for (const imageId of others) {
      const { Instances } = await ec2<{ Instances: Instance[] }>(
        'run-instances', '--image-id', imageId, '--kernel-id', images.kernel, '--ramdisk-id', images.ramdisk, '--instance-type', 'm1.tiny',
        '--key-name', 'mine',
      );
      made.push(...Instances.map(({ InstanceId }) => InstanceId));
    }
    await ec2('wait', 'instance-running', '--instance-ids', ...made);
    const loginOf = async (id = ''): Promise<Login> => {
      const { Reservations } = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe-instances', '--instance-ids', id);
      return { address: Reservations[0]?.Instances[0]?.PrivateIpAddress ?? '', keyFile };
    };
    for (const id of made) expect(await untilSsh(cloud, await loginOf(id), 'echo kept > /root/file && sync && uname -s')).toBe('Linux');
    for (const id of others) await ec2('deregister-image', '--image-id', id);
    const [stopped = '', rebooted = ''] = made;
    const before = await bootOf(await loginOf(rebooted));
    await ec2('reboot-instances', '--instance-ids', rebooted);
    await ec2('stop-instances', '--instance-ids', stopped);
    await ec2('wait', 'instance-stopped', '--instance-ids', stopped);
    await ec2('start-instances', '--instance-ids', stopped);
    await ec2('wait', 'instance-running', '--instance-ids', stopped);
    await waitFor('another boot', { timeoutMs: 90_000 }, async () => ((await bootOf(await loginOf(rebooted))) !== before ? true : undefined));
    for (const id of made) expect(await untilSsh(cloud, await loginOf(id), 'cat /root/file')).toBe('kept');
    await ec2('terminate-instances', '--instance-ids', ...made);
    await ec2('wait', 'instance-terminated', '--instance-ids', ...made);
  });

  it('terminates them, and nothing of them is left', async () => {
    await ec2('terminate-instances', '--instance-ids', ...ids);
    await waitUntil('both are terminated', { timeoutMs: 60_000 }, async () => (await instances()).every((instance) => instance.State.Name === 'terminated'));
    await ec2('wait', 'instance-terminated', '--instance-ids', ...ids);
    expect((await instances()).map((instance) => instance.StateReason?.Code)).toEqual(['Client.UserInitiatedShutdown', 'Client.UserInitiatedShutdown']);
    await expectNoLeftovers(cloud);
    for (const id of [images.machine, images.ramdisk, images.kernel]) await ec2('deregister-image', '--image-id', id);
    await ec2('delete-key-pair', '--key-name', 'mine');
  });
});
