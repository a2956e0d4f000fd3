// As docs/guide/many-hosts.md sets it up: Redis with TLS, its own authority and a user for each role of each host. What a role needs it
// may do; everything works, and no refusal is logged.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, describe, it } from 'vitest';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { writeRedisUsers } from '../../src/roles/redis-users.ts';
import { waitFor } from '../support/patience.ts';
import { createPlainEc2, textsOf } from '../support/plain-ec2.ts';
import { freePort } from '../support/free-port.ts';
import { makeCertificates } from '../support/redis-server.ts';
import { complaintsIn } from '../support/role-cloud.ts';
import { prepareRole, startSharedServices, type RoleProcess, type SharedServices } from '../support/role-process.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const hosts = [
  { host: 'h1', roles: ['network', 'objectstore', 'compute', 'scheduler', 'api'] as const },
  { host: 'h2', roles: ['network', 'compute'] as const },
];
const patience = { timeoutMs: 60_000 };
let folder: string;
let services: SharedServices;
const roles: RoleProcess[] = [];

const title = 'roles under their own Redis users';

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? title : `${title} (skipped: ${obstacle})`, () => {
  beforeAll(async () => {
    folder = mkdtempSync('/tmp/novact-secured-');
    const certificates = makeCertificates(folder);
    const users = join(folder, 'users');
    mkdirSync(users);
    await writeRedisUsers({ hosts, url: 'rediss://unknown', folder: users });
    services = await startSharedServices({ name: 'secured', redis: { tls: certificates, aclfile: join(users, 'users.acl') } });
    const known = readFileSync(join(users, 'users.acl'), 'utf8');
    await writeRedisUsers({ hosts, url: services.redis.url, folder: users });
    expect(readFileSync(join(users, 'users.acl'), 'utf8')).toBe(known); // The passwords are kept.
    const s3Port = String(await freePort());
    for (const { host, roles: names } of hosts) for (const role of names) {
      const url = /^NOVACT_REDIS_URL=(.*)$/m.exec(readFileSync(join(users, host, `novact-${role}.env`), 'utf8'))?.[1] ?? '';
      const s3 = { NOVACT_S3_PORT: s3Port, NOVACT_S3_URL: `http://127.0.0.1:${s3Port}` };
      const settings = { ...services.host(host), ...s3, NOVACT_REDIS_URL: url, NOVACT_REDIS_CA: certificates.ca };
      roles.push(await prepareRole({ role, host, settings }));
    }
    await Promise.all(roles.map((role) => role.start()));
  }, 180_000);

  afterAll(async () => {
    await Promise.all(roles.map((role) => role.kill9()));
    await services?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('launch, describe the console, terminate, and drain without a refusal', async () => {
    const keys = await services.novarc('h1');
    const ec2 = createPlainEc2({
      url: (keys['AWS_ENDPOINT_URL_EC2'] ?? '').replace(/\/$/, ''), region: keys['AWS_REGION'] ?? '',
      accessKeyId: keys['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: keys['AWS_SECRET_ACCESS_KEY'] ?? '',
    });
    const images = await ec2.call('DescribeImages', { 'Filter.1.Name': 'name', 'Filter.1.Value.1': 'novact-tiny' });
    const answer = await ec2.call('RunInstances', { ImageId: textsOf(images.text, 'imageId')[0] ?? '', InstanceType: 't2.nano', MinCount: '4', MaxCount: '4' });
    const ids = textsOf(answer.text, 'instanceId');
    expect([answer.status, ids.length]).toEqual([200, 4]);
    const inState = async (state: string) => {
      const { text } = await ec2.call('DescribeInstances', { 'Filter.1.Name': 'instance-state-name', 'Filter.1.Value.1': state });
      return textsOf(text, 'instanceId').length;
    };
    await waitFor('all run', patience, async () => ((await inState('running')) === 4 ? true : undefined));
    for (const id of ids) expect((await ec2.call('GetConsoleOutput', { InstanceId: id })).status).toBe(200);
    await ec2.call('TerminateInstances', Object.fromEntries(ids.map((id, index) => [`InstanceId.${index + 1}`, id])));
    await waitFor('all have ended', patience, async () => ((await inState('terminated')) === 4 ? true : undefined));
    for (const { opsPort } of roles) {
      const health = await waitFor('it is well', patience, async () => {
        const heard = await fetch(`http://127.0.0.1:${opsPort}/health`);
        const text = await heard.text();
        if (heard.status !== 200) throw new Error(text);
        return text;
      });
      expect(health).toContain('"ok":true');
    }
    for (const role of roles.toReversed()) expect([role.role, await role.stop()]).toEqual([role.role, 0]);
    expect((await complaintsIn(services.folder)).split('\n').filter((line) => /NOPERM|NOAUTH|WRONGPASS/.test(line))).toEqual([]);
  }, 240_000);
});
