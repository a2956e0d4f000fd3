// The rows C1 to C8 of the done table: where instances are put, and what happens when they fit nowhere.
import { eq, sql } from 'drizzle-orm';
import { afterEach, describe, expect, it } from 'vitest';
import { settleUnplaced, type SchedulerDeps } from '../../src/actors/scheduler/place-instances.ts';
import { policies } from '../../src/actors/scheduler/policies/index.ts';
import { reportHost } from '../../src/db/hosts.ts';
import { hosts, instances, operations, outbox } from '../../src/db/schema/all.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createDirectoryBoard, createLocalDirectory, type LocalDirectory } from '../../src/transport/local-directory.ts';
import { allOperations, createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';
import { eventually } from '../support/waiting.ts';

let cloud: SimCloud;
afterEach(() => cloud.close());

/** The rows of a cloud, and a scheduler's decisions upon them; no host acts. */
async function decisions(changes: Partial<SchedulerDeps> = {}): Promise<{ deps: SchedulerDeps; directory: LocalDirectory }> {
  cloud = await createSimCloud({ hosts: [], start: false });
  // Heard of all the while, however slow the machine is.
  const directory = createLocalDirectory({ clock, board: createDirectoryBoard({ clock }), leaseMs: 3_600_000 });
  const relay = { kick: () => undefined, accepts: () => true };
  return {
    directory,
    deps: {
      db: cloud.database.db, directory, relay, clock, log: silentLog, policy: policies.simple, overcommit: { cores: 1, memory: 1, disk: 1 },
      random: Math.random, placementsMax: 3, ...changes,
    },
  };
}

async function addHost(directory: LocalDirectory, name: string, changes: Partial<typeof hosts.$inferInsert> = {}): Promise<void> {
  const { db } = cloud.database;
  await reportHost(db, { name, zone: 'nova', hypervisor: 'sim', cores: 8, memoryMiB: 8_192, diskGiB: 100, bootId: 'b' }, clock.date());
  if (Object.keys(changes).length > 0) await db.update(hosts).set(changes).where(eq(hosts.name, name));
  await directory.announce({ role: 'compute', host: name, process: name, epoch: 1, version: '' });
}

async function placesOf(ids: readonly string[]): Promise<(string | null | undefined)[]> {
  return Promise.all(ids.map(async (id) => (await stateOf(cloud, id))?.host));
}

describe('placement', () => {
  it('C1: chance draws only hosts that are up and enabled, each about as often', async () => {
    let seed = 7;
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const { deps, directory } = await decisions({ policy: policies.chance, random });
    for (const name of ['a', 'b', 'c']) await addHost(directory, name, { cores: 2_000, memoryMiB: 2_000_000, diskGiB: 5_000 });
    await addHost(directory, 'down', { cores: 2_000, memoryMiB: 2_000_000, diskGiB: 5_000, downSince: clock.date() });
    await addHost(directory, 'disabled', { cores: 2_000, memoryMiB: 2_000_000, diskGiB: 5_000, enabled: false });
    const large = { cores: 2_000, memoryMiB: 2_000_000, diskGiB: 5_000 };
    await reportHost(deps.db, { name: 'silent', zone: 'nova', hypervisor: 'sim', ...large, bootId: 'b' }, clock.date());
    const drawn = new Map<string, number>();
    for (let round = 0; round < 20; round += 1) {
      const ids = await cloud.launch(50);
      await settleUnplaced(deps, ids);
      for (const host of await placesOf(ids)) drawn.set(host ?? 'none', (drawn.get(host ?? 'none') ?? 0) + 1);
    }
    expect([...drawn.keys()].toSorted()).toEqual(['a', 'b', 'c']);
    for (const count of drawn.values()) expect(count).toBeGreaterThan(280);
  }, 90_000);

  it('C2: simple takes the least used host that has room, and respects cores, memory and disk', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'busy', { claimedCores: 3 });
    await addHost(directory, 'idle');
    await addHost(directory, 'fullMemory', { claimedMemoryMiB: 8_192 });
    await addHost(directory, 'fullDisk', { claimedDiskGiB: 100 });
    const ids = await cloud.launch(5);
    await settleUnplaced(deps, ids);
    expect((await placesOf(ids)).toSorted()).toEqual(['busy', 'idle', 'idle', 'idle', 'idle']);
    const [idle] = await deps.db.select().from(hosts).where(eq(hosts.name, 'idle'));
    expect(idle).toMatchObject({ claimedCores: 4, claimedMemoryMiB: 2_048, claimedDiskGiB: 4 });
  });

  it('C2: zone:host puts an instance there or nowhere', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'idle');
    await addHost(directory, 'asked', { claimedCores: 7 });
    const ids = await cloud.launch(2);
    await deps.db.update(operations).set({ input: { host: 'asked' } });
    await settleUnplaced(deps, ids);
    expect((await placesOf(ids)).toSorted()).toEqual(['asked', null]);
    const refused = (await Promise.all(ids.map((id) => stateOf(cloud, id)))).find((row) => row?.host === null);
    expect(refused).toMatchObject({ state: 'terminated', stateReasonCode: 'Server.InsufficientInstanceCapacity' });
    expect(refused?.stateReasonMessage).toContain('asked');
  });

  it('C3: only hosts of the named zone are taken', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'here');
    await addHost(directory, 'there', { zone: 'other', claimedCores: 5 });
    const ids = await cloud.launch(3, { zone: 'other' });
    await settleUnplaced(deps, ids);
    expect(await placesOf(ids)).toEqual(['there', 'there', 'there']);
  });

  it('C6: without a host that is up an instance ends at once, with its reason and without a claim', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'down', { downSince: clock.date() });
    await addHost(directory, 'disabled', { enabled: false });
    const [id = ''] = await cloud.launch(1);
    await settleUnplaced(deps, [id]);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'terminated', stateReasonCode: 'Server.InsufficientInstanceCapacity', host: null });
    expect(await deps.db.select({ claimed: hosts.claimedCores }).from(hosts)).toEqual([{ claimed: 0 }, { claimed: 0 }]);
    expect((await allOperations(cloud)).map(({ state }) => state)).toEqual(['failed']);
  });

  it('a host that is silent for a moment keeps what it is given, but only when no other has room', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'heard', { claimedCores: 7 });
    await reportHost(deps.db, { name: 'restarting', zone: 'nova', hypervisor: 'sim', cores: 8, memoryMiB: 8_192, diskGiB: 100, bootId: 'b' }, clock.date());
    const ids = await cloud.launch(2);
    await settleUnplaced(deps, ids);
    expect((await placesOf(ids)).toSorted()).toEqual(['heard', 'restarting']);
  });

  it('places by the database alone while the directory is away', async () => {
    const board = createDirectoryBoard({ clock });
    const away = createLocalDirectory({ clock, board });
    const { deps } = await decisions({ directory: away });
    await addHost(away, 'a');
    board.setAway(true);
    const ids = await cloud.launch(1);
    await settleUnplaced(deps, ids);
    expect(await placesOf(ids)).toEqual(['a']);
  });

  it('tells each host of its instance in the transaction that places it', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'a');
    const ids = await cloud.launch(2);
    await deps.db.delete(outbox);
    await settleUnplaced(deps, ids);
    await settleUnplaced(deps, ids);
    const letters = await deps.db.select().from(outbox);
    expect(letters.map(({ mailbox }) => mailbox)).toEqual(['compute@a', 'compute@a']);
    expect((await allOperations(cloud)).map(({ owner }) => owner)).toEqual(['compute@a', 'compute@a']);
    expect((await Promise.all(ids.map((id) => stateOf(cloud, id)))).map((row) => row?.fence)).toEqual([1, 1]);
  });

  it('C5: fifty parallel launches of two schedulers never exceed a host', async () => {
    const { deps, directory } = await decisions();
    await addHost(directory, 'a', { cores: 4 });
    await addHost(directory, 'b', { memoryMiB: 512 * 5 });
    await addHost(directory, 'c', { diskGiB: 3 });
    const ids = await cloud.launch(50);
    const halves = ids.map((id) => [id]);
    await Promise.all([settleUnplaced(deps, ids), ...halves.map((one) => settleUnplaced(deps, one))]);
    const columns = { name: hosts.name, c: hosts.claimedCores, m: hosts.claimedMemoryMiB, d: hosts.claimedDiskGiB };
    expect(await deps.db.select(columns).from(hosts).orderBy(hosts.name))
      .toEqual([{ name: 'a', c: 4, m: 2_048, d: 4 }, { name: 'b', c: 5, m: 2_560, d: 5 }, { name: 'c', c: 3, m: 1_536, d: 3 }]);
    const placed = (await placesOf(ids)).filter((host) => host !== null);
    expect(placed.length).toBe(12);
    const ended = await deps.db.select({ state: instances.state }).from(instances).where(eq(instances.state, 'terminated'));
    expect(ended.length).toBe(38);
  });

  it('looks at a few hosts only, however many there are', async () => {
    const { deps } = await decisions();
    const count = 10_000;
    await deps.db.execute(sql`insert into hosts (name, zone, hypervisor, cores, memory_mib, disk_gib, boot_id, updated_at, claimed_cores)
      select 'h' || n, 'nova', 'sim', 8, 65536, 1000, 'b', now(), n % 5 from generate_series(1, ${count}::int) as n`);
    await deps.db.execute(sql`analyze hosts`);
    for (const page of ['order by claimed_cores, claimed_memory_mib, name limit 16', 'and lot >= 0.5 order by lot limit 16']) {
      const plan = await deps.db.execute(sql.raw(`explain analyze select name from hosts where enabled and down_since is null and zone = 'nova'
        and claimed_cores + 1 <= floor(cores * 1.0) ${page}`));
      const text = JSON.stringify(plan); // PGlite and postgres.js answer differently
      expect(text).toMatch(/Index Scan.*hosts_by_l|Index Scan using hosts_by_l/);
      expect(text).not.toContain('Seq Scan');
    }
    const ids = await cloud.launch(20);
    await settleUnplaced(deps, ids);
    expect(new Set(await placesOf(ids)).size).toBe(20);
  });
});

describe('a whole cloud', () => {
  it('C7: what fails on one host runs on another, and leaves nothing behind', async () => {
    cloud = await createSimCloud({ hosts: ['bad', 'good'], sim: (host) => (host === 'bad' ? { failSpawnOn: () => 'libvirt is broken' } : {}) });
    const ids = await cloud.launch(2);
    await eventually(async () => (await Promise.all(ids.map((id) => stateOf(cloud, id)))).every((row) => row?.state === 'running'));
    expect(await placesOf(ids)).toEqual(['good', 'good']);
    const bad = cloud.hosts.find(({ name }) => name === 'bad');
    expect(await bad?.compute.hypervisor.list('spec')).toEqual([]);
    const [row] = await cloud.database.db.select().from(hosts).where(eq(hosts.name, 'bad'));
    expect(row).toMatchObject({ claimedCores: 0, claimedMemoryMiB: 0, claimedDiskGiB: 0 });
  });
});
