// Real guests that change their host (K11: migrate, K12): QEMU under TCG on two hosts of namespaces with libvirtds of their own, over TLS with
// verified certificates; disks copied. What the guest and its neighbours notice is measured and printed. Root only.
import { readdir } from 'node:fs/promises';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimOfRow, loadInstance } from '../../src/db/instance-work.ts';
import { requestMigration } from '../../src/db/migrate-work.ts';
import { addressesOfInstances } from '../../src/db/networks.ts';
import { insertOperation, unfinishedOperations } from '../../src/db/operations.ts';
import { placeInstances } from '../../src/db/placement.ts';
import {
  hosts, images, instances, instanceSecurityGroups, operations, projects, reservations, securityGroupRules, securityGroups, users,
} from '../../src/db/schema/all.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import { createVolumes } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId, newMac, tapName } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { diskCommand } from '../support/guest-disks.ts';
import { eventually } from '../support/hypervisor-contract.ts';
import { exportSpecOf } from '../support/volume-contract.ts';
import { startPair, type RealHost, type RealPair } from '../support/real-pair.ts';

const guestMs = 120_000;
const uid = 'u-1';
const projectId = '123456789012';

let pair: RealPair;
let id: string;
let address: string;
/** A guest that stays on the first host: what it notices is what others notice. */
let neighbour: string;

const now = () => new Date();
const db = () => pair.database.db;
const hostNamed = (name: string | null | undefined): RealHost => {
  const host = pair.hosts.find((one) => one.name === name);
  if (host === undefined) throw new Error(`no host ${String(name)}`);
  return host;
};
const row = async () => (await loadInstance(db(), id)) ?? Promise.reject(new Error('the instance vanished'));

/** Where the guest is, and where it is not. */
async function fromAndTo(): Promise<[from: RealHost, to: RealHost]> {
  const from = hostNamed((await row()).host);
  return [from, hostNamed(from.name === 'h1' ? 'h2' : 'h1')];
}

async function foundCloud(): Promise<void> {
  const createdAt = now();
  await db().insert(users).values({ id: uid, name: 'someone', createdAt });
  await db().insert(projects).values({ id: projectId, name: 'project', description: '', managerId: uid, createdAt });
  for (const [type, image] of Object.entries(pair.images)) {
    await db().insert(images).values({
      id: image.id, projectId, name: type, location: 'b/k', type: type as 'machine', architecture: 'x86_64', state: 'available', rootDeviceName: '/dev/vda',
      virtualizationType: 'hvm', format: 'raw', sizeBytes: 1, virtualSizeBytes: 32 * 1024 * 1024, sha256: '00', blobId: 'blob',
      createdAt, stateChangedAt: createdAt,
    });
  }
  await db().insert(securityGroups).values({ id: 'sg-1', projectId, name: 'open', description: '', createdAt });
  await db().insert(securityGroupRules).values((['ingress', 'egress'] as const).map((direction) => ({
    id: `sgr-${direction}`, groupId: 'sg-1', direction, protocol: '-1', fromPort: -1, toPort: -1, cidr: '0.0.0.0/0', sourceGroupId: null, description: '',
  })));
}

/** A running guest on the first host that answers ssh, with its address. */
async function launch(): Promise<{ id: string; address: string }> {
  const launched = newId('i');
  const [reservationId, createdAt] = [newId('r'), now()];
  await db().insert(reservations).values({ id: reservationId, projectId, userId: uid, requestDigest: '', createdAt });
  await db().insert(instances).values({
    id: launched, reservationId, projectId, userId: uid, launchIndex: 0,
    imageId: pair.images.machine.id, kernelId: pair.images.kernel.id, ramdiskId: pair.images.ramdisk.id,
    instanceType: 'm1.tiny', cores: 1, memoryMiB: 128, rootGiB: 1, architecture: 'x86_64', rootDeviceName: '/dev/vda', state: 'pending',
    stateChangedAt: createdAt, zone: 'nova', mac: newMac(), launchedAt: createdAt,
  });
  await db().insert(instanceSecurityGroups).values({ instanceId: launched, groupId: 'sg-1' });
  const operationId = await insertOperation(db(), {
    kind: 'instance.run', resourceId: launched, projectId, userId: uid, requestId: 'run', owner: 'scheduler', deadline: new Date(clock.now() + 600_000),
  }, now());
  const load = async () => (await loadInstance(db(), launched)) ?? Promise.reject(new Error('the instance vanished'));
  const claim = await claimOfRow(db(), await load());
  await placeInstances(db(), [{ instanceId: launched, operationId, host: 'h1', claim }], { cores: 1, memory: 1, disk: 1 }, now());
  hostNamed('h1').compute.relay.kick();
  await eventually(load, ({ state }) => state === 'running', guestMs, 200);
  const at = (await addressesOfInstances(db(), [launched])).get(launched) ?? '';
  await eventually(() => pair.ssh(hostNamed('h1'), at, 'echo up').catch((error: unknown) => String(error)), (said) => said === 'up', guestMs, 500);
  return { id: launched, address: at };
}

