// Two projects with the same range on two hosts, by the network manager vxlan and the EC2 API: guests of one project reach each other wherever they
// are, those of the other are not there for them, and a host that loses its power is missed by nobody else's guests. Guests are containers.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { namespacePath } from '../../src/drivers/network/linux/namespace.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { findProcesses } from '../../src/lib/processes.ts';
import { openBoto3, writeKey, type Boto3 } from '../support/clients.ts';
import { waitFor, waitUntil } from '../support/patience.ts';
import { createSecondProject } from '../support/second-project.ts';
import { startHosts, type Host, type Hosts } from '../support/three-hosts.ts';

interface Guest {
  readonly id: string;
  readonly host: Host;
  readonly address: string;
  readonly routerId: string;
  readonly keyFile: string;
}

/** A web server that says who it is, and has something that takes long to fetch. */
const serving = 'mkdir -p /run/www; dd if=/dev/zero of=/run/www/big bs=1M count=16; '
  + '/sbin/metadata token > /dev/null; /sbin/metadata get meta-data/instance-id > /run/www/index.html; httpd -p 8080 -h /run/www\n';

interface Tenant {
  readonly name: string;
  readonly boto3: Boto3;
  keyFile: string;
  guests: Guest[];
  database?: Guest;
  publicAddress?: string;
}

const root = createRun({ log: silentLog });
const quick = { WaiterConfig: { Delay: 1, MaxAttempts: 120 } };
const options = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ConnectTimeout=5'];
let cloud: Hosts;
let tenants: Tenant[] = [];
const tenant = (name: string): Tenant => tenants.find((one) => one.name === name) ?? (() => { throw new Error(`no tenant ${name}`); })();
const first = (name: string): Guest => tenant(name).guests[0] ?? (() => { throw new Error(`no guest of ${name}`); })();

/** From the router of its network on its own host. */
async function inside(guest: Guest, command: string): Promise<string> {
  const path = await namespacePath(`novact-${guest.host.name}-${guest.routerId}`);
  const ssh = ['ssh', '-F', '/dev/null', '-n', ...options.flatMap((text) => ['-o', text]), '-i', guest.keyFile, `root@${guest.address}`, command];
  return (await root('nsenter', [`--net=${path}`, ...ssh], { timeoutMs: 20_000 })).stdout.trim();
}

const untilInside = (guest: Guest, command: string): Promise<string> =>
  waitFor(`${guest.id} does ${command}`, { timeoutMs: 120_000, pollMs: 500 }, () => inside(guest, command).catch(() => undefined));

interface Place {
  readonly id: string;
  readonly host: string;
  readonly address: string;
  readonly router_id: string;
}

async function placesOf(ids: readonly string[]): Promise<Place[]> {
  const database = await cloud.openDatabase();
  try {
    return (await database.db.execute(sql`
      select i.id, i.host, f.address, n.router_id from instances i join fixed_addresses f on f.instance_id = i.id join networks n on n.id = f.network_id
      where i.id in (${sql.join(ids.map((id) => sql`${id}`), sql`, `)}) order by i.host`)) as unknown as Place[];
  } finally {
    await database.close();
  }
}

async function launch(one: Tenant, count: number): Promise<void> {
  const { KeyMaterial } = await one.boto3.call<{ KeyMaterial: string }>('ec2', 'create_key_pair', { KeyName: one.name });
  one.keyFile = await writeKey(cloud, one.name, KeyMaterial);
  for (const [protocol, port] of [['tcp', 22], ['icmp', -1]] as const) {
    await one.boto3.call('ec2', 'authorize_security_group_ingress', {
      GroupName: 'default', IpProtocol: protocol, FromPort: port, ToPort: port, CidrIp: '0.0.0.0/0',
    });
  }
  const { Images } = await one.boto3.call<{ Images: { ImageId: string }[] }>('ec2', 'describe_images', {
    Filters: [{ Name: 'name', Values: ['novact-tiny'] }],
  });
  const { Instances } = await one.boto3.call<{ Instances: { InstanceId: string }[] }>('ec2', 'run_instances', {
    ImageId: Images[0]?.ImageId, InstanceType: 't2.nano', MinCount: count, MaxCount: count, KeyName: one.name,
    UserData: `#!/bin/sh\necho ${one.name} > /run/told\n${serving}`,
  });
  const ids = Instances.map(({ InstanceId }) => InstanceId);
  await one.boto3.call('ec2', 'wait:instance_running', { InstanceIds: ids, ...quick });
  one.guests = (await placesOf(ids)).map((row) => ({
    id: row.id, host: cloud.named(row.host), address: row.address, routerId: row.router_id, keyFile: one.keyFile,
  }));
}

