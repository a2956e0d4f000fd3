// Volumes over ATA over Ethernet: real vblades on a link of two hosts, and the protocol as it is on the wire. With a kernel that connects it runs in the
// nested lab (spec/lab/initiators.spec.ts). Root only.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAoeExporter } from '../../src/drivers/volume/aoe.ts';
import { createAoeInitiator } from '../../src/drivers/volume/aoe-initiator.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import type { Connection, VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog } from '../../src/lib/log.ts';
import { findProcesses } from '../../src/lib/processes.ts';
import { Secret } from '../../src/lib/secret.ts';
import { askAoe } from '../support/aoe-wire.ts';
import { up, type TestHost } from '../support/host.ts';
import { withLoopDevice } from '../support/loop-device.ts';
import { exportSpecOf, mebibyte, volumeContract } from '../support/volume-contract.ts';
import { fileFixture, fileOf, hostAddress, volumesOn } from '../support/volume-host.ts';

const root = createRun({ log: silentLog });
const peer = { name: 'iqn.2011-02.org.novact:h2', address: '10.97.3.2' };
const self = { name: 'iqn.2011-02.org.novact:h1', address: hostAddress };

/** A host with one cable, at whose other end, in a namespace of its own, are two cards: that of `peer`, and one of a stranger. */
async function hostWithPeer(name: string): Promise<{ machine: TestHost; other: string }> {
  await (await up(name)).down();
  const machine = await up(name);
  const other = `${name}-peer`;
  await root('ip', ['netns', 'del', other], { okCodes: [0, 1] });
  await root('ip', ['netns', 'add', other]);
  await root('ip', ['-n', machine.namespace, 'link', 'add', 'storage0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', other]);
  for (const [namespace, link, address] of [[machine.namespace, 'storage0', hostAddress], [other, 'eth0', peer.address]] as const) {
    await root('ip', ['-n', namespace, 'address', 'add', `${address}/24`, 'dev', link]);
    await root('ip', ['-n', namespace, 'link', 'set', link, 'up']);
  }
  return { machine, other };
}

volumeContract('aoe', async () => {
  const { machine, other } = await hostWithPeer('aoe-contract');
  const fixture = await fileFixture(machine, 'aoe');
  return {
    ...fixture, initiators: [peer],
    async close() {
      await fixture.close();
      await root('ip', ['netns', 'del', other]);
    },
  };
});

