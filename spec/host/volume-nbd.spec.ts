// Volumes over NBD, with real nbdkits and a real guest: QEMU under TCG on a test host of its own. Root only.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Connection } from '../../src/drivers/volume/driver.ts';
import type { RunningGuest } from '../support/guest-host.ts';
import { tryLogin } from '../support/qemu-initiator.ts';
import { exportSpecOf, mebibyte, volumeContract } from '../support/volume-contract.ts';
import { failedRead, initiatorName, initiators, nameIn, putOn, readFrom, serialOf, startVolumeGuests, type VolumeGuests } from '../support/volume-guests.ts';
import { addressedFixture, strangerAddress } from '../support/volume-host.ts';

volumeContract('nbd', () => addressedFixture('nbd-contract', 'nbd'));

describe('volumes over NBD', () => {
  let world: VolumeGuests;
  let guest: RunningGuest;

  beforeAll(async () => {
    world = await startVolumeGuests('vol-nbd', 'nbd');
    guest = await world.host.launch();
  });
  afterAll(() => world?.down());

  it('V2: serves those addresses that may connect, and nobody else', async () => {
    const { driver, host } = world;
    const volumeId = await world.makeVolume(16 * mebibyte);
    const look = (connection: Connection) => tryLogin(host.machine, { connection, secret: spec.secret, initiator: initiatorName });
    const spec = exportSpecOf(volumeId, { initiators });
    expect(await look(await driver.ensureExport(spec))).toBe(String(16 * mebibyte));
    expect(await look(await driver.ensureExport({ ...spec, initiators: [{ name: initiatorName, address: strangerAddress }] }))).toMatch(/qemu-img:/);
    const unknown = { ...spec, initiators: [{ name: initiatorName, address: undefined }] };
    await expect(driver.ensureExport(unknown)).rejects.toMatchObject({ kind: 'unsupported' });
    await driver.ensureUnexported(spec.attachmentId);
    await driver.ensureVolumeAbsent(volumeId);
  });

  it('V3, V4: a guest writes, gets errors once its server was killed, and reads the same when the disk is attached again', async () => {
    const { driver, host } = world;
    const volumeId = await world.makeVolume();
    const spec = await world.attach(guest, volumeId);
    const disk = await nameIn(guest, volumeId);
    expect(await putOn(guest, disk, 'before')).toBe('written');
    await expect(driver.resize(volumeId, 128 * mebibyte)).rejects.toMatchObject({ kind: 'busy' });
    const died = world.nextDeath();
    await world.killServers();
    expect(await died).toBe(spec.attachmentId);
    expect(await failedRead(guest, disk)).toContain('Input/output error');
    const again = await world.diskOf(spec, await driver.ensureExport(spec));
    await host.hypervisor.detachDisk(guest.instanceId, serialOf(volumeId), { force: false });
    await host.hypervisor.attachDisk(guest.instanceId, again);
    expect(await readFrom(guest, await nameIn(guest, volumeId))).toBe('before');
    await world.detach(guest, spec);
    expect(await world.servers()).toEqual([]);
    await driver.ensureVolumeAbsent(volumeId);
  });
});
