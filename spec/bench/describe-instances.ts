// How long DescribeInstances takes with a thousand instances, from parsed request to written XML, on PGlite in this process:
// `npm run bench -- describe-instances`.
import { instances, instanceSecurityGroups, reservations } from '../../src/db/schema/all.ts';
import { ensureDefaultGroup } from '../../src/db/security-groups.ts';
import { newId, newMac } from '../../src/lib/ids.ts';
import { createEc2Lab } from '../support/ec2.ts';
import { median, type BenchRow } from './row.ts';

const count = 1000;
const rounds = 20;

type Lab = Awaited<ReturnType<typeof createEc2Lab>>;

/** Returns the id of one of them. */
async function fill(lab: Lab): Promise<string> {
  const now = new Date();
  const { projectId, userId } = lab.ann;
  const imageId = await lab.addImage();
  const group = await ensureDefaultGroup(lab.db, projectId, now);
  const rows = Array.from({ length: count }, (_, index) => ({
    id: newId('i'), reservationId: newId('r'), projectId, userId, launchIndex: 0, imageId, instanceType: 'm1.tiny', cores: 1, memoryMiB: 512, rootGiB: 0,
    architecture: 'x86_64', rootDeviceName: '/dev/vda', state: index % 2 === 0 ? 'running' as const : 'stopped' as const, stateChangedAt: now,
    zone: 'nova', host: 'host1', mac: `${newMac()}:${index}`, launchedAt: now,
  }));
  for (let start = 0; start < count; start += 500) {
    const part = rows.slice(start, start + 500);
    await lab.db.insert(reservations).values(part.map((row) => ({ id: row.reservationId, projectId, userId, requestDigest: 'x', createdAt: now })));
    await lab.db.insert(instances).values(part);
    await lab.db.insert(instanceSecurityGroups).values(part.map((row) => ({ instanceId: row.id, groupId: group.id })));
  }
  return rows[0]?.id ?? '';
}

async function measure(lab: Lab, name: string, query: string): Promise<BenchRow> {
  const times: number[] = [];
  let size = 0;
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now();
    const answer = await lab.call(`Action=DescribeInstances&Version=2016-11-15${query}`);
    times.push(performance.now() - startedAt);
    if (answer.status !== 200) throw new Error(answer.body);
    size = answer.body.length;
  }
  return { name: `${name} (${(size / 1024).toFixed(0)} KiB)`, value: median(times), unit: 'ms' };
}

export async function run(): Promise<readonly BenchRow[]> {
  const lab = await createEc2Lab();
  try {
    const oneId = await fill(lab);
    return [
      await measure(lab, `all ${count}`, ''),
      await measure(lab, 'running ones', '&Filter.1.Name=instance-state-name&Filter.1.Value.1=running'),
      await measure(lab, 'a page of 50', '&MaxResults=50'),
      await measure(lab, 'one by id', `&InstanceId.1=${oneId}`),
    ];
  } finally {
    await lab.close();
  }
}
