// Security groups and anti-spoofing as a guest and its neighbours meet them: what is authorised opens within a second, what is revoked
// closes; nobody reads another's metadata or speaks with another's address. Guests are containers, of two projects.
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBoto3, ssh, untilSsh, writeKey, type Boto3, type Login } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { rulesInForce } from '../support/firewall-wishes.ts';
import { expectNoLeftovers } from '../support/leftovers.ts';
import { waitFor, waitUntil } from '../support/patience.ts';
import { createSecondProject } from '../support/second-project.ts';

interface Guest {
  readonly boto3: Boto3;
  readonly id: string;
  readonly login: Login;
}

/** The aim is a second. How long it took is printed, and not held here: the machine boots guests meanwhile. */
const changeMsMax = 5_000;
let cloud: CloudProcess;
let own: Boto3;
let other: Boto3;
/** Of one project, in groups of their own; and two of another project, likewise. */
let web: Guest;
let client: Guest;
let stranger: Guest;
let friend: Guest;

async function launch(boto3: Boto3, name: string, groupNames: readonly string[]): Promise<Guest> {
  const { KeyMaterial } = await boto3.call<{ KeyMaterial: string }>('ec2', 'create_key_pair', { KeyName: name });
  const keyFile = await writeKey(cloud, name, KeyMaterial);
  const { Images } = await boto3.call<{ Images: { ImageId: string }[] }>('ec2', 'describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  const { Instances: [instance] } = await boto3.call<{ Instances: { InstanceId: string }[] }>('ec2', 'run_instances', {
    ImageId: Images[0]?.ImageId, InstanceType: 't2.nano', MinCount: 1, MaxCount: 1, KeyName: name, SecurityGroups: groupNames,
    UserData: [
      '#!/bin/sh', `mkdir -p /run/www; echo ${name} > /run/www/index.html`, 'for port in 8080 8081; do httpd -p $port -h /run/www; done',
      `# secret of ${name}`, '',
    ].join('\n'),
  });
  const id = instance?.InstanceId ?? '';
  await boto3.call('ec2', 'wait:instance_running', { InstanceIds: [id], WaiterConfig: { Delay: 1, MaxAttempts: 60 } });
  const shown = await boto3.call<{ Reservations: { Instances: { PrivateIpAddress: string }[] }[] }>('ec2', 'describe_instances', { InstanceIds: [id] });
  const login = { address: shown.Reservations[0]?.Instances[0]?.PrivateIpAddress ?? '', keyFile };
  await untilSsh(cloud, login, 'true');
  await waitUntil('its web server listens', { timeoutMs: 60_000 }, async () =>
    (await ssh(cloud, login, 'nc -w 1 127.0.0.1 8080 < /dev/null && echo open')) === 'open');
  return { boto3, id, login };
}

