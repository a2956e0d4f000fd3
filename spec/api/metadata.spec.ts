// The metadata service over HTTP. The guests are addresses of the loopback network, so that who asks is told by the source of a real connection.
import { request } from 'node:http';
import { connect } from 'node:net';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMetadataServer, type MetadataServer } from '../../src/api/metadata/server.ts';
import { versions } from '../../src/api/metadata/tree.ts';
import { instanceByAddress } from '../../src/db/metadata.ts';
import { instances, instanceSecurityGroups, securityGroups } from '../../src/db/schema/instances.ts';
import { fixedAddresses, networks } from '../../src/db/schema/networks.ts';
import { volumeAttachments, volumes } from '../../src/db/schema/volumes.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import type { Network } from '../../src/db/networks.ts';
import { addInstance, cloudRows } from '../support/instance-rows.ts';

let database: TestDatabase;
let networkId = '';
let server: MetadataServer;
let port = 0;
let laterMs = 0;
const clock: Clock = { ...systemClock, now: () => systemClock.now() + laterMs };
const gateway = '127.45.0.1';
const full = '127.45.0.2';
const bare = '127.45.0.3';
const userData = Buffer.from([0, 255, 13, 10, 0x1f, 0x8b, 128]);

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly bytes: Buffer;
  readonly text: string;
}

interface Ask {
  readonly from?: string;
  readonly to?: string;
  readonly port?: number;
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

function ask(path: string, options: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      host: options.to ?? gateway, port: options.port ?? port, localAddress: options.from ?? full,
      method: options.method ?? 'GET', path, headers: options.headers ?? {}, agent: false,
    }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes, text: bytes.toString('utf8') });
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}
const text = async (path: string, options: Ask = {}): Promise<string> => {
  const answer = await ask(path, options);
  expect(answer.status, path).toBe(200);
  return answer.text;
};
const tokenOf = async (from: string, ttl = '60'): Promise<string> =>
  (await ask('/latest/api/token', { from, method: 'PUT', headers: { 'X-aws-ec2-metadata-token-ttl-seconds': ttl } })).text;

beforeAll(async () => {
  database = await createTestDatabase();
  const { db } = database;
  const cloud = await cloudRows(db, { cidr: '127.45.0.0/24', gateway });
  networkId = cloud.network.id;
  const [web, ssh] = [{ id: 'sg-web', name: 'web' }, { id: 'sg-ssh', name: 'an ssh' }];
  for (const group of [web, ssh]) await db.insert(securityGroups).values({ ...group, projectId: cloud.projectId, description: '', createdAt: systemClock.date() });
  await addInstance(db, cloud, {
    id: 'i-full', address: full, mac: '02:16:3e:00:00:01', launchIndex: 1, kernelId: 'aki-1', ramdiskId: 'ari-1', keyName: 'my key', publicKey: 'ssh-ed25519 AAAA me',
    userData: userData.toString('base64'), zone: 'zone-a', instanceType: 'm1.small', rootDeviceName: '/dev/vda',
  });
  await addInstance(db, cloud, { id: 'i-bare', address: bare, mac: '02:16:3e:00:00:02' });
  for (const group of [web, ssh]) await db.insert(instanceSecurityGroups).values({ instanceId: 'i-full', groupId: group.id });
  for (const [id, device, state] of [['vol-2', '/dev/sdg', 'attached'], ['vol-1', '/dev/sdf', 'attached'], ['vol-3', '/dev/sdh', 'detaching']] as const) {
    const now = systemClock.date();
    await db.insert(volumes).values({
      id, projectId: cloud.projectId, userId: 'u', sizeGiB: 1, type: 'gp2', zone: 'zone-a', state: 'in-use', stateChangedAt: now, createdAt: now,
    });
    await db.insert(volumeAttachments).values({ id: `a-${id}`, volumeId: id, instanceId: 'i-full', device, target: `vd${id}`, state, attachedAt: now });
  }
  server = createMetadataServer({ db, clock, log: silentLog, tokenKey: Buffer.alloc(32, 7), region: 'nova', networkId });
  port = await server.listen(gateway, 0);
});
afterAll(async () => {
  await server.close();
  await database.close();
});

