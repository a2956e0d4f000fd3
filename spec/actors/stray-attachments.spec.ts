// Volumes on their way to or from an instance whose host is lost, or whose wish has ended without them: none stays on its way.
import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostReturned, loseHost } from '../../src/db/host-life.ts';
import { loadInstance } from '../../src/db/instance-work.ts';
import { finishOperation, unfinishedOperations } from '../../src/db/operations.ts';
import { hosts, instances } from '../../src/db/schema/all.ts';
import { settleStray, strayAttachments } from '../../src/db/stray-attachments.ts';
import { reconcileInstances } from '../../src/actors/compute/reconcile-instances.ts';
import { volumeSerial } from '../../src/lib/ids.ts';
import { waitFor } from '../support/patience.ts';
import { createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';
import { attachmentFor, untilAttached, untilVolume, volumeOf, wishAttach, wishDetach, wishVolume } from '../support/volume-wishes.ts';

let cloud: SimCloud;
/** What the guests of this spec do when they are asked for a disk. */
let holdsDisk = false;
beforeEach(async () => {
  holdsDisk = false;
  cloud = await createSimCloud({ hosts: ['h1', 'h2'], sim: () => ({ holdsDisk: () => holdsDisk }) });
});
afterEach(() => cloud.close());

interface Pair {
  readonly volumeId: string;
  readonly instanceId: string;
  readonly host: string;
}

async function attached(): Promise<Pair> {
  const volumeId = await wishVolume(cloud);
  await untilVolume(cloud, volumeId, 'available');
  const [instanceId = ''] = await cloud.launch(1);
  await waitFor('it runs', { timeoutMs: 20_000 }, async () => ((await stateOf(cloud, instanceId))?.state === 'running' ? true : undefined));
  const result = await wishAttach(cloud, volumeId, { instanceId, device: '/dev/sdf' });
  if ('refused' in result) throw new Error(result.refused);
  await untilAttached(cloud, volumeId);
  return { volumeId, instanceId, host: (await stateOf(cloud, instanceId))?.host ?? '' };
}

const { now, since } = { now: () => new Date(), since: new Date() };
const lose = (host: string) => loseHost(cloud.database.db, { host, since }, now());
const exportsOf = (volumeId: string) =>
  cloud.hosts.flatMap(({ volumes }) => [...volumes.exports.values()]).filter(({ spec }) => spec.volumeId === volumeId);
async function settleStrays(): Promise<number> {
  const strays = await strayAttachments(cloud.database.db);
  for (const stray of strays) expect(await settleStray(cloud.database.db, stray, now())).toBe(true);
  cloud.relay.kick();
  return strays.length;
}
const computeOf = (name: string) => cloud.hosts.find((host) => host.name === name)?.compute ?? (() => { throw new Error(`no host ${name}`); })();
const serials = async ({ instanceId, host }: Pair) => (await computeOf(host).hypervisor.disks(instanceId)).map(({ serial }) => serial);

describe('a host that is lost', () => {
  it('V5: while a guest was to give a volume back: it is taken back by its own host, and the guest has it no more when it is adopted', async () => {
    const pair = await attached();
    holdsDisk = true;
    await wishDetach(cloud, pair.volumeId);
    expect((await attachmentFor(cloud, pair.volumeId))?.state).toBe('detaching');
    await lose(pair.host);
    cloud.relay.kick();
    await untilVolume(cloud, pair.volumeId, 'available');
    expect((await volumeOf(cloud, pair.volumeId))?.stateReason).toMatch(/did not give it back: host h\d has not been heard of since/);
    expect(exportsOf(pair.volumeId)).toEqual([]);
    await hostReturned(cloud.database.db, pair.host, now());
    await reconcileInstances(computeOf(pair.host), { hostRestarted: false, purge: false });
    expect(await stateOf(cloud, pair.instanceId)).toMatchObject({ state: 'running', hostLost: false });
    expect(await serials(pair)).toEqual(['root']);
  }, 90_000);

  it('V5: with a volume attached: it is the instance\'s still, wherever that goes on', async () => {
    const pair = await attached();
    await lose(pair.host);
    expect(await settleStrays()).toBe(0);
    expect((await attachmentFor(cloud, pair.volumeId))?.state).toBe('attached');
    await hostReturned(cloud.database.db, pair.host, now());
    await reconcileInstances(computeOf(pair.host), { hostRestarted: false, purge: false });
    expect(await serials(pair)).toEqual(['root', volumeSerial(pair.volumeId)]);
  }, 90_000);

  it('before a volume is detached, or attached to what is stopped there: it is free after the next look', async () => {
    const pair = await attached();
    await lose(pair.host);
    await wishDetach(cloud, pair.volumeId);
    expect(await settleStrays()).toBe(1);
    await untilVolume(cloud, pair.volumeId, 'available');
    // A stopped one is not known to be lost: nothing of it was running.
    await cloud.database.db.update(instances).set({ hostLost: false }).where(eq(instances.id, pair.instanceId));
    const result = await wishAttach(cloud, pair.volumeId, { instanceId: pair.instanceId, device: '/dev/sdf' });
    if (!('refused' in result)) await settleStrays();
    await untilVolume(cloud, pair.volumeId, 'available');
    expect((await volumeOf(cloud, pair.volumeId))?.stateReason).toContain('it could not be attached: host');
    expect(await attachmentFor(cloud, pair.volumeId)).toBeUndefined();
  }, 90_000);
});

it('a detach whose wish has ended without it leaves the volume attached, as the guest has it', async () => {
  const pair = await attached();
  const { db } = cloud.database;
  holdsDisk = true;
  await wishDetach(cloud, pair.volumeId);
  expect(await strayAttachments(db)).toEqual([]);
  await waitFor('nothing is wished of it', { timeoutMs: 20_000 }, async () => {
    for (const { id } of await unfinishedOperations(db, pair.instanceId)) await finishOperation(db, id, { state: 'failed', error: 'lost' }, now());
    return (await unfinishedOperations(db, pair.instanceId)).length === 0 ? true : undefined;
  });
  expect(await settleStrays()).toBe(1);
  expect((await attachmentFor(cloud, pair.volumeId))?.state).toBe('attached');
  expect((await volumeOf(cloud, pair.volumeId))?.stateReason).toContain('it could not be detached');
  expect((await loadInstance(db, pair.instanceId))?.state).toBe('running');
  expect(await db.select().from(hosts).where(eq(hosts.name, pair.host))).toMatchObject([{ downSince: null }]);
}, 90_000);