async function createGroup(boto3: Boto3, name: string): Promise<void> {
  await boto3.call('ec2', 'create_security_group', { GroupName: name, Description: name });
  await boto3.call('ec2', 'authorize_security_group_ingress', { GroupName: name, IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' });
}

/** Whether a new connection from this machine is let in. Dropped packets are not answered, so a short time tells. */
async function isOpen(guest: Guest, port = 8080): Promise<boolean> {
  return (await cloud.run('nc', ['-z', '-w', '1', guest.login.address, String(port)], { okCodes: [0, 1] })).code === 0;
}

interface Knock {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly open: boolean;
}

/** A new connection every 50 ms for two seconds: one that is dropped takes a second to know, so they must not wait for one another. */
async function knock(guest: Guest): Promise<Knock[]> {
  const beganAt = performance.now();
  const sinceMs = () => Math.round(performance.now() - beganAt);
  const knocks: Promise<Knock>[] = [];
  while (sinceMs() < 2_000) {
    const startedMs = sinceMs();
    knocks.push(isOpen(guest).then((open) => ({ startedMs, endedMs: sinceMs(), open })));
    await pause(50);
  }
  return Promise.all(knocks);
}

/** As `isOpen`, from inside one guest to another. */
async function reaches(from: Guest, to: Guest): Promise<boolean> {
  return (await ssh(cloud, from.login, `timeout 2 nc ${to.login.address} 8080 < /dev/null > /dev/null && echo yes || echo no`)) === 'yes';
}

const change = (verb: 'authorize' | 'revoke', ...permissions: readonly object[]) =>
  own.call('ec2', `${verb}_security_group_ingress`, { GroupName: 'web', IpPermissions: permissions });

beforeAll(async () => {
  cloud = await startCloudProcess('clients-groups', { guests: 'lxc' });
  own = openBoto3(cloud);
  other = openBoto3(cloud, await createSecondProject(cloud, 'other'));
  await createGroup(own, 'web');
  await createGroup(own, 'client');
  for (const name of ['strange', 'friends']) await createGroup(other, name);
  [web, client, stranger, friend] = await Promise.all([
    launch(own, 'web', ['web']), launch(own, 'client', ['client']), launch(other, 'stranger', ['strange']), launch(other, 'friend', ['friends']),
  ]);
});
afterAll(async () => {
  await own?.close();
  await other?.close();
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('security groups of running guests', () => {
  it('a closed port opens at once when it is authorised, and closes at once when that is revoked', async () => {
    const permission = { IpProtocol: 'tcp', FromPort: 8080, ToPort: 8080, IpRanges: [{ CidrIp: '0.0.0.0/0' }] };
    expect(await isOpen(web)).toBe(false);
    expect(await isOpen(web, 22)).toBe(true);
    await change('authorize', permission);
    const opening = await knock(web);
    const openMs = Math.min(...opening.filter(({ open }) => open).map(({ endedMs }) => endedMs));
    expect(await isOpen(client)).toBe(false);
    await change('revoke', permission);
    const closing = await knock(web);
    const closedMs = Math.max(0, ...closing.filter(({ open }) => open).map(({ startedMs }) => startedMs));
    console.log(`a port let somebody in ${openMs} ms after authorise had answered, and nobody who came ${closedMs} ms after revoke had`);
    expect(openMs).toBeLessThan(changeMsMax);
    expect(closedMs).toBeLessThan(changeMsMax);
    expect(closing.at(-1)?.open).toBe(false);
  });

  it('a rule for a range lets in that range only', async () => {
    const permission = { IpProtocol: 'tcp', FromPort: 8080, ToPort: 8080, IpRanges: [{ CidrIp: `${client.login.address}/32` }] };
    await change('authorize', permission);
    await waitUntil('the client is let in', { timeoutMs: 20_000 }, () => reaches(client, web));
    expect(await reaches(stranger, web)).toBe(false);
    expect(await isOpen(web)).toBe(false);
    await change('revoke', permission);
    await waitUntil('the client is shut out', { timeoutMs: 20_000 }, async () => !(await reaches(client, web)));
  });

  it('a rule for a group lets in its members, and those of no other', async () => {
    type Shown = { readonly GroupId: string; readonly OwnerId: string };
    const { SecurityGroups: [group] } = await own.call<{ SecurityGroups: Shown[] }>('ec2', 'describe_security_groups', { GroupNames: ['client'] });
    const permission = { IpProtocol: 'tcp', FromPort: 1, ToPort: 65_535, UserIdGroupPairs: [{ GroupId: group?.GroupId, UserId: group?.OwnerId }] };
    await change('authorize', permission);
    await waitUntil('the client is let in', { timeoutMs: 20_000 }, () => reaches(client, web));
    expect(await reaches(stranger, web)).toBe(false);
    await change('revoke', permission);
    await waitUntil('the client is shut out', { timeoutMs: 20_000 }, async () => !(await reaches(client, web)));
  });
});

/** What a guest may be let in by: each once, all at the same time. UDP is answered by the kernel, for nobody listens. */
const ways = {
  'tcp 8080': (to: string) => `timeout 2 nc ${to} 8080 < /dev/null > /dev/null`,
  'tcp 8081': (to: string) => `timeout 2 nc ${to} 8081 < /dev/null > /dev/null`,
  'udp 9000': (to: string) => `traceroute -n -q 1 -m 1 -w 2 -p 8999 ${to} | grep -q ' ms'`,
  'udp 9001': (to: string) => `traceroute -n -q 1 -m 1 -w 2 -p 9000 ${to} | grep -q ' ms'`,
  ping: (to: string) => `ping -c 1 -W 2 ${to} > /dev/null`,
} as const;
type Way = keyof typeof ways;

async function waysIn(from: Guest): Promise<string[]> {
  const each = Object.entries(ways).map(([way, command]) => `(${command(web.login.address)} && echo '${way}') 2> /dev/null &`);
  return (await ssh(cloud, from.login, `${each.join(' ')} wait`)).split('\n').filter((line) => line !== '').toSorted();
}

describe('N17: of four guests of two projects', () => {
  const everyWay = Object.keys(ways) as Way[];
  const range = (guest: () => Guest) => () => ({ IpRanges: [{ CidrIp: `${guest().login.address}/32` }] });
  const everybody = () => ({ IpRanges: [{ CidrIp: '0.0.0.0/0' }] });
  const group = (boto3: () => Boto3, name: string) => async () => {
    type Shown = { readonly GroupId: string; readonly OwnerId: string };
    const { SecurityGroups: [found] } = await boto3().call<{ SecurityGroups: Shown[] }>('ec2', 'describe_security_groups', { GroupNames: [name] });
    return { UserIdGroupPairs: [{ GroupId: found?.GroupId, UserId: found?.OwnerId }] };
  };
  const [clients, friends, strange] = [group(() => own, 'client'), group(() => other, 'friends'), group(() => other, 'strange')];
  const of = (IpProtocol: string, FromPort: number, ToPort: number) => ({ IpProtocol, FromPort, ToPort });
  type Source = () => Promise<object> | object;
  /** Who is let in by what, in the order client, stranger, friend. */
  const matrix: readonly (readonly [string, object | readonly object[], Source, readonly [readonly Way[], readonly Way[], readonly Way[]]])[] = [
    ['TCP of one port, for everybody', of('tcp', 8080, 8080), everybody, [['tcp 8080'], ['tcp 8080'], ['tcp 8080']]],
    ['TCP of a range of ports, for an address', of('tcp', 8000, 8081), range(() => client), [['tcp 8080', 'tcp 8081'], [], []]],
    ['TCP of all ports, for a group of another project by its owner', of('tcp', 0, 65_535), strange, [[], ['tcp 8080', 'tcp 8081'], []]],
    ['UDP of one port, for an address', of('udp', 9000, 9000), range(() => friend), [[], [], ['udp 9000']]],
    ['UDP of a range of ports, for a group', of('udp', 8999, 9001), clients, [['udp 9000', 'udp 9001'], [], []]],
    ['ICMP of the type of pings, for everybody', of('icmp', 8, -1), everybody, [['ping'], ['ping'], ['ping']]],
    ['ICMP of another type, and TCP of one port', [of('icmp', 13, -1), of('tcp', 8081, 8081)], everybody, [['tcp 8081'], ['tcp 8081'], ['tcp 8081']]],
    ['ICMP of every type, for a group of another project by its owner', of('icmp', -1, -1), friends, [[], [], ['ping']]],
    ['everything, for a group', of('-1', -1, -1), clients, [everyWay, [], []]],
    ['everything, for a group of another project by its owner', of('-1', -1, -1), friends, [[], [], everyWay]],
    ['everything, for an address', of('-1', -1, -1), range(() => stranger), [[], everyWay, []]],
  ];

  it.each(matrix)('%s lets in who and what it says, and nobody else by anything else', async (_, protocol, source, expected) => {
    const from = await source();
    const permissions = [protocol].flat().map((one) => ({ ...one, ...from }));
    const wanted = expected.map((some) => some.toSorted());
    const seen = () => Promise.all([client, stranger, friend].map(waysIn));
    await change('authorize', ...permissions);
    await waitFor(`it is ${JSON.stringify(wanted)}`, { timeoutMs: 20_000 }, async () => {
      const now = await seen();
      if (JSON.stringify(now) !== JSON.stringify(wanted)) throw new Error(JSON.stringify(now));
      return now;
    });
    await change('revoke', ...permissions);
    await waitUntil('nobody is let in', { timeoutMs: 20_000 }, async () => (await seen()).flat().length === 0);
  });
});

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter((word) => word !== '').map(Number);
}

/** Does what that process has started run nft at this moment? */
async function runsNft(pid: number): Promise<boolean> {
  const grandchildren = (await Promise.all((await childrenOf(pid)).map(childrenOf))).flat();
  const names = await Promise.all(grandchildren.map((child) => readFile(`/proc/${child}/comm`, 'utf8').catch(() => '')));
  return names.includes('nft\n');
}

it('N11: a role that is killed in the midst of applying rules has them right when it is back; no ping is lost, and rules of others stay', async () => {
  const foreign = 'table inet other {\n\tchain input {\n\t\ttcp dport 9 drop\n\t}\n}\n';
  await cloud.run('nft', ['-f', '-'], { input: foreign });
  const pings = { IpProtocol: 'icmp', FromPort: 8, ToPort: -1, IpRanges: [{ CidrIp: '0.0.0.0/0' }] };
  const added = { IpProtocol: 'tcp', FromPort: 8_088, ToPort: 8_088, IpRanges: [{ CidrIp: '0.0.0.0/0' }] };
  await change('authorize', pings);
  await waitUntil('pings are let in', { timeoutMs: 60_000 }, async () => (await waysIn(client)).includes('ping'));
  const flood = ssh(cloud, client.login, `ping -i 0.2 -c 150 -W 2 ${web.login.address} | tail -2`, 120_000);
  const atIt = waitFor('it applies rules', { timeoutMs: 30_000, pollMs: 0 }, async () => (await runsNft(cloud.pid() ?? 0)) || undefined);
  await change('authorize', added);
  await atIt;
  await cloud.kill9();
  await cloud.start();
  const applied = await rulesInForce(cloud.run);
  expect(applied).toContain('tcp dport 8088 accept');
  await cloud.kill9();
  await cloud.start();
  expect(await rulesInForce(cloud.run)).toBe(applied);
  expect(await flood).toContain(' 0% packet loss');
  expect((await cloud.run('nft', ['list', 'table', 'inet', 'other'])).stdout).toBe(foreign);
  await change('revoke', pings, added);
});

describe('guests that are no friends', () => {
  it('each reads its own metadata only', async () => {
    const read = (guest: Guest, path: string) => ssh(cloud, guest.login, `/sbin/metadata token > /dev/null; /sbin/metadata get ${path}`);
    expect(await read(web, 'meta-data/instance-id')).toBe(web.id);
    expect(await read(stranger, 'meta-data/instance-id')).toBe(stranger.id);
    expect(await read(stranger, 'user-data')).toContain('secret of stranger');
    // A token of another guest is worth nothing.
    const token = await ssh(cloud, web.login, '/sbin/metadata token');
    const headers = `X-aws-ec2-metadata-token: ${token}\\r\\nX-Forwarded-For: ${web.login.address}`;
    const asked = await ssh(cloud, stranger.login, `printf 'GET /latest/user-data HTTP/1.0\\r\\n${headers}\\r\\n\\r\\n' | nc 169.254.169.254 80`);
    expect(asked).toContain(' 401 ');
    expect(asked).not.toContain('secret');
    await expect(other.call('ec2', 'describe_instance_attribute', { InstanceId: web.id, Attribute: 'userData' }))
      .rejects.toMatchObject({ code: 'InvalidInstanceID.NotFound' });
  });

  it('a guest that takes the address of another, or another MAC, speaks with nobody', async () => {
    // Run inside without us, because we cannot reach it meanwhile; it puts itself right again.
    const steal = async (how: string, back: string, sourceAddress: string) => {
      const script = [
        'exec > /run/stolen 2>&1', how, `echo before; ping -c 2 -W 1 -I ${sourceAddress} 10.45.0.1 > /dev/null && echo reached gateway`,
        `printf 'GET /latest/user-data HTTP/1.0\\r\\n\\r\\n' | timeout 3 nc 169.254.169.254 80`, 'echo after', back, 'echo done',
      ].join('\n');
      await ssh(cloud, stranger.login, `cat > /run/steal <<'END'\n${script}\nEND\nsh -c 'setsid sh /run/steal &' > /dev/null 2>&1 < /dev/null`);
      await waitUntil('it is itself again', { timeoutMs: 40_000 }, async () => (await ssh(cloud, stranger.login, 'cat /run/stolen')).endsWith('done'));
      return ssh(cloud, stranger.login, 'cat /run/stolen');
    };
    const itself = stranger.login.address;
    const routes = 'ip route replace 169.254.169.254 via 10.45.0.1; ip route replace default via 10.45.0.1';
    const restore = (address: string) => `ip addr flush dev eth0; ip addr add ${address}/20 dev eth0; ${routes}`;
    // The check can succeed: as itself it reaches both.
    const honest = await steal('true', 'true', itself);
    expect(honest).toContain('reached gateway');
    expect(honest).toContain('secret of stranger');
    for (const stolen of [web.login.address, '10.45.7.7']) {
      const said = await steal(restore(stolen), restore(itself), stolen);
      expect(said).toMatch(/before[\s\S]*after[\s\S]*done/);
      expect(said).not.toContain('reached gateway');
      expect(said).not.toContain('secret');
    }
    const mac = await ssh(cloud, stranger.login, 'cat /sys/class/net/eth0/address');
    const setMac = (to: string) => `ip link set eth0 down; ip link set eth0 address ${to}; ip link set eth0 up; ${restore(itself)}`;
    const said = await steal(setMac('52:54:00:12:34:56'), setMac(mac), itself);
    expect(said).toMatch(/before[\s\S]*after[\s\S]*done/);
    expect(said).not.toContain('reached gateway');
    expect(said).not.toContain('secret');
    // The victim kept its address all along.
    expect(await ssh(cloud, web.login, 'hostname')).not.toBe('');
  });

  it('leaves nothing', async () => {
    await own.call('ec2', 'terminate_instances', { InstanceIds: [web.id, client.id] });
    await other.call('ec2', 'terminate_instances', { InstanceIds: [stranger.id, friend.id] });
    await own.call('ec2', 'wait:instance_terminated', { InstanceIds: [web.id, client.id], WaiterConfig: { Delay: 1, MaxAttempts: 60 } });
    await other.call('ec2', 'wait:instance_terminated', { InstanceIds: [stranger.id, friend.id], WaiterConfig: { Delay: 1, MaxAttempts: 60 } });
    await expectNoLeftovers(cloud);
  });
});
