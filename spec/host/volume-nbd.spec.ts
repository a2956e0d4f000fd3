// Volumes over NBD, with real nbdkits and a real guest: QEMU under TCG on a test host of its own. Root only.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import type { Connection, VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { newId } from '../../src/lib/ids.ts';
import { findProcesses } from '../../src/lib/processes.ts';
import { startGuestHost, type GuestHost, type RunningGuest } from '../support/guest-host.ts';
import { eventually } from '../support/hypervisor-contract.ts';
import { up } from '../support/host.ts';
import { exportSpecOf, mebibyte, volumeContract } from '../support/volume-contract.ts';
import { fileFixture, giveAddresses, hostAddress, strangerAddress, volumesOn } from '../support/volume-host.ts';

const slowMs = 240_000;
const initiatorName = 'iqn.2011-02.org.novact:h1';
const initiators = [{ name: initiatorName, address: hostAddress }];

volumeContract('nbd', async () => {
  await (await up('nbd-contract')).down();
  const machine = await up('nbd-contract');
  await giveAddresses(machine);
  return fileFixture(machine, 'nbd');
});

describe('volumes over NBD', () => {
  let host: GuestHost;
  let driver: VolumeDriver;
  let guest: RunningGuest;
  const servers = () => findProcesses((args) => args[0]?.endsWith('nbdkit') === true && args.some((arg) => arg.startsWith(host.machine.directory)));

  beforeAll(async () => {
    host = await startGuestHost('vol-nbd');
    await giveAddresses(host.machine);
    driver = await volumesOn(host.machine, 'nbd');
    guest = await host.launch();
  }, slowMs);
  afterAll(async () => {
    await driver?.removeAll();
    await driver?.close();
    await host?.down();
  }, slowMs);

  it('V2: serves those addresses that may connect, and nobody else', async () => {
    const volumeId = newId('vol');
    await driver.ensureVolume({ id: volumeId, sizeBytes: 16 * mebibyte });
    const look = async (connection: Connection): Promise<string> => {
      if (connection.protocol !== 'nbd') throw new Error('not NBD');
      const url = `nbd://${connection.address}:${connection.port}/${connection.exportName}`;
      const { stdout, stderr } = await host.machine.run('qemu-img', ['info', '--output=json', url], { okCodes: [0, 1] });
      return stdout === '' ? stderr : String((JSON.parse(stdout) as Record<string, unknown>)['virtual-size']);
    };
    const spec = exportSpecOf(volumeId, { initiators });
    expect(await look(await driver.ensureExport(spec))).toBe(String(16 * mebibyte));
    expect(await look(await driver.ensureExport({ ...spec, initiators: [{ name: initiatorName, address: strangerAddress }] }))).toMatch(/qemu-img:/);
    const unknown = { ...spec, initiators: [{ name: initiatorName, address: undefined }] };
    await expect(driver.ensureExport(unknown)).rejects.toMatchObject({ kind: 'unsupported' });
    await driver.ensureUnexported(spec.attachmentId);
    await driver.ensureVolumeAbsent(volumeId);
  }, slowMs);

  it('V3, V4: a guest writes, gets errors once its server was killed, and reads the same when the disk is attached again', async () => {
    const volumeId = newId('vol');
    const serial = volumeId.replace('-', '').slice(0, 20);
    await driver.ensureVolume({ id: volumeId, sizeBytes: 64 * mebibyte });
    const spec = exportSpecOf(volumeId, { initiators });
    const access = { initiatorName, secret: spec.secret };
    const source = await createVolumeConnector().ensureConnected(await driver.ensureExport(spec), access);
    await host.hypervisor.attachDisk(guest.instanceId, { source, target: 'vdb', serial });
    const path = await eventually(() => guest.ssh(`grep -l ${serial} /sys/block/*/serial || true`), (text) => text !== '', 60_000, 100);
    const name = path.split('/')[3] ?? '';
    await guest.ssh(`mke2fs /dev/${name} >/dev/null 2>&1; mount -t ext4 /dev/${name} /mnt && echo before > /mnt/proof && umount /mnt`);
    await expect(driver.resize(volumeId, 128 * mebibyte)).rejects.toMatchObject({ kind: 'busy' });
    const died = new Promise<string>((resolve) => driver.subscribe(({ attachmentId }) => resolve(attachmentId)));
    for (const { pid } of await servers()) process.kill(pid, 'SIGKILL');
    expect(await died).toBe(spec.attachmentId);
    expect(await guest.ssh(`dd if=/dev/${name} of=/dev/null bs=4k count=1 iflag=direct 2>&1; true`)).toContain('Input/output error');
    await driver.ensureExport(spec);
    await host.hypervisor.detachDisk(guest.instanceId, serial, { force: false });
    await host.hypervisor.attachDisk(guest.instanceId, { source, target: 'vdb', serial });
    const again = await eventually(() => guest.ssh(`grep -l ${serial} /sys/block/*/serial || true`), (text) => text !== '', 60_000, 100);
    expect(await guest.ssh(`mount -t ext4 /dev/${again.split('/')[3]} /mnt && cat /mnt/proof && umount /mnt`)).toBe('before');
    await host.hypervisor.detachDisk(guest.instanceId, serial, { force: false });
    await driver.ensureUnexported(spec.attachmentId);
    expect(await servers()).toEqual([]);
    await driver.ensureVolumeAbsent(volumeId);
  }, slowMs);
});
