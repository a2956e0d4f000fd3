// Two hosts and one link: volumes are served by our drivers here, and the nested guest is the other host, whose kernel connects to them: by ATA over
// Ethernet through our connector, and by iSCSI as the kernel's own tools do.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAoeInitiator } from '../../src/drivers/volume/aoe-initiator.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import type { VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { createVolumes, type VolumeDriverName } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { Secret } from '../../src/lib/secret.ts';
import { deviceOf, iscsiOf, startKernelInitiator, type IscsiConnection, type KernelInitiator } from '../support/kernel-iscsi.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { exportSpecOf, mebibyte } from '../support/volume-contract.ts';

const initiatorName = 'iqn.2011-02.org.novact:h1';
const strangerAddress = '10.44.0.3';
const sizeBytes = 16 * mebibyte;
const slowMs = 60_000;
const stateDirectory = mkdtempSync(join(tmpdir(), 'lab-initiators-'));
let lab: Lab;

const inLab = async (line: string): Promise<string> => (await lab.run('sh', ['-c', line], { timeoutMs: slowMs })).stdout.trim();
const fileOf = (volumeId: string): string => join(stateDirectory, 'volumes', 'volumes', `${volumeId}.raw`);
const wasWritten = async (volumeId: string, text: string): Promise<boolean> =>
  (await lab.outside('grep', ['-q', text, fileOf(volumeId)], { okCodes: [0, 1] })).code === 0;

async function volumesHere(name: VolumeDriverName): Promise<VolumeDriver> {
  const driver = createVolumes(name, {}, { run: lab.outside, log, clock, stateDirectory, address: lab.gateway });
  await driver.probe();
  return driver;
}

beforeAll(async () => {
  lab = await startLab('lab-initiators');
});
afterAll(async () => {
  await lab?.down();
  rmSync(stateDirectory, { recursive: true, force: true });
});

describe('a kernel with ATA over Ethernet', () => {
  it('V6: finds the volume that is served to its card, reads what was written before, and lets go of it; another card finds none', async () => {
    const driver = await volumesHere('aoe');
    const connector = createVolumeConnector(createAoeInitiator({ run: lab.run, clock, address: lab.address }));
    const access = { initiatorName, secret: new Secret('unused') };
    const devices = () => inLab('ls /dev/etherd | grep "^e[0-9]" || true');
    const volumeId = newId('vol');
    await driver.ensureVolume({ id: volumeId, sizeBytes });
    const initiators = [{ name: initiatorName, address: lab.address }];
    const first = exportSpecOf(volumeId, { initiators });
    const connection = await driver.ensureExport(first);
    expect(connection).toEqual({ protocol: 'aoe', shelf: 1, slot: 0 });
    const source = await connector.ensureConnected(connection, access);
    expect(source).toEqual({ type: 'block', path: '/dev/etherd/e1.0' });
    expect(await connector.ensureConnected(connection, access)).toEqual(source);
    expect(await inLab('blockdev --getsize64 /dev/etherd/e1.0')).toBe(String(sizeBytes));
    expect(await inLab('cat /sys/module/aoe/parameters/aoe_iflist')).toBe('eth0');
    await inLab('mke2fs -q /dev/etherd/e1.0 && mount /dev/etherd/e1.0 /mnt && echo novact-was-here > /mnt/proof && umount /mnt');
    expect(await wasWritten(volumeId, 'novact-was-here')).toBe(true);
    await connector.ensureDisconnected(connection);
    await connector.ensureDisconnected(connection);
    expect(await devices()).toBe('');
    await driver.ensureUnexported(first.attachmentId);

    // A server that dies and comes back is the same device to a kernel that waits for it.
    const second = exportSpecOf(volumeId, { initiators });
    const again = await driver.ensureExport(second);
    const died = new Promise<string>((resolve) => driver.subscribe(({ attachmentId }) => resolve(attachmentId)));
    await connector.ensureConnected(again, access);
    await lab.outside('sh', ['-c', `kill -9 $(pgrep -f '^vblade .*${second.attachmentId}')`]);
    expect(await died).toBe(second.attachmentId);
    const reading = inLab('echo 3 > /proc/sys/vm/drop_caches; mount /dev/etherd/e1.0 /mnt && cat /mnt/proof && umount /mnt');
    await driver.ensureExport(second);
    expect(await reading).toBe('novact-was-here');
    await connector.ensureDisconnected(again);
    await driver.ensureUnexported(second.attachmentId);

    // The guest has a second card, that of another host; the first one is refused.
    await inLab('sysctl -qw net.ipv4.conf.eth0.arp_ignore=1; ip link add other link eth0 type macvlan mode bridge');
    await inLab(`ip addr add ${strangerAddress}/24 dev other; ip link set other up`);
    const foreign = exportSpecOf(volumeId, { initiators: [{ name: 'iqn.2011-02.org.novact:h2', address: strangerAddress }] });
    await expect(connector.ensureConnected(await driver.ensureExport(foreign), access)).rejects.toMatchObject({ kind: 'timeout' });
    expect(await devices()).toBe('');
    await driver.ensureUnexported(foreign.attachmentId);
    await inLab('ip link del other');
    await driver.removeAll();
    await driver.close();
  });
});