/** A third guest, that lets in what comes from members of a group, which is the first guest. */
async function launchDatabase(one: Tenant): Promise<void> {
  const ec2 = <T>(method: string, parameters: Record<string, unknown>) => one.boto3.call<T>('ec2', method, parameters);
  const groupOf = async (GroupName: string) => (await ec2<{ GroupId: string }>('create_security_group', { GroupName, Description: GroupName })).GroupId;
  const [web, db] = [await groupOf('web'), await groupOf('db')];
  const anyone = { CidrIp: '0.0.0.0/0', IpProtocol: 'tcp' };
  await ec2('authorize_security_group_ingress', { GroupName: 'default', ...anyone, FromPort: 8080, ToPort: 8080 });
  await ec2('authorize_security_group_ingress', { GroupId: db, ...anyone, FromPort: 22, ToPort: 22 });
  const fromWeb = { IpProtocol: 'tcp', FromPort: 8080, ToPort: 8080, UserIdGroupPairs: [{ GroupId: web }] };
  await ec2('authorize_security_group_ingress', { GroupId: db, IpPermissions: [fromWeb] });
  const { SecurityGroups } = await ec2<{ SecurityGroups: { GroupId: string }[] }>('describe_security_groups', { GroupNames: ['default'] });
  await ec2('modify_instance_attribute', { InstanceId: one.guests[0]?.id, Groups: [SecurityGroups[0]?.GroupId, web] });
  const { Images } = await ec2<{ Images: { ImageId: string }[] }>('describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  const { Instances } = await ec2<{ Instances: { InstanceId: string }[] }>('run_instances', {
    ImageId: Images[0]?.ImageId, InstanceType: 't2.nano', MinCount: 1, MaxCount: 1, KeyName: one.name, SecurityGroupIds: [db],
    UserData: `#!/bin/sh\n${serving}`,
  });
  const ids = Instances.map(({ InstanceId }) => InstanceId);
  await ec2('wait:instance_running', { InstanceIds: ids, ...quick });
  const [row] = await placesOf(ids);
  if (row === undefined) throw new Error('the database has no address');
  one.database = { id: row.id, host: cloud.named(row.host), address: row.address, routerId: row.router_id, keyFile: one.keyFile };
  one.publicAddress = (await ec2<{ PublicIp: string }>('allocate_address', { Domain: 'vpc' })).PublicIp;
  await leadTo(one, 0);
}

const leadTo = (one: Tenant, index: number) =>
  one.boto3.call('ec2', 'associate_address', { PublicIp: one.publicAddress, InstanceId: one.guests[index]?.id });

/** From the wire that the hosts are on. */
const outside = createRun({ log: silentLog, networkNamespace: 'nvvx-net' });
const fetched = async (address: string | undefined): Promise<string> =>
  (await outside('curl', ['-s', '-m', '3', `http://${address}:8080/`], { okCodes: [0, 7, 28, 52, 56] })).stdout.trim();

/** Web reaches the database by its group, the other guest does not, and the address leads to web. */
async function lookedAt(one: Tenant): Promise<string> {
  const [web, other] = one.guests;
  if (web === undefined || other === undefined || one.database === undefined) throw new Error('three guests are needed');
  const asks = (guest: Guest) => inside(guest, `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${one.database?.address} 8080 | tail -1 || true`);
  const said = [await asks(web), await asks(other), await fetched(one.publicAddress)].join(' ');
  return said === [one.database.id, '', web.id].join(' ') ? 'well' : `${said}, not ${one.database.id}  ${web.id}`;
}

