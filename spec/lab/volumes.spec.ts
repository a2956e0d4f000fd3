// Volumes with those parts of a kernel that only the nested guest has: it is a volume host with LVM, with a kernel that serves iSCSI (LIO) and one that
// connects. The drivers run in it; who connects is this machine's QEMU, or the guest's own kernel.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAoeInitiator } from '../../src/drivers/volume/aoe-initiator.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import type { VolumeDriver } from '../../src/drivers/volume/driver.ts';
import type { VolumeDriverName } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { Secret } from '../../src/lib/secret.ts';
import { deviceOf, iscsiOf, startKernelInitiator, type KernelInitiator } from '../support/kernel-iscsi.ts';
import { startLabVolumes, type LabVolumes } from '../support/lab-volumes.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { tryLogin, useDisk } from '../support/qemu-initiator.ts';
import { exportSpecOf, mebibyte, volumeContract } from '../support/volume-contract.ts';

type Store = 'lvm' | 'file';

const group = 'novact';
const disk = '/var/lib/disk';
const initiator = 'iqn.2011-02.org.novact:h1';
const slowMs = 120_000;
/** Its commands are many, and slow there. */
const lvmSettings = 'backup { backup = 0 archive = 0 } activation { monitoring = 0 } devices { filter = [ "a|^/dev/loop|", "r|.*|" ] }';
let lab: Lab;
let volumes: LabVolumes;

const inLab = async (line: string): Promise<string> => (await lab.run('sh', ['-c', line], { timeoutMs: slowMs })).stdout.trim();
const stateOf = (name: VolumeDriverName, store: Store): string => `/var/lib/novact-${name}-${store}`;
const pathOf = (name: VolumeDriverName, store: Store, id: string): string =>
  store === 'lvm' ? `/dev/${group}/${id}` : join(stateOf(name, store), 'volumes', id.startsWith('vol') ? 'volumes' : 'snapshots', `${id}.raw`);
const open = (name: VolumeDriverName, store: Store): Promise<VolumeDriver> =>
  volumes.driver({ name, options: store === 'lvm' ? { store, volumeGroup: group } : {}, stateDirectory: stateOf(name, store) });

/** Volumes, servers, and targets and disks of the kernel. */
const left = (): Promise<string> => inLab(
  `lvs --noheadings ${group}; ps -eo args= | grep -E '^(tgtd|nbdkit|vblade) '; cd /sys/kernel/config/target; ls iscsi core/fileio_0 | grep attach; true`,
);

beforeAll(async () => {
  lab = await startLab('lab-volumes');
  await inLab(`modprobe -a loop dm_mod dm_snapshot; truncate -s 256M ${disk}; losetup /dev/loop0 ${disk}`);
  await inLab(`echo '${lvmSettings}' > /etc/lvm/lvmlocal.conf; vgcreate --physicalextentsize 1M ${group} /dev/loop0`);
  volumes = await startLabVolumes(lab);
});
afterAll(async () => {
  await lab?.down();
});

for (const [name, store] of [['iscsi', 'lvm'], ['lio', 'lvm'], ['lio', 'file'], ['nbd', 'lvm'], ['aoe', 'lvm']] as const) {
  volumeContract(`${name} of a store of ${store}`, async () => {
    const driver = await open(name, store);
    return {
      driver,
      reopen: () => open(name, store),
      read: (id, offset, length) => volumes.read(pathOf(name, store, id), offset, length),
      write: (id, offset, text) => volumes.write(pathOf(name, store, id), offset, text),
      initiators: [{ name: initiator, address: lab.gateway }],
      tooManyBytes: 2 ** 46,
      close: () => driver.close(),
    };
  });
}

describe('LVM volumes on the raw disk', () => {
  it('V1: the next volume has the extents of the last one, and not a byte of it', async () => {
    const driver = await open('local', 'lvm');
    const marker = 'the last tenant was here';
    const marksOnDisk = async () => Number(await inLab(`sync; grep -aoc '${marker}' ${disk} || true`));
    const { totalBytes } = await driver.capacity();
    const sizeBytes = totalBytes - 4 * mebibyte;
    const [before, after] = [newId('vol'), newId('vol')];
    await driver.ensureVolume({ id: before, sizeBytes });
    await inLab(`yes '${marker}' | dd of=/dev/${group}/${before} bs=1M count=${sizeBytes / mebibyte} iflag=fullblock conv=fsync status=none`);
    await driver.ensureVolumeAbsent(before);
    // The disk still has what was written: what follows is the work of the driver, and of no kind disk.
    expect(await marksOnDisk()).toBeGreaterThan(100_000);
    await driver.ensureVolume({ id: after, sizeBytes });
    expect(await inLab(`cmp -n ${sizeBytes} /dev/${group}/${after} /dev/zero`)).toBe('');
    expect(await marksOnDisk()).toBe(0);
    await driver.removeAll();
  });
});

