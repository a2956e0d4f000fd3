// What `novact manage network` does.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { claimAddress } from '../../../src/db/networks.ts';
import { networkCommands } from '../../../src/roles/manage/networks.ts';
import type { ManageDeps } from '../../../src/roles/manage/deps.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addInstance, cloudRows, type CloudRows } from '../../support/instance-rows.ts';

let database: TestDatabase;
let cloud: CloudRows;
const now = new Date('2026-01-02T03:04:05Z');
const vxlan = { networkManager: 'vxlan', projectRange: '172.31.0.0/24', vxlanRange: '7000-7001', mtu: 1500 };

beforeAll(async () => {
  database = await createTestDatabase();
  cloud = await cloudRows(database.db, { cidr: '10.45.0.0/28', gateway: '10.45.0.1' });
});
afterAll(() => database.close());

async function manage(verb: string, args: object = {}, settings: object = vxlan): Promise<unknown> {
  const command = networkCommands.find((each) => each.verb === verb);
  if (command === undefined) throw new Error(`no command ${verb}`);
  const deps = { db: database.db, clock: { date: () => now }, settings } as unknown as ManageDeps;
  return command.run(deps, command.args.parse(args));
}

it('N1: a network of a project is made, listed with what is taken of it, and deleted when no instance is on it', async () => {
  const said = await manage('create', { project: 'project', cidr: '10.9.0.0/28' });
  expect(said).toMatch(/^net-\w+: 10\.9\.0\.0\/28, vxlan 7000$/);
  const networkId = String(said).split(':')[0] ?? '';
  await addInstance(database.db, cloud, { id: 'i-1', mac: '02:16:3e:00:00:01', networkId });
  await claimAddress(database.db, { networkId, instanceId: 'i-1', now });
  expect(await manage('list')).toEqual([
    expect.objectContaining({ project: '(all)', cidr: '10.45.0.0/28', segment: '-', addresses: '0/13' }),
    expect.objectContaining({ id: networkId, project: 'project', cidr: '10.9.0.0/28', segment: 7000, addresses: '1/11' }),
  ]);
  await expect(manage('delete', { network: networkId })).rejects.toThrow(`1 instances are on ${networkId}`);
  await database.db.execute("update instances set state = 'terminated'");
  await expect(manage('delete', { network: networkId })).rejects.toThrow(`1 instances are on ${networkId}`);
  await database.db.execute('update fixed_addresses set instance_id = null');
  expect(await manage('delete', { network: networkId })).toBe(`${networkId} is gone`);
  expect(await manage('list')).toHaveLength(1);
});

it('N1: what cannot be made or taken away is refused with a reason', async () => {
  await expect(manage('create', { project: 'project', cidr: '10.9.0.1/28' })).rejects.toThrow('its first address is 10.9.0.0');
  await expect(manage('create', { project: 'nobody' })).rejects.toThrow('there is no project nobody');
  await expect(manage('create', { project: 'project' }, { ...vxlan, networkManager: 'flat-dhcp' })).rejects.toThrow('all projects share one network');
  await expect(manage('create', { project: 'project' }, { ...vxlan, vxlanRange: '7000-6999' })).rejects.toThrow('all numbers from 7000 to 6999 are taken');
  await expect(manage('delete', { network: cloud.network.id })).rejects.toThrow('all projects share');
  await expect(manage('delete', { network: 'net-0' })).rejects.toThrow('there is no network net-0');
  await manage('create', { project: cloud.projectId });
  await expect(manage('create', { project: 'project' })).rejects.toThrow('has the network');
});