describe('a kernel with iSCSI', () => {
  let driver: VolumeDriver;
  let kernel: KernelInitiator;
  let volumeId: string;
  let connection: IscsiConnection;
  const spec = () => exportSpecOf(volumeId, { initiators: [{ name: initiatorName, address: lab.address }] });
  const portal = () => `${connection.address}:${connection.port}`;

  beforeAll(async () => {
    kernel = await startKernelInitiator(lab, initiatorName);
    driver = await volumesHere('iscsi');
    volumeId = newId('vol');
    await driver.ensureVolume({ id: volumeId, sizeBytes });
  });
  afterAll(async () => {
    await driver?.removeAll();
    await driver?.close();
  });

  it('V2: logs in with the right secret from the right initiator, with no other and from nowhere else; nothing is left after it', async () => {
    const served = spec();
    connection = iscsiOf(await driver.ensureExport(served));
    expect(await kernel.discover(connection)).toBe(`${portal()},1 ${connection.target}`);
    expect(await kernel.logIn(connection)).toBe('24');
    await kernel.giveSecret(connection, new Secret('0123456789abcdef'));
    expect(await kernel.logIn(connection)).toBe('24');
    await kernel.giveSecret(connection, served.secret);
    expect(await kernel.logIn(connection)).toBe('done');
    const device = deviceOf(connection);
    expect(await kernel.devices()).toBe(device.split('/').at(-1));
    expect(await inLab(`blockdev --getsize64 ${device}`)).toBe(String(sizeBytes));
    await inLab(`echo novact-was-here | dd of=${device} conv=fsync,notrunc status=none`);
    expect(await wasWritten(volumeId, 'novact-was-here')).toBe(true);
    expect(await kernel.logOut(connection)).toBe('done');
    expect([await kernel.sessions(), await kernel.devices()]).toEqual(['', '']);

    const from = async (name: string, address: string | undefined) => {
      await driver.ensureExport({ ...served, initiators: [{ name, address }] });
      return kernel.logIn(connection);
    };
    expect(await from(initiatorName, strangerAddress)).toBe('19');
    expect(await kernel.discover(connection)).toBe('21');
    expect(await from('iqn.2011-02.org.novact:h2', undefined)).toBe('19');
    expect(await from(initiatorName, undefined)).toBe('done');
  });

  it('V4: is cut off when the export ends, and has neither a session nor a device when it has logged out', async () => {
    expect(await kernel.devices()).toContain(volumeId);
    const [exported] = await driver.listExports();
    await driver.ensureUnexported(exported?.attachmentId ?? '');
    await inLab('for i in $(seq 100); do iscsiadm -m session -P 1 | grep -q "Session State: FAILED" && exit 0; sleep 0.3; done; exit 1');
    expect(await kernel.logOut(connection)).toBe('done');
    expect([await kernel.sessions(), await kernel.devices()]).toEqual(['', '']);
    expect(await inLab(`nc -z -w 5 ${connection.address} ${connection.port} && echo open || echo closed`)).toBe('closed');
    const next = spec();
    const other = await driver.ensureExport(next);
    expect(other).not.toMatchObject({ target: connection.target });
    await driver.ensureUnexported(next.attachmentId);
  });
});