describe('volumes that are served to another host', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'lab-initiator-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const served = [['iscsi', 'lvm'], ['lio', 'lvm'], ['lio', 'file'], ['nbd', 'lvm']] as const;
  it.each(served)('V2: QEMU connects over %s to a store of %s: it has what is written, a snapshot is one moment, nothing is left', async (name, store) => {
    const host = { run: lab.outside, directory };
    const driver = await open(name, store);
    const [volumeId, snapshotId] = [newId('vol'), newId('snap')];
    const textOn = (id: string) => volumes.read(pathOf(name, store, id), mebibyte, 4);
    const outcome = (work: Promise<void>): Promise<string> => work.then(() => 'done', (error: { kind: string }) => error.kind);
    await driver.ensureVolume({ id: volumeId, sizeBytes: 16 * mebibyte });
    const spec = exportSpecOf(volumeId, { initiators: [{ name: initiator, address: lab.gateway }] });
    const login = { connection: await driver.ensureExport(spec), secret: spec.secret, initiator };
    expect(await tryLogin(host, login)).toBe(String(16 * mebibyte));
    const { authenticates, resizeOnline, attachedSnapshots } = driver.info.capabilities;
    if (authenticates) expect(await tryLogin(host, { ...login, secret: new Secret('0123456789abcdef') })).toContain('Authentication failure');
    if (name === 'lio') expect(await tryLogin(host, { ...login, initiator: 'iqn.2011-02.org.novact:h2' })).toContain('Authorization failure');
    await useDisk(host, login, 'write -P 0x61 1M 4k', 'flush');
    expect(await textOn(volumeId)).toBe('aaaa');
    expect(attachedSnapshots).toBe(store === 'lvm' ? 'instant' : 'detached');
    expect(await outcome(driver.ensureSnapshot({ id: snapshotId, volumeId }))).toBe(store === 'lvm' ? 'done' : 'busy');
    expect(await outcome(driver.resize(volumeId, 32 * mebibyte))).toBe(resizeOnline ? 'done' : 'busy');
    expect(await driver.ensureExport(spec)).toEqual(login.connection);
    expect(await tryLogin(host, login)).toBe(String((resizeOnline ? 32 : 16) * mebibyte));
    await useDisk(host, login, 'read -P 0x61 1M 4k', 'write -P 0x62 1M 4k', 'flush');
    expect(await textOn(volumeId)).toBe('bbbb');
    if (store === 'lvm') expect(await textOn(snapshotId)).toBe('aaaa');
    await driver.ensureUnexported(spec.attachmentId);
    expect(await tryLogin(host, login)).toMatch(/Connection refused|Failed to connect/);
    await driver.removeAll();
    expect(await left()).toBe('');
  });

  it('LIO says where it cannot listen because somebody else does, and leaves nothing', async () => {
    const [taken, driver] = [await open('iscsi', 'file'), await open('lio', 'file')];
    const [first, second] = [exportSpecOf(newId('vol')), exportSpecOf(newId('vol'))];
    await taken.ensureVolume({ id: first.volumeId, sizeBytes: mebibyte });
    await driver.ensureVolume({ id: second.volumeId, sizeBytes: mebibyte });
    expect(await taken.ensureExport(first)).toMatchObject({ port: 3_260 });
    const refused = { kind: 'failed', message: expect.stringContaining(`at ${lab.address}, port 3260: nothing can listen there`) };
    await expect(driver.ensureExport(second)).rejects.toMatchObject(refused);
    expect(await driver.listExports()).toEqual([]);
    await taken.removeAll();
    await driver.ensureExport(second);
    await driver.removeAll();
    expect(await left()).toBe('');
  });
});