async function untilServed(after: string): Promise<void> {
  for (const one of tenants) {
    await waitFor(`all is well with ${one.name} after ${after}`, { timeoutMs: 60_000, pollMs: 500 }, async () => {
      const said = await lookedAt(one);
      if (said === 'well') return true;
      throw new Error(said);
    });
  }
}

beforeAll(async () => {
  cloud = await startHosts('nvvx', { guests: 'lxc', count: 2, settings: { NOVACT_NETWORK_MANAGER: 'vxlan', NOVACT_SERVICE_DOWN_SECONDS: '10' } });
  const key = await createSecondProject(cloud, 'blue', join(cloud.folder, 'master.key'));
  tenants = [{ name: 'red', boto3: openBoto3(cloud), keyFile: '', guests: [] }, { name: 'blue', boto3: openBoto3(cloud, key), keyFile: '', guests: [] }];
  for (const one of tenants) await launch(one, 2);
}, 600_000);
afterAll(async () => {
  for (const one of tenants) await one.boto3.close();
  await cloud?.down();
}, 240_000);
afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(`${cloud?.tail() ?? 'there is no cloud'}\n`);
});

describe('two projects with one range on two hosts', () => {
  it('N4: each has a guest on each host, with the addresses of the other', async () => {
    for (const one of tenants) expect(one.guests.map((guest) => guest.host.name)).toEqual(['h1', 'h2']);
    expect(tenant('red').guests.map((guest) => guest.address).toSorted()).toEqual(tenant('blue').guests.map((guest) => guest.address).toSorted());
    expect(first('red').routerId).not.toBe(first('blue').routerId);
  });

  it('N9: every guest has metadata of its own from the router of its own host, with its user data done', async () => {
    for (const one of tenants) {
      for (const guest of one.guests) {
        expect(await untilInside(guest, 'cat /run/told')).toBe(one.name);
        expect(await inside(guest, '/sbin/metadata token > /dev/null; /sbin/metadata get meta-data/instance-id')).toBe(guest.id);
      }
    }
  });

  it('N15: guests of one project reach each other across hosts, by address and by name', async () => {
    for (const one of tenants) {
      const [here, there] = one.guests;
      if (here === undefined || there === undefined) throw new Error('two guests are needed');
      await untilInside(here, `ping -c 1 -W 2 ${there.address} > /dev/null && echo yes`);
      await waitUntil(`${there.id} has a name on ${here.host.name}`, { timeoutMs: 45_000, pollMs: 500 }, async () =>
        (await inside(here, `nslookup -type=a ${there.id}.novact.internal || true`)).includes(there.address));
      expect(await inside(here, `nc -w 2 ${there.address} 22 < /dev/null | head -c 3`)).toBe('SSH');
    }
  });

  it('N13: a DHCP server that is killed is back, once', async () => {
    const guest = first('red');
    const ofHost = `--pid-file=${guest.host.state}/networks/`;
    const servers = () => findProcesses((args) => args.some((arg) => arg.startsWith(ofHost)));
    const before = await servers();
    expect(before).toHaveLength(2);
    const killedAt = performance.now();
    for (const { pid } of before) process.kill(pid, 'SIGKILL');
    await waitUntil('both servers are back', { timeoutMs: 30_000, pollMs: 50 }, async () => (await servers()).length === 2);
    process.stdout.write(`two killed DHCP servers were back after ${Math.round(performance.now() - killedAt)} ms\n`);
    const pids = new Set(before.map(({ pid }) => pid));
    expect((await servers()).filter(({ pid }) => pids.has(pid))).toEqual([]);
  });

  it('N11: a network role that is killed and starts again adopts everything: no ping of a guest is lost', async () => {
    const [here, there] = tenant('blue').guests;
    if (here === undefined || there === undefined) throw new Error('two guests are needed');
    const holder = await namespacePath(`novact-h1-${here.routerId}`);
    const flood = inside(here, `ping -i 0.2 -c 60 -W 2 ${there.address} | tail -2`);
    const role = cloud.named('h1').roles.get('network');
    await role?.kill9();
    await role?.start();
    expect(await flood).toContain(' 0% packet loss');
    expect(await namespacePath(`novact-h1-${here.routerId}`)).toBe(holder);
    expect(await inside(here, '/sbin/metadata token > /dev/null; /sbin/metadata get meta-data/instance-id')).toBe(here.id);
  });

  it('N8, N17: web reaches db by its group and nothing else does, and an address moves from guest to guest under a running download', async () => {
    await cloud.novact('manage', 'floating', 'create', '192.168.77.128/28');
    for (const one of tenants) await launchDatabase(one);
    await untilServed('the launch');
    for (const one of tenants) {
      const download = outside('curl', ['-s', '-o', '/dev/null', '--limit-rate', '200k', `http://${one.publicAddress}:8080/big`], {
        okCodes: Array.from({ length: 100 }, (_, code) => code), timeoutMs: 60_000,
      });
      await waitUntil('the download runs', { timeoutMs: 10_000, pollMs: 100 }, async () => (await fetched(one.publicAddress)) === one.guests[0]?.id);
      await leadTo(one, 1);
      await waitUntil('the other guest answers', { timeoutMs: 20_000, pollMs: 100 }, async () => (await fetched(one.publicAddress)) === one.guests[1]?.id);
      expect((await download).code).not.toBe(0);
      await leadTo(one, 0);
    }
    await untilServed('the way back');
  });

  it('K6: all of it is so again after a kill of every role, of every DHCP server and of libvirtd, in turn', async () => {
    for (const host of cloud.hosts) {
      for (const [name, role] of host.roles) {
        await role.kill9();
        await role.start();
        await untilServed(`the kill of ${name}@${host.name}`);
      }
      const servers = await findProcesses((args) => args.some((arg) => arg.startsWith(`--pid-file=${host.state}/networks/`)));
      for (const { pid } of servers) process.kill(pid, 'SIGKILL');
      await host.machine.killLibvirtd();
      await host.machine.startLibvirtd();
      await untilServed(`the kill of libvirtd and DHCP servers of ${host.name}`);
    }
  });

  it('N15: a host that lost its power is not missed by guests of the other, and plumbs everything anew when it is back', async () => {
    await cloud.named('h2').pullPlug();
    const here = first('red');
    expect(await inside(here, '/sbin/metadata token > /dev/null; /sbin/metadata get meta-data/instance-id')).toBe(here.id);
    await cloud.named('h2').plugIn();
    const there = tenant('red').guests[1];
    if (there === undefined) throw new Error('two guests are needed');
    await waitUntil('the guest on h2 answers the one on h1', { timeoutMs: 180_000, pollMs: 1_000 }, async () =>
      (await inside(here, `ping -c 1 -W 2 ${there.address} > /dev/null && echo yes || true`)) === 'yes');
  });

  it('networks go with the last guest of a host', async () => {
    for (const one of tenants) {
      const ids = [...one.guests, ...(one.database === undefined ? [] : [one.database])].map((guest) => guest.id);
      await one.boto3.call('ec2', 'terminate_instances', { InstanceIds: ids });
      await one.boto3.call('ec2', 'wait:instance_terminated', { InstanceIds: ids, ...quick });
    }
    for (const host of cloud.hosts) {
      await waitUntil(`nothing is left on ${host.name}`, { timeoutMs: 60_000, pollMs: 500 }, async () =>
        !(await host.machine.run('ip', ['-br', 'link'])).stdout.match(/nv(br|t|s|p)/));
      for (const one of tenants) expect(await namespacePath(`novact-${host.name}-${one.guests[0]?.routerId}`)).toBeUndefined();
    }
  });
});
