// What a project may have at most: the cloud's defaults, limits of its own, the use of them, and that of many requests at once none passes.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.ts';
import { surroundings } from '../../src/config/options.ts';
import { createFloating } from '../../src/db/address-pools.ts';
import { usageOf, type QuotaName } from '../../src/db/quotas.ts';
import { buckets, objects, volumes } from '../../src/db/schema/all.ts';
import { quotaCommands } from '../../src/roles/manage/quotas.ts';
import { createEc2Lab, items, type Ec2Lab, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
let image: string;
beforeAll(async () => {
  lab = await createEc2Lab();
  for (const [user, as] of [['ann', lab.ann], ['bob', lab.bob]] as const) {
    for (const role of ['netadmin', 'sysadmin']) {
      await lab.auth.addRole(user, role);
      await lab.auth.addRole(user, role, user);
    }
    Object.assign(as, await lab.auth.principalFor(user, user));
  }
});
beforeEach(async () => {
  await lab.clear();
  await createFloating(lab.db, { range: '192.0.2.0/24', pool: 'default' });
  image = await lab.addImage({ isPublic: true });
});
afterAll(() => lab.close());

const { settings } = loadSettings({ environment: {}, directory: '/nonexistent', around: surroundings() });

function manage(verb: string, args: object): Promise<unknown> {
  const command = quotaCommands.find((each) => each.verb === verb);
  if (command === undefined) throw new Error(`no command ${verb}`);
  return command.run({ db: lab.db, settings }, command.args.parse(args));
}

const limit = (name: QuotaName, to: number) => manage('set', { project: 'ann', name, limit: String(to) });
const volume = { AvailabilityZone: 'nova', Size: 1 };
const run = (params: Params = {}): [string, Params] => ['RunInstances', { ImageId: image, MinCount: 1, MaxCount: 1, InstanceType: 'm1.small', ...params }];

/** How often each code is the answer to fifty at once. */
async function fifty(wish: (number: number) => [string, Params]): Promise<Record<string, number>> {
  const codes = await Promise.all(Array.from({ length: 50 }, (_, number) => lab.codeOf(...wish(number))));
  return Object.fromEntries([...new Set(codes)].toSorted().map((code) => [code, codes.filter((each) => each === code).length]));
}

it('G3: of fifty at once as many pass as the project\'s own limit says, and the others get AWS\'s code', async () => {
  const group = String((await lab.ask('CreateSecurityGroup', { GroupName: 'full', GroupDescription: 'x' }))['groupId']);
  const rule = (number: number): [string, Params] =>
    ['AuthorizeSecurityGroupIngress', { GroupId: group, IpProtocol: 'tcp', FromPort: 1_000 + number, ToPort: 1_000 + number, CidrIp: '192.0.2.0/24' }];
  expect(await lab.codeOf(...rule(0))).toBe('ok');
  const source = String((await lab.ask('CreateVolume', volume))['volumeId']);
  await lab.db.update(volumes).set({ state: 'available', host: 'host1' }).where(eq(volumes.id, source));
  const key = await lab.ask('CreateKeyPair', { KeyName: 'first', KeyType: 'ed25519' });
  expect(key).toMatchObject({ keyName: 'first' });
  const publicKey = Buffer.from('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x').toString('base64');
  const now = new Date();
  await lab.db.insert(buckets).values({ name: 'anns', projectId: lab.ann.projectId, createdAt: now });
  await lab.db.insert(objects).values({ bucket: 'anns', key: 'disk.img', projectId: lab.ann.projectId, blobId: 'b', sizeBytes: 10, etag: 'e', headers: {},
    metadata: {}, checksums: {}, modifiedAt: now });
  const cases: readonly [QuotaName, number, string, (number: number) => [string, Params]][] = [
    ['keys', 4, 'ResourceLimitExceeded', (number) => ['ImportKeyPair', { KeyName: `k${number}`, PublicKeyMaterial: publicKey }]],
    ['groups', 5, 'SecurityGroupLimitExceeded', (number) => ['CreateSecurityGroup', { GroupName: `g${number}`, GroupDescription: 'x' }]],
    ['rules', 7, 'RulesPerSecurityGroupLimitExceeded', (number) => rule(number + 1)],
    ['volumes', 3, 'VolumeLimitExceeded', () => ['CreateVolume', volume]],
    ['gigabytes', 9, 'VolumeLimitExceeded', () => ['CreateVolume', { ...volume, Size: 2 }]],
    ['snapshots', 6, 'SnapshotLimitExceeded', () => ['CreateSnapshot', { VolumeId: source }]],
    ['addresses', 11, 'AddressLimitExceeded', () => ['AllocateAddress', {}]],
    ['images', 12, 'ResourceLimitExceeded', (number) => ['RegisterImage', { Name: `image ${number}`, ImageLocation: 'anns/disk.img' }]],
    ['instances', 8, 'InstanceLimitExceeded', () => run()],
  ];
  for (const [name, max, code, wish] of cases) {
    const before = (await usageOf(lab.db, lab.ann.projectId))[name];
    await limit(name, max);
    const each = name === 'gigabytes' ? 2 : 1;
    const passed = Math.floor((max - before) / each);
    expect([name, await fifty(wish)]).toEqual([name, { [code]: 50 - passed, ok: passed }]);
    expect([name, (await usageOf(lab.db, lab.ann.projectId))[name]]).toEqual([name, before + passed * each]);
    await manage('reset', { project: 'ann', name });
    if (name === 'volumes') await limit('volumes', 100);
  }
}, 120_000);

it('G3: cores and memory of instances are counted beside their number, and as many are launched as all three leave', async () => {
  await limit('cores', 7);
  const launched = await lab.ask(...run({ InstanceType: 'm1.large', MaxCount: 10 }));
  const cores = (await usageOf(lab.db, lab.ann.projectId)).cores / items(launched, 'instancesSet').length;
  expect(items(launched, 'instancesSet')).toHaveLength(Math.floor(7 / cores));
  expect(await lab.codeOf(...run({ InstanceType: 'm1.large' }))).toBe('VcpuLimitExceeded');
  await manage('reset', { project: 'ann', name: 'cores' });
  await limit('memoryMiB', (await usageOf(lab.db, lab.ann.projectId)).memoryMiB + 2_048);
  expect(await lab.codeOf(...run({ MinCount: 2, MaxCount: 2 }))).toBe('ResourceLimitExceeded');
  expect(items(await lab.ask(...run({ MaxCount: 5 })), 'instancesSet')).toHaveLength(1);
  await manage('reset', { project: 'ann', name: 'memoryMiB' });
});

it('G3: operators see use and limits, give one project its own, and take them back; the others keep the default', async () => {
  const shown = async (project: string, name: QuotaName) =>
    ((await manage('show', { project })) as { name: string }[]).find((row) => row.name === name);
  await lab.ask(...run({ MaxCount: 2 }));
  expect(await shown('ann', 'instances')).toEqual({ name: 'instances', used: 2, limit: settings.instancesPerProjectMax, from: 'default' });
  expect(await limit('instances', 1)).toBe('ann may have 1 instances');
  expect(await shown(lab.ann.projectId, 'instances')).toEqual({ name: 'instances', used: 2, limit: 1, from: 'project' });
  expect(await shown('bob', 'instances')).toMatchObject({ used: 0, from: 'default' });
  const attributes = await lab.ask('DescribeAccountAttributes', { 'AttributeName.1': 'max-instances' });
  expect(JSON.stringify(attributes)).toContain('"attributeValue":"1"');
  expect([await lab.codeOf(...run()), await lab.codeOf('RunInstances', run()[1], lab.bob)]).toEqual(['InstanceLimitExceeded', 'ok']);
  expect(await manage('reset', { project: 'ann', name: 'instances' })).toBe(`ann may have ${settings.instancesPerProjectMax} instances, as all`);
  expect(await lab.codeOf(...run())).toBe('ok');
  await expect(manage('show', { project: 'nobody' })).rejects.toMatchObject({ code: 'NoSuchEntity' });
  for (const wrong of ['-1', '1.5', 'x', '99999999999999999']) expect(() => manage('set', { project: 'ann', name: 'instances', limit: wrong })).toThrow();
  expect(() => manage('set', { project: 'ann', name: 'things', limit: '1' })).toThrow();
});