describe('the kernel as the initiator of logical volumes', () => {
  let kernel: KernelInitiator;

  beforeAll(async () => {
    kernel = await startKernelInitiator(lab, initiator);
  });

  /** What a new volume of that snapshot has, for a tenant who mounts it. */
  async function restored(driver: VolumeDriver, snapshotId: string): Promise<string> {
    const id = newId('vol');
    await driver.ensureVolume({ id, sizeBytes: 16 * mebibyte, from: { snapshotId } });
    return inLab(`mkdir -p /run/restored; mount -o ro /dev/${group}/${id} /run/restored && cat /run/restored/proof && umount /run/restored`);
  }

  it('V2, V4, V5, V10: over iscsi: mounts it, through a snapshot, the death of its server and its growing', async () => {
    const driver = await open('iscsi', 'lvm');
    const [volumeId, snapshotId] = [newId('vol'), newId('snap')];
    await driver.ensureVolume({ id: volumeId, sizeBytes: 16 * mebibyte });
    const spec = exportSpecOf(volumeId, { initiators: [{ name: initiator, address: lab.address }] });
    const connection = iscsiOf(await driver.ensureExport(spec));
    const device = deviceOf(connection);
    expect(await kernel.discover(connection)).toContain(connection.target);
    expect(await kernel.logIn(connection)).toBe('24');
    await kernel.giveSecret(connection, new Secret('0123456789abcdef'));
    expect(await kernel.logIn(connection)).toBe('24');
    await kernel.giveSecret(connection, spec.secret);
    expect(await kernel.logIn(connection)).toBe('done');
    expect(await kernel.devices()).toBe(device.split('/').at(-1));
    await inLab(`mke2fs -q -t ext4 ${device} && mount ${device} /mnt && echo before > /mnt/proof && sync`);
    await driver.ensureSnapshot({ id: snapshotId, volumeId });
    await inLab('echo after > /mnt/proof && sync');
    // What serves it dies, and is brought back; then it is served anew with another size. The kernel finds it again, and its file system goes on.
    const died = new Promise<string>((resolve) => driver.subscribe(({ attachmentId }) => resolve(attachmentId)));
    await inLab("kill -9 $(pgrep -f '^tgtd ')");
    expect(await died).toBe(spec.attachmentId);
    expect(await driver.listExports()).toMatchObject([{ isServed: false }]);
    const writing = inLab('echo through > /mnt/more && sync && echo synced');
    expect(await driver.ensureExport(spec)).toEqual(connection);
    expect(await writing).toBe('synced');
    await driver.resize(volumeId, 32 * mebibyte);
    expect(await driver.ensureExport(spec)).toEqual(connection);
    expect(await inLab('echo grown > /mnt/size && sync && cat /mnt/proof')).toBe('after');
    expect(await kernel.rescan(connection)).toBe('done');
    expect(await inLab(`blockdev --getsize64 ${device}`)).toBe(String(32 * mebibyte));
    await inLab(`resize2fs ${device} && dd if=/dev/zero of=/mnt/large bs=1M count=20 conv=fsync status=none && umount /mnt`);
    expect(await restored(driver, snapshotId)).toBe('before');
    expect(await kernel.logOut(connection)).toBe('done');
    await driver.ensureUnexported(spec.attachmentId);
    await driver.removeAll();
    expect([await kernel.sessions(), await kernel.devices(), await left()]).toEqual(['', '', '']);
  });

  it('V6: over ATA over Ethernet: finds the volume of a host that has a link with it, mounts it through a snapshot, and lets go', async () => {
    // Two hosts: the volume's is a namespace. The kernel connects from the first one only.
    await inLab('ip netns add storage; ip link add shared0 type veth peer name shared1 netns storage');
    await inLab('ip addr add 10.45.0.1/24 dev shared0; ip link set shared0 up');
    await inLab('ip -n storage addr add 10.45.0.2/24 dev shared1; ip -n storage link set shared1 up');
    const driver = await volumes.driver({
      name: 'aoe', options: { store: 'lvm', volumeGroup: group }, stateDirectory: stateOf('aoe', 'lvm'), networkNamespace: 'storage', address: '10.45.0.2',
    });
    const connector = createVolumeConnector(createAoeInitiator({ run: lab.run, clock, address: '10.45.0.1' }));
    const [volumeId, snapshotId] = [newId('vol'), newId('snap')];
    await driver.ensureVolume({ id: volumeId, sizeBytes: 16 * mebibyte });
    const spec = exportSpecOf(volumeId, { initiators: [{ name: initiator, address: '10.45.0.1' }] });
    const connection = await driver.ensureExport(spec);
    const source = await connector.ensureConnected(connection, { initiatorName: initiator, secret: spec.secret });
    expect(source).toEqual({ type: 'block', path: '/dev/etherd/e2.0' });
    await inLab('mke2fs -q -t ext4 /dev/etherd/e2.0 && mount /dev/etherd/e2.0 /mnt && echo before > /mnt/proof && sync');
    await driver.ensureSnapshot({ id: snapshotId, volumeId });
    await inLab('echo after > /mnt/proof && sync');
    await expect(driver.resize(volumeId, 32 * mebibyte)).rejects.toMatchObject({ kind: 'busy' });
    expect(await inLab('cat /mnt/proof && umount /mnt')).toBe('after');
    expect(await restored(driver, snapshotId)).toBe('before');
    await connector.ensureDisconnected(connection);
    await driver.ensureUnexported(spec.attachmentId);
    await driver.removeAll();
    expect([await inLab('ls /dev/etherd | grep "^e[0-9]" || true'), await left()]).toEqual(['', '']);
    await inLab('ip link del shared0; ip netns del storage');
  });
});
