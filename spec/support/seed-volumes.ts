// The acceptance of volumes, served over the network: written, snapshotted, grown, moved to a guest of another host, restored; then whatever
// serves it or runs the guest is killed while the guest writes. Who calls this brings two hosts that keep volumes (three-hosts.ts), with QEMU guests.
import { describe, expect, it } from 'vitest';
import type { RoleName } from '../../src/config/options.ts';
import { waitFor, waitUntil } from './patience.ts';
import { inside, Tenant, untilInside, type SeedGuest } from './seed-tenants.ts';
import { slowMs, tell, worldOf, type SeedOptions } from './seed-world.ts';
import { VolumeDesk } from './volume-desk.ts';
import type { Host, Hosts } from './three-hosts.ts';

const mount = (disk: string, at = '/mnt'): string => `mkdir -p ${at} && mount -t ext4 /dev/${disk} ${at}`;
/** A line with the next number, on the disk when the number is in `progress`: ten times a second until it is told to end. */
const writing = 'rm -f /run/enough; n=0; while [ ! -e /run/enough ]; do n=$((n + 1)); '
  + 'echo $n >> /mnt/log && sync /mnt/log && echo $n > /run/progress || exit 1; sleep 0.1; done';

class World {
  readonly cloud: Hosts;
  readonly tenant: Tenant;
  readonly desk: VolumeDesk<SeedGuest>;
  readonly first: SeedGuest;
  readonly second: SeedGuest;
  /** The volume of the story, its snapshot, what was restored from that, and the checksum of a file on all of them. */
  volume = '';
  snapshot = '';
  restored = '';
  sum = '';

  private constructor(cloud: Hosts, tenant: Tenant, guests: readonly SeedGuest[]) {
    const [first, second] = guests;
    if (first === undefined || second === undefined) throw new Error('two guests were wished');
    this.cloud = cloud;
    this.tenant = tenant;
    this.desk = new VolumeDesk({ ec2: (method, parameters) => tenant.ec2(method, parameters), inside });
    this.first = first;
    this.second = second;
  }

  static async enter(cloud: Hosts): Promise<World> {
    const tenant = Tenant.founder(cloud);
    const guests = await tenant.launch(2, { userData: 'true' });
    await Promise.all(guests.map((guest) => untilInside(guest, 'true')));
    return new World(cloud, tenant, guests);
  }

  close(): Promise<void> {
    return this.tenant.close();
  }
}

export function seedVolumes({ manager, start }: SeedOptions<Hosts>): void {
  const world = worldOf(start, (cloud) => World.enter(cloud));
  describe(`a volume and guests of two hosts, by ${manager}`, () => story(world));
  describe(`a guest that writes, by ${manager}`, () => kills(world));
}

function story(world: () => World): void {
  it('V3: it is made, attached to a running guest, and written', async () => {
    const { first, second } = world();
    expect([first.host.name, second.host.name]).toEqual(['h1', 'h2']);
    world().volume = await world().desk.create({ Size: 1 });
    const disk = await world().desk.attach(world().volume, first);
    await inside(first, `mke2fs -F /dev/${disk} > /dev/null 2>&1 && ${mount(disk)}`, 60_000);
    const fill = 'dd if=/dev/urandom of=/mnt/kept bs=64k count=64 2> /dev/null; echo here > /mnt/proof; sync; sha256sum < /mnt/kept';
    world().sum = await inside(first, fill, 60_000);
    const servers = await Promise.all(world().cloud.hosts.map(async (host) => ({ host, ids: await host.servers('tgtd') })));
    tell(`the guest is on ${first.host.name}, its volume on ${servers.filter(({ ids }) => ids.length > 0).map(({ host }) => host.name).join()}`);
  }, slowMs);

  it('E21: it is snapshotted while it is mounted, and written anew', async () => {
    world().snapshot = await world().desk.snapshot(world().volume);
    expect(await inside(world().first, 'echo later > /mnt/proof && sync && cat /mnt/proof')).toBe('later');
  }, slowMs);

  it('E20: it grows under the guest, and the file system with it', async () => {
    const { first } = world();
    await world().desk.grow(world().volume, 2);
    const disk = await world().desk.diskIn(first, world().volume);
    expect(await world().desk.gibibytesOf(first, disk)).toBe(2);
    await inside(first, `resize2fs /dev/${disk} > /run/resize 2>&1`, 60_000);
    const kibibytes = Number(await inside(first, "df -k /mnt | awk 'NR == 2 { print $2 }'"));
    expect(kibibytes).toBeGreaterThan(1.8 * 2 ** 20);
  }, slowMs);

  it('V4: it is moved to a guest of the other host, and reads the same there', async () => {
    const { first, second } = world();
    await inside(first, 'umount /mnt');
    await world().desk.detach(world().volume);
    const disk = await world().desk.attach(world().volume, second);
    expect(await inside(second, `${mount(disk)} && cat /mnt/proof && sha256sum < /mnt/kept`)).toBe(`later\n${world().sum}`);
  }, slowMs);

  it('V10: it is restored from the snapshot, beside itself, as it was at that moment', async () => {
    world().restored = await world().desk.create({ SnapshotId: world().snapshot });
    await showsRestored(world());
  }, slowMs);
}

