// What becomes in the database of launches that a host had in hand when it was lost (C7). With whole hosts: host-life.spec.ts.
import { afterEach, describe, expect, it } from 'vitest';
import { loseHost } from '../../src/db/host-life.ts';
import { settle } from '../../src/db/instance-work.ts';
import { instances, operations } from '../../src/db/schema/all.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { allOperations, createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud;
afterEach(() => cloud.close());

const lose = async (host: string) => loseHost(cloud.database.db, { host, since: clock.date() }, clock.date());

describe('a launch in the hands of a lost host', () => {
  it('a report that a lost host has in hand does not meet the row while nobody has it', async () => {
    cloud = await createSimCloud({ hosts: ['h1'], start: false });
    const { db } = cloud.database;
    const [id = ''] = await cloud.launch(1);
    await db.update(instances).set({ host: 'h1', fence: 1 });
    await db.update(operations).set({ owner: 'compute@h1' });
    const before = await stateOf(cloud, id);
    expect(await lose('h1')).toEqual({ stopped: 0, handedBack: 1, ended: 0 });
    if (before === undefined) throw new Error('no row');
    expect(await settle(db, before, ['pending', 'running'], { state: 'running', reasonCode: null, reason: null }, clock.date())).toBe(false);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'pending', host: null, failedHosts: ['h1'] });
    expect((await allOperations(cloud)).map(({ owner, state }) => ({ owner, state }))).toEqual([{ owner: 'scheduler', state: 'waiting' }]);
  });

  it('a launch whose guest may have booted there is lost like one that ran: it must not run twice', async () => {
    cloud = await createSimCloud({ hosts: ['h1'], start: false });
    const { db } = cloud.database;
    const [id = ''] = await cloud.launch(1);
    await db.update(instances).set({ host: 'h1', fence: 1 });
    await db.update(operations).set({ owner: 'compute@h1', state: 'running', steps: [{ name: 'domain', state: 'done' }, { name: 'start', state: 'doing' }] });
    expect(await lose('h1')).toEqual({ stopped: 1, handedBack: 0, ended: 0 });
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'stopped', host: 'h1', hostLost: true, stateReasonCode: 'Server.HostUnavailable' });
    expect((await allOperations(cloud)).map(({ state }) => state)).toEqual(['failed']);
  });
});