describe('a guest that closes its side of the connection as soon as it has asked, as busybox nc does', () => {
  it('is answered all the same, however long the database takes', async () => {
    // Long enough that the end of the guest's side has arrived before the answer is known.
    const slow = createMetadataServer({
      db: database.db, clock, log: silentLog, tokenKey: Buffer.alloc(32, 7), region: 'nova', networkId,
      resolve: async (source) => {
        await systemClock.sleep(50);
        return instanceByAddress(database.db, source);
      },
    });
    const slowPort = await slow.listen(gateway, 0);
    const answers = await Promise.all(['PUT /latest/api/token', 'GET /latest/meta-data/instance-id'].map((line) => new Promise<string>((resolve, reject) => {
      const socket = connect({ host: gateway, port: slowPort, localAddress: bare });
      let answer = '';
      socket.on('data', (chunk) => (answer += chunk.toString('latin1')));
      socket.on('error', reject);
      socket.on('close', () => resolve(answer));
      socket.end(`${line} HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n`);
    })));
    await slow.close();
    expect(answers.map((answer) => answer.split('\r\n')[0])).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK']);
    expect(answers[1]).toMatch(/i-bare$/);
  });
});

describe('the tree', () => {
  it('the root lists all versions, and each of them has the same below it', async () => {
    const listed = (await text('/')).split('\n');
    expect(listed).toEqual([...versions]);
    expect(listed).toEqual(expect.arrayContaining(['1.0', '2007-01-19', '2009-04-04', '2021-03-23', 'latest']));
    for (const version of listed) expect(await text(`/${version}/meta-data/instance-id`)).toBe('i-full');
  });

  it('directories list their children, with a slash after those that have some', async () => {
    expect(await text('/latest')).toBe('dynamic\nmeta-data\nuser-data');
    expect(await text('/latest/meta-data/')).toBe([
      'ami-id', 'ami-launch-index', 'ami-manifest-path', 'block-device-mapping/', 'hostname', 'instance-action', 'instance-id', 'instance-life-cycle',
      'instance-type', 'kernel-id', 'local-hostname', 'local-ipv4', 'mac', 'mpi/', 'network/', 'placement/', 'public-hostname', 'public-ipv4', 'public-keys/',
      'ramdisk-id', 'reservation-id', 'security-groups', 'services/',
    ].join('\n'));
    expect(await text('/latest/meta-data')).toBe(await text('//latest//meta-data/'));
    expect(await text('/latest/meta-data/public-keys/')).toBe('0=my key');
    expect(await text('/latest/meta-data/public-keys/0')).toBe('openssh-key');
    expect(await text('/latest/meta-data/placement/')).toBe('availability-zone\nregion');
    expect(await text('/latest/meta-data/network/interfaces/macs/')).toBe('02:16:3e:00:00:01/');
  });

  it('E26: every leaf tells what is true of this instance', async () => {
    const expected: Record<string, string> = {
      'ami-id': 'ami-1', 'ami-launch-index': '1', 'ami-manifest-path': 'bucket/tiny.img', 'block-device-mapping/ami': 'vda', 'block-device-mapping/root': '/dev/vda',
      'block-device-mapping/ebs1': 'sdf', 'block-device-mapping/ebs2': 'sdg',
      hostname: 'i-full.novalocal', 'instance-action': 'none', 'instance-id': 'i-full', 'instance-life-cycle': 'on-demand', 'instance-type': 'm1.small',
      'kernel-id': 'aki-1', 'local-hostname': 'i-full.novalocal', 'local-ipv4': full, mac: '02:16:3e:00:00:01', 'placement/availability-zone': 'zone-a',
      'placement/region': 'nova', 'public-hostname': 'i-full.novalocal', 'public-ipv4': full, 'public-keys/0/openssh-key': 'ssh-ed25519 AAAA me',
      'ramdisk-id': 'ari-1', 'reservation-id': 'r-full', 'security-groups': 'an ssh\nweb', 'services/domain': 'novalocal',
      'mpi/my%20key': `${full} slots=1\n${bare} slots=1`,
      'network/interfaces/macs/02:16:3e:00:00:01/local-ipv4s': full, 'network/interfaces/macs/02:16:3e:00:00:01/device-number': '0',
      'network/interfaces/macs/02:16:3e:00:00:01/subnet-ipv4-cidr-block': '127.45.0.0/24',
      'network/interfaces/macs/02:16:3e:00:00:01/security-group-ids': 'sg-ssh\nsg-web',
    };
    for (const [path, value] of Object.entries(expected)) expect(await text(`/2009-04-04/meta-data/${path}`), path).toBe(value);
  });

  it('N14: an address of IPv6 is told where the network has them', async () => {
    const { db } = database;
    await db.update(networks).set({ ipv6Cidr: 'fd00:45::/64' }).where(eq(networks.id, networkId));
    laterMs += 2_000; // What was told a moment ago is told again.
    expect(await text('/latest/meta-data/ipv6')).toBe('fd00:45::16:3eff:fe00:1');
    expect(await text('/latest/meta-data/network/interfaces/macs/02:16:3e:00:00:01/ipv6s')).toBe('fd00:45::16:3eff:fe00:1');
    expect(await text('/latest/meta-data/network/interfaces/macs/02:16:3e:00:00:01/subnet-ipv6-cidr-blocks')).toBe('fd00:45::/64');
    await db.update(networks).set({ ipv6Cidr: null }).where(eq(networks.id, networkId));
    laterMs += 2_000;
    expect((await ask('/latest/meta-data/ipv6')).status).toBe(404);
  });

  it('a crawl of all that is listed finds every leaf', async () => {
    const crawl = async (path: string): Promise<number> => {
      let leaves = 0;
      for (const line of (await text(path)).split('\n')) {
        if (line.includes('=')) leaves += await crawl(`${path}${line.split('=')[0]}/`);
        else if (line.endsWith('/')) leaves += await crawl(`${path}${encodeURIComponent(line.slice(0, -1))}/`);
        else leaves += (await ask(`${path}${encodeURIComponent(line)}`)).status === 200 ? 1 : Number.NaN;
      }
      return leaves;
    };
    expect(await crawl('/2021-03-23/meta-data/')).toBe(37);
  });

  it('user data comes back byte for byte', async () => {
    const answer = await ask('/latest/user-data');
    expect(answer.bytes.equals(userData)).toBe(true);
    expect(answer.headers['content-type']).toBe('application/octet-stream');
  });

  it('the identity document is about this instance', async () => {
    expect(await text('/latest/dynamic/instance-identity/')).toBe('document');
    expect(JSON.parse(await text('/latest/dynamic/instance-identity/document'))).toMatchObject({
      accountId: '123456789012', instanceId: 'i-full', privateIp: full, region: 'nova', availabilityZone: 'zone-a', imageId: 'ami-1', architecture: 'x86_64',
    });
  });

  it('what an instance does not have is not listed, and not found', async () => {
    expect(await text('/latest', { from: bare })).toBe('dynamic\nmeta-data');
    expect((await ask('/latest/user-data', { from: bare })).status).toBe(404);
    const listed = (await text('/latest/meta-data/', { from: bare })).split('\n');
    for (const absent of ['public-keys/', 'kernel-id', 'ramdisk-id', 'mpi/']) expect(listed).not.toContain(absent);
    expect(await ask('/latest/meta-data/security-groups', { from: bare })).toMatchObject({ status: 200, text: '' });
  });

  it.each([
    '/latest/nothing', '/1999-01-01/meta-data/', '/latest/meta-data/instance-id/x', '/latest/meta-data/constructor', '/latest/meta-data/__proto__',
    '/latest/meta-data/iam/',
  ])(
    '%s is not found, in the words of EC2', async (path) => {
      const answer = await ask(path);
      expect(answer.status).toBe(404);
      expect(answer.headers['content-type']).toContain('text/html');
      expect(answer.text).toContain('<title>404 - Not Found</title>');
    });

  it('HEAD answers without a body, other methods are refused', async () => {
    expect(await ask('/latest/meta-data/instance-id', { method: 'HEAD' })).toMatchObject({ status: 200, text: '', headers: { 'content-length': '6' } });
    expect((await ask('/latest/meta-data/instance-id', { method: 'POST' })).status).toBe(405);
    expect((await ask('/latest/%zz')).status).toBe(400);
  });
});

