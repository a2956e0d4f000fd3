// E11: zones as they truly are, Nova's verbose form for administrators, and placing on one host (C2, zone:host).
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { reportHost, takeEpoch } from '../../src/db/hosts.ts';
import { hosts, images, operations } from '../../src/db/schema/all.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';

let world: Ec2World;
const imageId = newId('ami');
const downSince = new Date('2026-01-02T03:04:05.000Z');
const texts = (xml: string, tag: string) => [...xml.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map((match) => match[1]);
const silent = 'X'.repeat(3);
const admin = () => ({ ...world.ann, isAdmin: true, isSuperuser: true });

beforeAll(async () => {
  world = await createEc2World();
  const { db, directory } = world;
  const now = systemClock.date();
  const host = { hypervisor: 'sim', cores: 8, memoryMiB: 8_192, diskGiB: 100, bootId: 'b' };
  await reportHost(db, { ...host, name: 'lost', zone: 'attic' }, now);
  await db.update(hosts).set({ downSince }).where(eq(hosts.name, 'lost'));
  await reportHost(db, { ...host, name: 'host2', zone: 'nova' }, now);
  await db.update(hosts).set({ enabled: false }).where(eq(hosts.name, 'host2'));
  for (const [name, role] of [['host1', 'compute'], ['host1', 'network'], ['lost', 'compute'], ['host2', 'compute']] as const) {
    await takeEpoch(db, { host: name, role }, now);
  }
  for (const name of ['host1', 'host2']) await directory.announce({ role: 'compute', host: name, process: name, epoch: 1, version: '' });
  await db.insert(images).values({
    id: imageId, projectId: world.ann.projectId, name: 'an image', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available',
    rootDeviceName: '/dev/vda', virtualizationType: 'hvm', format: 'raw', sizeBytes: 1_000, virtualSizeBytes: 1_000, sha256: '00', blobId: 'blob',
    createdAt: now, stateChangedAt: now,
  });
});
afterAll(() => world.close());

it('E11: a zone whose hosts are all down is unavailable, with the reason', async () => {
  const { body } = await world.call('Action=DescribeAvailabilityZones&ZoneName.1=attic');
  expect(texts(body, 'zoneState')).toEqual(['unavailable']);
  expect(texts(body, 'message')).toEqual(['No host that is enabled and up is in this zone.']);
});

it('E11: the verbose form shows administrators hosts and services, the down and the silent ones too', async () => {
  const { body } = await world.call('Action=DescribeAvailabilityZones&ZoneName.1=verbose', admin());
  const lines = body.split('</item>').flatMap((item) => (
    texts(item, 'zoneName').map((name) => `${name} ${texts(item, 'zoneState')[0]?.replace(/ 20.*/, '') ?? ''}`.trim())
  ));
  expect(lines).toEqual([
    'nova available',
    '|- host1', '| |- compute enabled :-)', `| |- network enabled ${silent}`,
    '|- host2', '| |- compute disabled :-)',
    'attic unavailable',
    '|- lost', `| |- compute enabled ${silent}`,
  ]);
  expect(body).toContain(downSince.toISOString());
});

it('E11: the verbose form is for administrators alone', async () => {
  expect((await world.call('Action=DescribeAvailabilityZones&ZoneName.1=verbose')).record.code).toBe('InvalidParameterValue');
});

it('C2: an administrator may name the host, others may not, and the host must be in the zone', async () => {
  const run = `Action=RunInstances&ImageId=${imageId}&MinCount=1&MaxCount=1&Placement.AvailabilityZone=`;
  expect((await world.call(`${run}nova:host2`, admin())).record.code).toBeUndefined();
  const [operation] = await world.db.select().from(operations);
  expect(operation?.input).toEqual({ host: 'host2' });
  expect((await world.call(`${run}:host2`, admin())).record.code).toBeUndefined();
  expect((await world.call(`${run}attic:host2`, admin())).record.code).toBe('InvalidParameterValue');
  expect((await world.call(`${run}nova:host9`, admin())).record.code).toBe('InvalidParameterValue');
  expect((await world.call(`${run}nova:host2`)).record.code).toBe('InvalidParameterValue');
});