/** Attached to the second guest, read, and taken off it: what only a whole cloud can do. */
async function showsRestored({ desk, second, restored, sum }: World): Promise<void> {
  const disk = await desk.attach(restored, second, '/dev/sdg');
  expect(await inside(second, `${mount(disk, '/run/restored')} && cat /run/restored/proof && sha256sum < /run/restored/kept; umount /run/restored`))
    .toBe(`here\n${sum}`);
  await desk.detach(restored);
}

const progress = async (guest: SeedGuest): Promise<number> => Number(await inside(guest, 'cat /run/progress'));

function kills(world: () => World): void {
  const everywhere = (kill: (host: Host) => Promise<void>) => Promise.all(world().cloud.hosts.map(kill));
  const restart = async (name: RoleName, between: () => Promise<unknown> = async () => undefined): Promise<void> => {
    await everywhere(async ({ roles }) => roles.get(name)?.kill9());
    await between();
    await everywhere(async ({ roles }) => roles.get(name)?.start());
  };
  /** Two seconds of writing, within a minute of the kill. */
  const writesOn = async (what: string, kill: () => Promise<unknown>): Promise<void> => {
    const { second } = world();
    const startedAt = performance.now();
    await kill();
    const backMs = Math.round(performance.now() - startedAt);
    const before = await waitFor(`the guest answers after the kill of ${what}`, { timeoutMs: 60_000 }, () => progress(second));
    await waitUntil(`it writes on after the kill of ${what}`, { timeoutMs: 60_000 - backMs }, async () => (await progress(second)) >= before + 20);
    expect(await world().desk.stateOf(world().volume)).toBe('in-use attached');
    tell(`kill of ${what}: back after ${backMs} ms, twenty writes more ${Math.round(performance.now() - startedAt)} ms after the kill`);
  };

  it('begins', async () => {
    const { second } = world();
    await inside(second, `echo '${writing}' > /run/writer; setsid sh /run/writer > /run/said 2>&1 < /dev/null &`);
    await waitUntil('it writes', { timeoutMs: 20_000 }, async () => (await progress(second)) > 5);
  }, slowMs);

  it.each<RoleName>(['volume', 'compute'])('V5: goes on when every %s is killed, and volumes come and go as before', async (name) => {
    await writesOn(name, () => restart(name));
    await showsRestored(world());
  }, slowMs);

  it('V5: goes on when every tgtd is killed', () => writesOn('tgtd', () => everywhere((host) => host.killServers('tgtd'))), slowMs);

  it('V5: goes on when every tgtd is killed while no volume role is there to see it', () =>
    writesOn('volume and tgtd', () => restart('volume', () => everywhere((host) => host.killServers('tgtd')))), slowMs);

  it.each<RoleName>(['objectstore', 'scheduler', 'api', 'network'])('goes on when every %s is killed', (name) =>
    writesOn(name, () => restart(name)), slowMs);

  it('goes on when every dnsmasq and every libvirtd is killed', () => writesOn('dnsmasq and libvirtd', async () => {
    await everywhere((host) => host.killServers('dnsmasq'));
    await everywhere(({ machine }) => machine.killLibvirtd());
    await everywhere(({ machine }) => machine.startLibvirtd());
  }), slowMs);

  it('V5: has lost nothing of what was on the disk, and never heard of it; another guest reads it so', async () => {
    const { first, second } = world();
    await inside(second, 'touch /run/enough');
    await waitUntil('it has ended', { timeoutMs: 20_000 }, async () => (await inside(second, "ps | grep -c '[s]h /run/writer' || true")) === '0');
    const count = await progress(second);
    expect(await inside(second, 'cat /run/said; dmesg | grep -iE "I/O error|EXT4-fs (error|warning)" || true')).toBe('');
    await inside(second, 'umount /mnt');
    await world().desk.detach(world().volume);
    const disk = await world().desk.attach(world().volume, first);
    const read = `${mount(disk)} && seq 1 ${count} | cmp - /mnt/log && sha256sum < /mnt/kept`;
    expect(await inside(first, read)).toBe(world().sum);
    await inside(first, 'umount /mnt');
    tell(`${count} writes, each on the disk before the next`);
  }, slowMs);

  it('V4: ends, and its volumes are free; with them nothing is served any more', async () => {
    await world().tenant.terminate([world().first, world().second]);
    await world().desk.untilState(world().volume, 'available');
    for (const id of [world().volume, world().restored]) await world().desk.remove(id);
    await world().tenant.ec2('delete_snapshot', { SnapshotId: world().snapshot });
    for (const host of world().cloud.hosts) expect(await host.servers('tgtd')).toEqual([]);
  }, slowMs);
}
