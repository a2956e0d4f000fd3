// Volume drivers that serve other hosts, with real servers and real guests: QEMU under TCG on a test host of its own. Root only.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/lib/ids.ts';
import { findProcesses } from '../../src/lib/processes.ts';
import { Secret } from '../../src/lib/secret.ts';
import type { RunningGuest } from '../support/guest-host.ts';
import { eventually } from '../support/hypervisor-contract.ts';
import { tryLogin } from '../support/qemu-initiator.ts';
import { exportSpecOf, mebibyte, volumeContract } from '../support/volume-contract.ts';
import { failedRead, initiatorName, initiators, nameIn, putOn, readFrom, serialOf, startVolumeGuests, type VolumeGuests } from '../support/volume-guests.ts';
import { addressedFixture, fileOf, strangerAddress } from '../support/volume-host.ts';

volumeContract('iscsi', () => addressedFixture('vol-contract', 'iscsi'));

describe('volumes over iSCSI', () => {
  let world: VolumeGuests;
  let first: RunningGuest;

  beforeAll(async () => {
    world = await startVolumeGuests('vol-iscsi', 'iscsi');
    first = await world.host.launch();
  });
  /** What a failed one left must not fail the next. */
  afterEach(async () => {
    const { host, driver } = world;
    for (const { serial } of await host.hypervisor.disks(first.instanceId)) {
      if (serial !== 'root') await host.hypervisor.detachDisk(first.instanceId, serial, { force: true });
    }
    for (const { attachmentId } of await driver.listExports()) await driver.ensureUnexported(attachmentId);
  });
  afterAll(() => world?.down());

  it('V2: the right secret from the right initiator logs in; anything else is refused, and no secret is on a command line', async () => {
    const { host, driver } = world;
    const volumeId = await world.makeVolume();
    const spec = exportSpecOf(volumeId, { initiators });
    const connection = await driver.ensureExport(spec);
    const login = { connection, secret: spec.secret, initiator: initiatorName };
    expect(await tryLogin(host.machine, login)).toBe(String(64 * mebibyte));
    expect(await tryLogin(host.machine, { ...login, secret: new Secret('0123456789abcdef') })).toContain('Authentication failure');
    const shown = (await findProcesses(() => true)).flatMap(({ args }) => args).join(' ');
    expect(shown).not.toContain(spec.secret.reveal());
    // Nobody at the address that may connect: the same secret from elsewhere finds no target.
    await driver.ensureExport({ ...spec, initiators: [{ name: initiatorName, address: strangerAddress }] });
    expect(await tryLogin(host.machine, login)).toContain('Target not found');
    await driver.ensureExport({ ...spec, initiators: [{ name: initiatorName, address: undefined }] });
    expect(await tryLogin(host.machine, login)).toBe(String(64 * mebibyte));
    expect(await tryLogin(host.machine, { ...login, initiator: 'iqn.2011-02.org.novact:h2' })).toContain('Target not found');
    await driver.ensureUnexported(spec.attachmentId);
    expect(await tryLogin(host.machine, login)).not.toBe(String(64 * mebibyte));
    expect(await world.servers()).toEqual([]);
    await driver.ensureVolumeAbsent(volumeId);
  });

  it('V3, V4: a guest sees the disk at once, writes, lets go of it; another one reads the same; nothing is left', async () => {
    const { host, driver } = world;
    const volumeId = await world.makeVolume();
    const startedAt = performance.now();
    const spec = await world.attach(first, volumeId);
    const disk = await nameIn(first, volumeId);
    console.log(`attached and seen in the guest after ${Math.round(performance.now() - startedAt)} ms (ssh included)`);
    expect(await first.ssh(`cat /sys/block/${disk.slice(5)}/size`)).toBe(String(64 * mebibyte / 512));
    expect(await putOn(first, disk, 'novact-was-here')).toBe('written');
    await world.detach(first, spec);
    expect(await first.ssh(`ls /sys/block | grep -c ^vd`)).toBe('1');
    const secrets = await host.machine.virsh('qemu', 'secret-list');
    expect(secrets).not.toContain(volumeId);
    expect(await world.servers()).toEqual([]);
    const second = await host.launch();
    const again = await world.attach(second, volumeId);
    const there = await nameIn(second, volumeId);
    expect(await readFrom(second, there)).toBe('novact-was-here');
    // Terminate with the volume attached: the domain goes, then the export.
    await host.hypervisor.ensureAbsent(second.instanceId);
    await driver.ensureUnexported(again.attachmentId);
    expect(await host.machine.virsh('qemu', 'secret-list')).not.toContain(volumeId);
    expect(await world.servers()).toEqual([]);
    await driver.ensureVolumeAbsent(volumeId);
  });

  it('V5: input and output go on after tgtd was killed with a mounted volume; a guest that is started again has its disk', async () => {
    const { host, driver } = world;
    const volumeId = await world.makeVolume();
    const spec = await world.attach(first, volumeId);
    const disk = await nameIn(first, volumeId);
    await putOn(first, disk, 'before');
    await first.ssh(`mount -t ext4 ${disk} /mnt`);
    const died = world.nextDeath();
    await world.killServers();
    const killedAt = performance.now();
    const writing = first.ssh('dd if=/dev/urandom of=/mnt/after bs=64k count=16 conv=fsync 2>/dev/null && echo fsynced', 120_000);
    expect(await died).toBe(spec.attachmentId);
    expect(await driver.listExports()).toEqual([{ volumeId, attachmentId: spec.attachmentId, isServed: false }]);
    await driver.ensureExport(spec);
    const backAt = performance.now();
    expect(await writing).toBe('fsynced');
    const [back, written] = [backAt, performance.now()].map((at) => Math.round(at - killedAt));
    console.log(`tgtd killed: noticed and back after ${back} ms, a write of the guest done after ${written} ms`);
    expect(await first.ssh('cat /mnt/proof && umount /mnt && dmesg | grep -c "I/O error" || true')).toBe('before\n0');
    await host.hypervisor.ensureStopped(first.instanceId);
    await host.hypervisor.ensureRunning(first.instanceId);
    await first.answers();
    expect(await readFrom(first, await nameIn(first, volumeId))).toBe('before');
    await world.detach(first, spec);
    await driver.ensureVolumeAbsent(volumeId);
  });

  it('grows a volume under a guest that has it mounted', async () => {
    const { host, driver } = world;
    const volumeId = await world.makeVolume();
    const spec = await world.attach(first, volumeId);
    const disk = await nameIn(first, volumeId);
    await putOn(first, disk, 'small');
    await first.ssh(`mount -t ext4 ${disk} /mnt`);
    await driver.resize(volumeId, 128 * mebibyte);
    await driver.ensureExport(spec);
    await host.hypervisor.resizeDisk(first.instanceId, serialOf(volumeId), 128 * mebibyte);
    await eventually(() => first.ssh(`cat /sys/block/${disk.slice(5)}/size`), (size) => size === String(128 * mebibyte / 512), 60_000, 200);
    expect(await first.ssh('cat /mnt/proof && umount /mnt')).toBe('small');
    await world.detach(first, spec);
  });

  it('V10: a snapshot of a mounted volume is one moment of it, and later writes are not in it', async () => {
    const { host, driver } = world;
    const volumeId = await world.makeVolume();
    const spec = await world.attach(first, volumeId);
    const disk = await nameIn(first, volumeId);
    // Two copies of a counter, one at each end of the disk, always written one after the other: a torn copy has the second ahead of the first.
    const loop = `i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); printf %08d $i | dd of=${disk} bs=512 count=1 conv=fsync,notrunc 2>/dev/null; ` +
      `printf %08d $i | dd of=${disk} bs=512 seek=131000 count=1 conv=fsync,notrunc 2>/dev/null; done`;
    await first.ssh(`rm -f /tmp/stop; (${loop}) >/dev/null 2>&1 &`);
    const snapshotId = newId('snap');
    await eventually(() => first.ssh(`dd if=${disk} bs=8 count=1 2>/dev/null`), (text) => Number(text) > 5, 60_000, 200);
    await driver.ensureSnapshot({ id: snapshotId, volumeId });
    const copied = newId('vol');
    await driver.ensureVolume({ id: copied, sizeBytes: 64 * mebibyte, from: { snapshotId } });
    const look = `f=${fileOf(host.machine, 'iscsi', copied)}; head -c 8 $f; echo; tail -c +67072001 $f | head -c 8`;
    const counters = async () => (await host.machine.run('sh', ['-c', look])).stdout.split('\n').map(Number);
    const [ahead = 0, behind = 0] = await counters();
    expect(ahead).toBeGreaterThan(5);
    expect(ahead - behind).toBeGreaterThanOrEqual(0);
    expect(ahead - behind).toBeLessThanOrEqual(1);
    await eventually(() => first.ssh(`dd if=${disk} bs=8 count=1 2>/dev/null`), (text) => Number(text) > ahead + 1, 60_000, 200);
    expect(await counters()).toEqual([ahead, behind]);
    await first.ssh('touch /tmp/stop');
    await world.detach(first, spec);
    console.log(`snapshots of attached volumes here: ${driver.info.capabilities.attachedSnapshots}`);
  });

  it('a guest that does not let go keeps its disk, busy; by force it is cut off, and the host has let go', async () => {
    const { host, driver } = world;
    const stubborn = await host.launch({ kernelArguments: 'pci=noacpi' });
    const volumeId = await world.makeVolume();
    const spec = exportSpecOf(volumeId, { initiators });
    const disk = await world.diskOf(spec, await driver.ensureExport(spec));
    // Its kernel does not hear of devices that come and go: the disk is there at the start.
    await host.hypervisor.ensureStopped(stubborn.instanceId);
    await host.hypervisor.attachDisk(stubborn.instanceId, disk);
    await host.hypervisor.ensureRunning(stubborn.instanceId);
    await stubborn.answers();
    const name = await nameIn(stubborn, volumeId);
    await putOn(stubborn, name, 'mine');
    await expect(host.hypervisor.detachDisk(stubborn.instanceId, disk.serial, { force: false })).rejects.toMatchObject({ kind: 'busy' });
    expect(await readFrom(stubborn, name)).toBe('mine');
    await host.hypervisor.detachDisk(stubborn.instanceId, disk.serial, { force: true });
    expect(await host.hypervisor.disks(stubborn.instanceId)).toContainEqual({ target: 'vdb', serial: disk.serial, isPlugged: true, isDefined: false });
    expect(await failedRead(stubborn, name)).toContain('Input/output error');
    expect((await host.machine.run('ss', ['-Htn', 'state', 'established', 'sport', '>=', ':3260'])).stdout).toBe('');
    await driver.ensureUnexported(spec.attachmentId);
    const next = await world.attach(first, volumeId);
    expect(await readFrom(first, await nameIn(first, volumeId))).toBe('mine');
    await world.detach(first, next);
    await host.hypervisor.ensureAbsent(stubborn.instanceId);
  });
});