describe('volumes over ATA over Ethernet', () => {
  let machine: TestHost;
  let other: string;
  let driver: VolumeDriver;
  const servers = () => findProcesses((args) => args[0]?.endsWith('vblade') === true && args.some((arg) => arg.startsWith(machine.directory)));
  const ask = (connection: Connection, card: string) => askAoe(createRun({ log: silentLog, networkNamespace: other }), { link: 'eth0', card }, connection);
  const peerCard = async () => (await root('ip', ['netns', 'exec', other, 'cat', '/sys/class/net/eth0/address'])).stdout.trim();
  const makeVolume = async () => {
    const id = newId('vol');
    await driver.ensureVolume({ id, sizeBytes: 4 * mebibyte });
    return id;
  };

  beforeAll(async () => {
    ({ machine, other } = await hostWithPeer('aoe-wire'));
    driver = await volumesOn(machine, 'aoe');
  });
  afterAll(async () => {
    await driver?.removeAll();
    await driver?.close();
    await machine?.down();
    await root('ip', ['netns', 'del', other], { okCodes: [0, 1] });
  });

  it('V6: answers the card of the host that may connect, and no other; nothing is left when it ends', async () => {
    const spec = exportSpecOf(await makeVolume(), { initiators: [peer] });
    const connection = await driver.ensureExport(spec);
    expect(connection).toEqual({ protocol: 'aoe', shelf: 3 * 256 + 1, slot: 0 });
    expect(await ask(connection, await peerCard())).toBe('answers');
    expect(await ask(connection, '02:00:00:00:00:99')).toBe('silence');
    // The host has another card now: it alone may connect, at the same place.
    await root('ip', ['-n', other, 'link', 'set', 'eth0', 'address', '02:00:00:00:00:77']);
    const before = await servers();
    expect(await driver.ensureExport(spec)).toEqual(connection);
    expect((await servers()).map(({ pid }) => pid)).not.toEqual(before.map(({ pid }) => pid));
    expect(await ask(connection, '02:00:00:00:00:77')).toBe('answers');
    await driver.ensureUnexported(spec.attachmentId);
    expect(await ask(connection, '02:00:00:00:00:77')).toBe('silence');
    expect(await servers()).toEqual([]);
  });

  it('gives every attachment a place of its own, however many come at once, and again the same after the death of its server', async () => {
    const specs = await Promise.all([1, 2, 3, 4].map(async () => exportSpecOf(await makeVolume(), { initiators: [peer] })));
    const connections = await Promise.all(specs.map((spec) => driver.ensureExport(spec)));
    const slots = connections.map((connection) => (connection.protocol === 'aoe' ? connection.slot : -1));
    expect(slots.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
    const [spec, connection] = [specs[2], connections[2]];
    if (spec === undefined || connection === undefined) throw new Error('not there');
    const died = new Promise<string>((resolve) => driver.subscribe(({ attachmentId }) => resolve(attachmentId)));
    for (const { pid, args } of await servers()) if (args.some((arg) => arg.includes(spec.attachmentId))) process.kill(pid, 'SIGKILL');
    expect(await died).toBe(spec.attachmentId);
    expect(await ask(connection, await peerCard())).toBe('silence');
    expect(await driver.ensureExport(spec)).toEqual(connection);
    expect(await ask(connection, await peerCard())).toBe('answers');
    for (const { attachmentId } of specs) await driver.ensureUnexported(attachmentId);
    expect(await servers()).toEqual([]);
  });

  it('lets guests of its own host open the volume in place, and serves nobody whose card it cannot find', async () => {
    const volumeId = await makeVolume();
    const spec = exportSpecOf(volumeId, { initiators: [self] });
    expect(await driver.ensureExport(spec)).toEqual({ protocol: 'file', path: fileOf(machine, 'aoe', volumeId) });
    expect(await driver.listExports()).toEqual([{ volumeId, attachmentId: spec.attachmentId, isServed: true }]);
    expect(await servers()).toEqual([]);
    await driver.ensureUnexported(spec.attachmentId);
    const refused = async (initiators: typeof spec.initiators) => driver.ensureExport(exportSpecOf(volumeId, { initiators })).then(() => 'served', String);
    expect(await refused([{ name: peer.name, address: undefined }])).toContain('its IPv4 address is not known');
    expect(await refused([{ name: peer.name, address: '10.97.3.99' }])).toContain('nobody on storage0 answers for 10.97.3.99');
    expect(await refused([self, peer])).toContain('not for its own host and another at once');
    expect([await driver.listExports(), await servers()]).toEqual([[], []]);
  });

  it('V2: serves a volume that is a block device, and lets go of it', async () => {
    const exporter = createAoeExporter({ folder: join(machine.directory, 'aoe-block'), address: hostAddress, shelf: 9, run: machine.run, clock });
    await exporter.probe();
    await withLoopDevice(machine, 4 * mebibyte, async (device) => {
      await machine.run('dd', [`of=${device.path}`, 'conv=fsync,notrunc', 'status=none'], { input: 'a logical volume' });
      const spec = exportSpecOf(newId('vol'), { initiators: [peer] });
      const connection = await exporter.serve(spec, device, { own: undefined, others: [] });
      expect(await ask(connection, await peerCard())).toBe('answers a logical volume');
      await exporter.end(spec.attachmentId);
    });
    exporter.servers?.close();
  });

  it('says what a host lacks whose kernel cannot connect', async (context) => {
    if ((await root('modprobe', ['-n', 'aoe'], { okCodes: [0, 1] })).code === 0) return context.skip('this kernel has the module');
    const connector = createVolumeConnector(createAoeInitiator({ run: machine.run, clock, address: hostAddress }));
    const place = { protocol: 'aoe', shelf: 1, slot: 1 } as const;
    await expect(connector.ensureConnected(place, { initiatorName: self.name, secret: new Secret('unused') })).rejects.toMatchObject({
      kind: 'unsupported', message: expect.stringContaining('has no ATA over Ethernet (module aoe)'),
    });
    await connector.ensureDisconnected(place);
  });
});
