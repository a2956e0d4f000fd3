// How long DescribeInstances takes with a thousand instances, from parsed request to written XML: `npx tsx spec/bench/describe-instances.ts`.
import { instances, instanceSecurityGroups, reservations } from '../../src/db/schema/all.ts';
import { ensureDefaultGroup } from '../../src/db/security-groups.ts';
import { newId, newMac } from '../../src/lib/ids.ts';
import { createEc2Lab } from '../support/ec2.ts';

const count = 1000;
const rounds = 20;
const lab = await createEc2Lab();
const now = new Date();
const { projectId, userId } = lab.ann;
const imageId = await lab.addImage();
const group = await ensureDefaultGroup(lab.db, projectId, now);
const rows = Array.from({ length: count }, (_, index) => ({
  id: newId('i'), reservationId: newId('r'), projectId, userId, launchIndex: 0, imageId, instanceType: 'm1.tiny', cores: 1, memoryMiB: 512, rootGiB: 0,
    architecture: 'x86_64',
  rootDeviceName: '/dev/vda', state: index % 2 === 0 ? 'running' as const : 'stopped' as const, stateChangedAt: now, zone: 'nova', host: 'host1',
    mac: `${newMac()}:${index}`, launchedAt: now,
}));
for (let start = 0; start < count; start += 500) {
  const part = rows.slice(start, start + 500);
  await lab.db.insert(reservations).values(part.map((row) => ({ id: row.reservationId, projectId, userId, requestDigest: 'x', createdAt: now })));
  await lab.db.insert(instances).values(part);
  await lab.db.insert(instanceSecurityGroups).values(part.map((row) => ({ instanceId: row.id, groupId: group.id })));
}

async function measure(name: string, query: string): Promise<void> {
  const times: number[] = [];
  let size = 0;
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now();
    const answer = await lab.call(`Action=DescribeInstances&Version=2016-11-15${query}`);
    times.push(performance.now() - startedAt);
    if (answer.status !== 200) throw new Error(answer.body);
    size = answer.body.length;
  }
  const sorted = times.toSorted((a, b) => a - b);
  console.log(`${name}: median ${sorted[rounds / 2]?.toFixed(1)} ms, slowest ${sorted.at(-1)?.toFixed(1)} ms, ${(size / 1024).toFixed(0)} KiB`);
}

await measure(`all ${count}`, '');
await measure('running ones', '&Filter.1.Name=instance-state-name&Filter.1.Value.1=running');
await measure('a page of 50', '&MaxResults=50');
await measure('one by id', `&InstanceId.1=${rows[0]?.id}`);
await lab.close();