/** In the guest, from the host that it is on. */
const inGuest = async (command: string) => pair.ssh(hostNamed((await row()).host), address, command);
const answers = () => eventually(() => inGuest('echo up').catch((error: unknown) => String(error)), (said) => said === 'up', guestMs, 500);
const bootOf = () => inGuest('cat /proc/sys/kernel/random/boot_id');
const uptimeOf = async () => Number(await inGuest('cut -d" " -f1 /proc/uptime'));

async function move(wish: { live: boolean; target: string }): Promise<{ state: string; error: string | null; ms: number }> {
  const startedAt = clock.now();
  const wished = await requestMigration(db(), { instanceId: id, ...wish, userId: uid, requestId: 'move', deadline: new Date(clock.now() + 600_000) }, now());
  if ('refusal' in wished) throw new Error(wished.refusal);
  hostNamed('h1').compute.relay.kick();
  const read = async () => (await db().select().from(operations).where(eq(operations.id, wished.operationId)))[0];
  const ended = await eventually(read, (one) => one?.state === 'done' || one?.state === 'failed', guestMs, 50);
  return { state: ended?.state ?? '', error: ended?.error ?? null, ms: clock.now() - startedAt };
}

/** Ten echoes a second from the neighbour, while a guest moves and a while longer. */
async function ping(): Promise<{ sent: number; lost: number }> {
  const said = await pair.ssh(hostNamed('h1'), neighbour, `ping -c ${echoes} -i 0.1 -W 1 -q ${address} || true`, 120_000);
  const [, sent = '0', received = '0'] = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(said) ?? [];
  return { sent: Number(sent), lost: Number(sent) - Number(received) };
}

const echoes = 250;

const isMoving = (said: string): boolean => /Job type:\s+(Unb|B)ounded/.test(said);
const isOnItsWay = (from: RealHost) => eventually(() => from.machine.virsh('qemu', 'domjobinfo', id), isMoving, 60_000, 100);

/** Domain, folder, tap, rules and DHCP entry: all on one host, nothing on the other. */
async function livesOnlyOn(name: string): Promise<void> {
  await eventually(() => unfinishedOperations(db(), id), (rows) => rows.length === 0, guestMs, 100);
  expect(await row()).toMatchObject({ host: name, migratingTo: null });
  for (const host of pair.hosts) {
    const here = host.name === name;
    const { machine, compute } = host;
    expect((await machine.virsh('qemu', 'list', '--all', '--name')).split('\n').includes(id), `domain on ${host.name}`).toBe(here);
    expect((await readdir(compute.paths.instances)).includes(id), `folder on ${host.name}`).toBe(here);
    expect((await machine.run('ip', ['-o', 'link', 'show'])).stdout.includes(tapName(id)), `tap on ${host.name}`).toBe(here);
    expect((await machine.run('nft', ['list', 'ruleset'])).stdout.includes(tapName(id)), `rules on ${host.name}`).toBe(here);
    const [claims] = await db().select().from(hosts).where(eq(hosts.name, host.name));
    expect(claims?.claimedCores, `room on ${host.name}`).toBe((here ? 1 : 0) + (host.name === 'h1' ? 1 : 0));
  }
}

