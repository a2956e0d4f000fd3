// What a DescribeInstances of 1000 instances costs: the wire alone (filter, page, XML), then the whole request over a database.
// Run it with `npx tsx spec/bench/describe-instances.ts`.
import { randomBytes } from 'node:crypto';
import { describe } from '../../src/api/ec2/describe.ts';
import { findOperation } from '../../src/api/ec2/model.ts';
import { writeResponse } from '../../src/api/ec2/xml.ts';
import { instances, instanceSecurityGroups, reservations, securityGroups, tags } from '../../src/db/schema/all.ts';
import { newId, newMac } from '../../src/lib/ids.ts';
import { createEc2World, type Ec2World } from '../support/ec2-world.ts';
import { randomStructure, seeded } from '../support/random-values.ts';

const count = 1000;
const rounds = 9;

async function median(work: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now();
    await work();
    times.push(performance.now() - startedAt);
  }
  return times.toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
}

async function fill(world: Ec2World): Promise<void> {
  const now = new Date();
  const { projectId, userId } = world.ann;
  const groupId = newId('sg');
  await world.db.insert(securityGroups).values({ id: groupId, projectId, name: 'default', description: 'd', createdAt: now });
  const ids = Array.from({ length: count }, () => newId('i'));
  const reservationIds = ids.map(() => newId('r'));
  await world.db.insert(reservations).values(
    reservationIds.map((id) => ({ id, projectId, userId, requestDigest: randomBytes(8).toString('hex'), createdAt: now })),
  );
  for (let start = 0; start < count; start += 250) {
    await world.db.insert(instances).values(ids.slice(start, start + 250).map((id, index) => ({
      id, reservationId: reservationIds[start + index] ?? '', projectId, userId, launchIndex: 0, imageId: 'ami-0ffffffffffffff01',
      instanceType: 'm1.tiny', cores: 1, memoryMiB: 512,
      rootGiB: 0, architecture: 'x86_64', rootDeviceName: '/dev/vda', state: 'running' as const,
      stateChangedAt: now, zone: 'nova', host: 'host1', mac: newMac(), launchedAt: now,
    })));
    await world.db.insert(instanceSecurityGroups).values(ids.slice(start, start + 250).map((instanceId) => ({ instanceId, groupId })));
    await world.db.insert(tags).values(
      ids.slice(start, start + 250).map((resourceId, index) => ({ resourceId, projectId, key: 'Name', value: `n${start + index}`, resourceType: 'instance' })),
    );
  }
}

const operation = findOperation('DescribeInstances');
if (operation?.output === undefined) throw new Error('the model has no DescribeInstances');
const output = operation.output;
const random = seeded(1);
const typical = (randomStructure(output, random)['Reservations'] as unknown[])[0];
const big = { Reservations: Array.from({ length: count / 2 }, () => typical) };
const write = () => writeResponse(operation, big, { requestId: 'r', version: '2016-11-15' });
const report = (what: string, ms: number) => console.log(`${what}: ${ms.toFixed(1)} ms`);
const megabytes = (text: string) => `${(text.length / 1e6).toFixed(1)} MB`;
report(`XML alone, every modelled member filled, ${megabytes(write())}`, await median(write));
const items = Array.from({ length: count }, () => ({ id: newId('i'), state: 'running', tags: [{ Key: 'Name', Value: 'n' }] }));
const filtered = () => describe({
  input: { Filters: [{ Name: 'state', Values: ['run*'] }, { Name: 'tag:Name', Values: ['n'] }], MaxResults: 1000 },
  items, id: (item) => item.id, filters: { state: (item) => item.state }, tags: (item) => item.tags, page: { min: 5, max: 1000 },
});
report(`filters and page of ${count}`, await median(filtered));
const world = await createEc2World();
await fill(world);
const answer = await world.call('Action=DescribeInstances');
if (answer.status !== 200) throw new Error(answer.body);
const [, firstId = ''] = /<instanceId>([^<]+)/.exec(answer.body) ?? [];
report(`the whole request, ${count} instances, ${megabytes(answer.body)}, database included`, await median(() => world.call('Action=DescribeInstances')));
report('one of them by id', await median(() => world.call(`Action=DescribeInstances&InstanceId.1=${firstId}`)));
await world.close();