describe('sessions', () => {
  it('a token is given for the time asked for, and opens what needs it', async () => {
    const answer = await ask('/latest/api/token', { method: 'PUT', headers: { 'X-aws-ec2-metadata-token-ttl-seconds': '21600' } });
    expect(answer).toMatchObject({ status: 200, headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' } });
    expect(await text('/latest/meta-data/instance-id', { headers: { 'X-aws-ec2-metadata-token': answer.text } })).toBe('i-full');
  });

  it.each(['', '0', '21601', '-1', 'abc', '1.5', '999999'])('a token for %j seconds is a bad request', async (ttl) => {
    expect((await ask('/latest/api/token', { method: 'PUT', headers: { 'X-aws-ec2-metadata-token-ttl-seconds': ttl } })).status).toBe(400);
  });

  it('a token without a time is a bad request, one asked for through a proxy forbidden, one got by GET not allowed', async () => {
    expect((await ask('/latest/api/token', { method: 'PUT' })).status).toBe(400);
    const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': '60', 'X-Forwarded-For': '1.2.3.4' };
    expect((await ask('/latest/api/token', { method: 'PUT', headers })).status).toBe(403);
    expect((await ask('/latest/api/token')).status).toBe(405);
  });

  it("a token that is another instance's, altered, empty or old is unauthorized", async () => {
    const token = await tokenOf(full);
    const altered = `${token.startsWith('A') ? 'B' : 'A'}${token.slice(1)}`;
    const status = async (value: string, from = full) => (await ask('/latest/meta-data/instance-id', { from, headers: { 'X-aws-ec2-metadata-token': value } })).status;
    expect(await status(token)).toBe(200);
    expect(await status(token, bare)).toBe(401);
    expect(await status(altered)).toBe(401);
    expect(await status(`${token}=`)).toBe(401);
    expect(await status('')).toBe(401);
    laterMs += 61_000;
    expect(await status(token)).toBe(401);
  });
});

describe('an instance that was set up for it', () => {
  const set = async (changes: Partial<typeof instances.$inferInsert>): Promise<void> => {
    await database.db.update(instances).set(changes).where(eq(instances.id, 'i-full'));
    laterMs += 1_000; // what was known of it a moment ago is forgotten
  };
  const path = '/latest/meta-data/instance-id';

  it('is told nothing without a token, and others are', async () => {
    await set({ metadataTokens: 'required' });
    try {
      expect((await ask(path)).status).toBe(401);
      expect((await ask('/')).status).toBe(401);
      expect((await ask(path, { headers: { 'X-aws-ec2-metadata-token': await tokenOf(full) } })).text).toBe('i-full');
      expect((await ask(path, { headers: { 'X-aws-ec2-metadata-token': await tokenOf(bare) } })).status).toBe(401);
      expect((await ask(path, { from: bare })).text).toBe('i-bare');
    } finally {
      await set({ metadataTokens: 'optional' });
    }
    expect((await ask(path)).text).toBe('i-full');
  });

  it('is told nothing at all, and gets no token', async () => {
    await set({ metadataEndpoint: 'disabled' });
    try {
      expect((await ask(path)).status).toBe(403);
      expect((await ask('/latest/api/token', { method: 'PUT', headers: { 'X-aws-ec2-metadata-token-ttl-seconds': '60' } })).status).toBe(403);
      expect((await ask(path, { from: bare })).text).toBe('i-bare');
    } finally {
      await set({ metadataEndpoint: 'enabled' });
    }
  });
});

describe('who asks', () => {
  it('each guest sees its own, whatever its headers say', async () => {
    expect(await text('/latest/meta-data/instance-id', { from: bare, headers: { 'X-Forwarded-For': full, 'X-Instance-Id': 'i-full', Host: full } })).toBe('i-bare');
  });

  it('an address that is no instance finds nothing, not even the versions', async () => {
    for (const path of ['/', '/latest/meta-data/', '/latest/user-data']) expect((await ask(path, { from: '127.45.0.9' })).status).toBe(404);
    const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': '60' };
    expect((await ask('/latest/api/token', { from: '127.45.0.9', method: 'PUT', headers })).status).toBe(404);
  });

  it('E27: the same address on another network is another guest', async () => {
    const other = await createTestDatabase();
    try {
      const here = await cloudRows(other.db, { cidr: '127.45.0.0/24', gateway });
      const there = await cloudRows(other.db, { cidr: '127.45.0.0/24', gateway: '127.45.1.1', name: 'other' });
      await addInstance(other.db, here, { id: 'i-here', address: full, mac: '02:16:3e:00:00:03' });
      await addInstance(other.db, there, { id: 'i-there', address: full, mac: '02:16:3e:00:00:04' });
      const serve = (network: Network) =>
        createMetadataServer({ db: other.db, clock, log: silentLog, tokenKey: Buffer.alloc(32, 7), region: 'nova', networkId: network.id });
      const servers = [serve(here.network), serve(there.network)] as const;
      const at = await servers[0].listen('127.45.0.1', 0);
      expect(await servers[0].listen('127.45.0.1', at)).toBe(at);
      await servers[1].listen('127.45.1.1', at);
      expect(await text('/latest/meta-data/instance-id', { to: '127.45.0.1', port: at })).toBe('i-here');
      expect(await text('/latest/meta-data/instance-id', { to: '127.45.1.1', port: at })).toBe('i-there');
      for (const one of servers) await one.close();
    } finally {
      await other.close();
    }
  });

  it('a new owner of an address is known within a second', async () => {
    const { db } = database;
    expect(await text('/latest/meta-data/instance-id', { from: bare })).toBe('i-bare');
    await addInstance(db, await cloudRows(db, { cidr: '127.45.0.0/24', gateway }), { id: 'i-next', mac: '02:16:3e:00:00:09' });
    await db.update(fixedAddresses).set({ instanceId: 'i-next' }).where(eq(fixedAddresses.address, bare));
    laterMs += 1_000;
    expect(await text('/latest/meta-data/instance-id', { from: bare })).toBe('i-next');
    await db.update(fixedAddresses).set({ instanceId: 'i-bare' }).where(eq(fixedAddresses.address, bare));
    laterMs += 1_000;
  });
});

describe('bounds', () => {
  it('a port in use is a mistake of setup, with a remedy', async () => {
    const second = createMetadataServer({ db: database.db, clock, log: silentLog, tokenKey: Buffer.alloc(32, 7), region: 'nova', networkId });
    await expect(second.listen(gateway, port)).rejects.toMatchObject({ name: 'SetupError', message: expect.stringContaining('in use') });
    await expect(second.listen('192.0.2.77', port)).rejects.toMatchObject({ name: 'SetupError', remedy: expect.stringContaining('gateway') });
    await second.close();
  });

  it('one guest with too many connections does not shut out the others', async () => {
    const sockets = Array.from({ length: 40 }, () => connect({ host: gateway, port, localAddress: full }).on('error', () => undefined));
    await new Promise<void>((resolve) => {
      let closed = 0;
      for (const socket of sockets) socket.on('close', () => (closed += 1) === 8 && resolve());
    });
    expect(await text('/latest/meta-data/instance-id', { from: bare })).toBe('i-bare');
    for (const socket of sockets) socket.destroy();
  });

  it('E28: a hundred guests at once are each answered with their own', async () => {
    const { db } = database;
    const cloud = await cloudRows(db, { cidr: '127.46.0.0/24', gateway: '127.46.0.1', name: 'hundred' });
    const addresses = Array.from({ length: 100 }, (_, n) => `127.46.0.${n + 2}`);
    for (const [n, address] of addresses.entries()) await addInstance(db, cloud, { id: `i-many-${n}`, address, mac: `02:16:3e:00:01:${n}` });
    const crowd = createMetadataServer({ db, clock, log: silentLog, tokenKey: Buffer.alloc(32, 7), region: 'nova', networkId: cloud.network.id });
    const at = await crowd.listen('127.46.0.1', 0);
    const round = (): Promise<number[]> => Promise.all(addresses.map(async (from, n) => {
      const startedAt = performance.now();
      expect(await text('/latest/meta-data/instance-id', { from, to: '127.46.0.1', port: at })).toBe(`i-many-${n}`);
      return performance.now() - startedAt;
    }));
    await round();
    const p95 = (await round()).toSorted((a, b) => a - b)[94] ?? Number.NaN;
    process.stdout.write(`metadata: 100 guests at once, p95 ${Math.round(p95)} ms\n`);
    await crowd.close();
  });
});