describe('guests that change their host', () => {
  beforeAll(async () => {
    pair = await startPair('migrate');
    await foundCloud();
    const [first, second] = [await launch(), await launch()];
    ({ id, address } = first);
    neighbour = second.address;
  }, 240_000);
  afterAll(() => pair?.down(), 120_000);

  for (const target of ['h2', 'h1']) {
    it(`K12: go on running, live to ${target}: same boot, same files, ssh, few echoes lost`, async () => {
      const [boot, uptime] = [await bootOf(), await uptimeOf()];
      await inGuest(`echo kept-${target} > /root/kept && sync`);
      const pinging = ping();
      const ended = await move({ live: true, target });
      await answers();
      const { sent, lost } = await pinging;
      console.log(`live to ${target}: ${ended.ms} ms, ${lost} of ${sent} echoes of a neighbour lost (one each 100 ms)`);
      expect(ended).toMatchObject({ state: 'done', error: null });
      expect(await bootOf()).toBe(boot);
      expect(await uptimeOf()).toBeGreaterThan(uptime);
      expect(await inGuest('cat /root/kept')).toBe(`kept-${target}`);
      expect(sent).toBe(echoes);
      expect(lost).toBeLessThan(50);
      await livesOnlyOn(target);
      expect(await row()).toMatchObject({ state: 'running' });
      // What it wrote before and after is on the console of the host that it is on now.
      const { hypervisor, compute } = hostNamed(target);
      const said = await hypervisor.console({ instanceId: id, directory: `${compute.paths.instances}/${id}` });
      expect(said.toString()).toContain('guest: ready at');
    }, 240_000);
  }

  it('K12: take a volume over iSCSI with them, mounted, which is reached from there and not copied', async () => {
    const [from, to] = await fromAndTo();
    const [here, there] = ['10.98.7.1', '10.98.7.2'];
    const stateDirectory = `${pair.folder}/volumes`;
    const driver = createVolumes('iscsi', {}, { run: hostNamed('h1').machine.run, log, clock, stateDirectory, address: here });
    await driver.probe();
    const volumeId = newId('vol');
    await driver.ensureVolume({ id: volumeId, sizeBytes: 64 * 1024 * 1024 });
    const initiators = [here, there].map((at, index) => ({ name: `iqn.2011-02.org.novact:h${index + 1}`, address: at }));
    const spec = exportSpecOf(volumeId, { initiators });
    const access = { initiatorName: 'iqn.2011-02.org.novact:h1', secret: spec.secret };
    const source = await createVolumeConnector().ensureConnected(await driver.ensureExport(spec), access);
    const disk = { source, target: 'vdb', serial: 'vol1' };
    try {
      await from.hypervisor.attachDisk(id, disk);
      const found = await eventually(() => inGuest(diskCommand('vol1')), (text) => text !== '', 60_000, 200);
      const name = `/dev/${found}`;
      await inGuest(`mke2fs ${name} >/dev/null 2>&1; mount -t ext4 ${name} /mnt && echo with-it > /mnt/proof && sync`);
      await to.hypervisor.migrator?.prepareIncoming([disk]);
      const boot = await bootOf();
      expect(await move({ live: true, target: to.name })).toMatchObject({ state: 'done', error: null });
      await answers();
      expect(await bootOf()).toBe(boot);
      await driver.ensureExport({ ...spec, initiators: initiators.filter((one) => one.name.endsWith(to.name)) });
      expect(await inGuest('echo after >> /mnt/proof && sync && cat /mnt/proof && umount /mnt')).toBe('with-it\nafter');
      await to.hypervisor.detachDisk(id, 'vol1', { force: false });
      for (const host of [from, to]) expect(await host.machine.virsh('qemu', 'secret-list')).not.toContain(volumeId);
    } finally {
      await driver.removeAll();
      await driver.close();
    }
  }, 240_000);

  it('K11: move cold: stopped, copied over TLS, started there with its files and its address', async () => {
    const boot = await bootOf();
    const [, { name: target }] = await fromAndTo();
    await inGuest('echo cold > /root/kept && sync');
    const ended = await move({ live: false, target });
    expect(ended).toMatchObject({ state: 'done', error: null });
    await eventually(row, ({ state }) => state === 'running', guestMs, 100);
    await answers();
    console.log(`cold to ${target}: given over after ${ended.ms} ms`);
    expect(await bootOf()).not.toBe(boot);
    expect(await inGuest('cat /root/kept')).toBe('cold');
    await livesOnlyOn(target);
    expect((await addressesOfInstances(db(), [id])).get(id)).toBe(address);
  }, 240_000);

  it('stay where they are when the other hypervisor dies in the middle of it', async () => {
    const boot = await bootOf();
    const [from, to] = await fromAndTo();
    await from.machine.virsh('qemu', 'migrate-setspeed', id, '1');
    const moving = move({ live: true, target: to.name });
    await isOnItsWay(from);
    await to.machine.killLibvirtd();
    await eventually(() => from.machine.virsh('qemu', 'domjobinfo', id), (said) => !isMoving(said), 60_000, 100);
    await to.machine.startLibvirtd();
    const ended = await moving;
    console.log(`other libvirtd dead: ${ended.state}: ${ended.error}`);
    expect(ended.state).toBe('failed');
    await answers();
    expect(await bootOf()).toBe(boot);
    await livesOnlyOn(from.name);
  }, 240_000);

  it('go over although the process that asked for it dies, and are joined by the next', async () => {
    const [from, to] = await fromAndTo();
    const boot = await bootOf();
    const uri = from.machine.libvirtUri('qemu');
    const mover = await createLibvirtHypervisor({ uri, log, clock, stateDirectory: from.machine.directory, accelerator: 'tcg' });
    // Slow enough to be met in the middle.
    await from.machine.virsh('qemu', 'migrate-setspeed', id, '10');
    const joined = from.hypervisor.migrator;
    let progress = 0;
    const options = {
      instanceId: id, uri: to.compute.moves?.migrationUri ?? '', address: to.compute.moves?.address, disksShared: false, timeoutMs: 100_000,
      paths: [[from.compute.paths.instances, to.compute.paths.instances], [from.compute.paths.images, to.compute.paths.images]] as const,
      onProgress: () => void (progress += 1),
    };
    // As the flow does before: the row names the target, and the target has an overlay.
    await db().update(instances).set({ migratingTo: to.name }).where(eq(instances.id, id));
    const place = await to.compute.transport.ask({ role: 'compute', host: to.name }, computeProtocol, 'prepareIncoming', {
      instanceId: id, operationId: newId('op'), from: null, live: true,
    });
    expect(place.liveMigrationNotice).toBeNull();
    const first = mover.migrator?.migrate(options, new AbortController().signal).catch((error: unknown) => error);
    await eventually(() => progress, (seen) => seen > 0, 60_000, 20);
    await mover.close();
    await joined?.migrate(options, new AbortController().signal).catch((error: unknown) => {
      // It may have gone over between two looks.
      expect(error).toMatchObject({ kind: 'notFound' });
    });
    await first;
    await eventually(() => to.machine.virsh('qemu', 'list', '--name'), (names) => names.includes(id), 60_000);
    expect((await from.machine.virsh('qemu', 'list', '--all', '--name')).includes(id)).toBe(false);
    // Nobody moves it any more: the host that has it adopts it, and the other cleans up.
    await eventually(row, ({ host }) => host === to.name, 60_000, 200);
    await eventually(() => unfinishedOperations(db(), id), (rows) => rows.length === 0, 60_000, 100);
    await answers();
    expect(await bootOf()).toBe(boot);
  }, 240_000);

  it('can be called back while they are on their way', async () => {
    const [from, to] = await fromAndTo();
    await from.machine.virsh('qemu', 'migrate-setspeed', id, '1');
    const moving = move({ live: true, target: to.name });
    await isOnItsWay(from);
    await db().update(instances).set({ state: 'shutting-down' }).where(eq(instances.id, id));
    const { projectId: project } = await row();
    await insertOperation(db(), {
      kind: 'instance.terminate', resourceId: id, projectId: project, userId: uid, requestId: 'end', owner: `compute@${from.name}`,
      deadline: new Date(clock.now() + 600_000),
    }, now());
    from.compute.relay.kick();
    expect(await moving).toMatchObject({ state: 'failed' });
    await eventually(row, ({ state }) => state === 'terminated', 60_000, 100);
    await eventually(() => unfinishedOperations(db(), id), (rows) => rows.length === 0, 60_000, 100);
    for (const host of pair.hosts) {
      expect(await host.machine.virsh('qemu', 'list', '--all', '--name')).not.toContain(id);
      expect((await readdir(host.compute.paths.instances)).includes(id)).toBe(false);
    }
  }, 240_000);
});
