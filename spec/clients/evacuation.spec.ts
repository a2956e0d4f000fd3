// Hosts that are lost for good: their instances go on elsewhere, from disks on a folder that the hosts share, or begin anew; who asks from outside
// finds them by the same address. Real QEMU guests of two whole hosts, one of which loses its power.
import { spawn } from 'node:child_process';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openBoto3, ssh, untilSsh, writeKey, type Boto3, type Login } from '../support/clients.ts';
import { expectNoLeftoversOnHosts } from '../support/leftovers.ts';
import { waitUntil } from '../support/patience.ts';
import { startHosts, type Hosts, type HostsOptions } from '../support/three-hosts.ts';

interface Shown {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly PrivateIpAddress?: string;
}

const quick = { WaiterConfig: { Delay: 1, MaxAttempts: 90 } };
let cloud: Hosts;
let boto3: Boto3;
let imageId = '';
let keyFile = '';
const ids: string[] = [];
const ec2 = <T = Record<string, unknown>>(method: string, parameters: Record<string, unknown> = {}) => boto3.call<T>('ec2', method, parameters);

async function shown(id: string): Promise<Shown | undefined> {
  const { Reservations: [reservation] } = await ec2<{ Reservations: { Instances: Shown[] }[] }>('describe_instances', { InstanceIds: [id] });
  return reservation?.Instances[0];
}

const stateOf = async (id: string): Promise<string | undefined> => (await shown(id))?.State.Name;

async function hostOf(id: string): Promise<string> {
  const database = await cloud.openDatabase();
  try {
    const rows = (await database.db.execute(sql`select host from instances where id = ${id}`)) as unknown as { host: string }[];
    return rows[0]?.host ?? '';
  } finally {
    await database.close();
  }
}

/** An instance on each host, so that one is on h2. */
async function launchOnBoth(): Promise<{ readonly id: string; readonly login: Login }> {
  const { Instances } = await ec2<{ Instances: Shown[] }>('run_instances', {
    ImageId: imageId, InstanceType: 't2.nano', MinCount: 2, MaxCount: 2, KeyName: 'key',
  });
  const launched = Instances.map(({ InstanceId }) => InstanceId);
  ids.push(...launched);
  await ec2('wait:instance_running', { InstanceIds: launched, ...quick });
  for (const id of launched) {
    if ((await hostOf(id)) !== 'h2') continue;
    const login = { address: (await shown(id))?.PrivateIpAddress ?? '', keyFile };
    await untilSsh(cloud, login, 'true');
    return { id, login };
  }
  throw new Error('none of them is on h2');
}

async function lose(id: string): Promise<void> {
  // A client would wait for an answer on a connection that nobody ends: an operator's balancer looks after that.
  await cloud.named('h2').roles.get('api')?.kill9();
  await cloud.named('h2').pullPlug();
  await waitUntil('it is not shown running', { timeoutMs: 30_000 }, async () => (await stateOf(id)) === 'stopped');
}

const untilRunsOn = (id: string, host: string) =>
  waitUntil(`it runs on ${host}`, { timeoutMs: 60_000 }, async () => (await hostOf(id)) === host && (await stateOf(id)) === 'running');

async function open(name: string, options: HostsOptions): Promise<void> {
  cloud = await startHosts(name, { count: 2, ...options, settings: { NOVACT_SERVICE_DOWN_SECONDS: '5' } });
  boto3 = openBoto3(cloud);
  const { Images } = await ec2<{ Images: { ImageId: string }[] }>('describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  imageId = Images[0]?.ImageId ?? '';
  keyFile = await writeKey(cloud, 'key', (await ec2<{ KeyMaterial: string }>('create_key_pair', { KeyName: 'key' })).KeyMaterial);
  await ec2('authorize_security_group_ingress', { GroupName: 'default', IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' });
}

async function close(): Promise<void> {
  await boto3?.close();
  await cloud?.down();
  ids.length = 0;
}

async function terminateAll(): Promise<void> {
  await ec2('terminate_instances', { InstanceIds: ids });
  await ec2('wait:instance_terminated', { InstanceIds: ids, ...quick });
  await expectNoLeftoversOnHosts(cloud, { hadOutages: true, timeoutMs: 45_000 });
}

interface Outside {
  readonly address: string;
  /** Resolves at the next answer, with the seconds since the last one before that moment. */
  untilHeard(): Promise<number>;
  stop(): void;
}

/** Gives an instance a floating address, and asks for it from outside of the cloud, five times a second. */
async function openOutside(name: string, instanceId: string): Promise<Outside> {
  await cloud.novact('manage', 'floating', 'create', '192.168.77.64/29');
  const { PublicIp: address } = await ec2<{ PublicIp: string }>('allocate_address');
  await ec2('authorize_security_group_ingress', { GroupName: 'default', IpProtocol: 'icmp', FromPort: 8, ToPort: -1, CidrIp: '0.0.0.0/0' });
  await ec2('associate_address', { InstanceId: instanceId, PublicIp: address });
  const child = spawn('ip', ['netns', 'exec', `${name}-net`, 'ping', '-n', '-i', '0.2', address], { stdio: ['ignore', 'pipe', 'ignore'] });
  const answers: number[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (text.includes('bytes from')) answers.push(performance.now());
  });
  return {
    address,
    async untilHeard() {
      const [since, before] = [performance.now(), answers.at(-1) ?? performance.now()];
      await waitUntil(`${address} answers`, { timeoutMs: 180_000, pollMs: 20 }, async () => (answers.at(-1) ?? 0) > since);
      return (answers.find((at) => at > since) ?? since) / 1_000 - before / 1_000;
    },
    stop: () => void child.kill('SIGKILL'),
  };
}

const bootOf = (login: Login): Promise<string> => ssh(cloud, login, 'cat /proc/sys/kernel/random/boot_id');

afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(`${cloud?.tail() ?? 'there is no cloud'}\n`);
});

describe('the instances of a host that is lost for good, on disks that the hosts share', () => {
  let kept: { readonly id: string; readonly login: Login };
  let outside: Outside | undefined;
  beforeAll(() => open('nvevac', { secured: true, instancesShared: true }));
  afterAll(async () => {
    outside?.stop();
    await close();
  });

  it('N15: go on elsewhere with what they had written, and their floating addresses with them', async () => {
    kept = await launchOnBoth();
    await ssh(cloud, kept.login, 'echo precious > /root/file; sync');
    outside = await openOutside('nvevac', kept.id);
    await outside.untilHeard();
    await lose(kept.id);
    const heard = outside.untilHeard();
    await expect(cloud.novact('manage', 'host', 'evacuate', 'h2', '--rebuild')).rejects.toThrow('nothing is lost');
    await cloud.novact('manage', 'host', 'evacuate', 'h2');
    const tookMs = await untilRunsOn(kept.id, 'h1');
    await untilSsh(cloud, kept.login, 'true');
    console.log(`evacuated from shared disks: running after ${tookMs} ms`);
    expect(await ssh(cloud, kept.login, 'cat /root/file')).toBe('precious');
    console.log(`from outside its floating address was not heard for ${(await heard).toFixed(1)} s, the boot of the guest included`);
  });

  it('are left alone by their old host when it returns', async () => {
    const before = await bootOf(kept.login);
    const old = cloud.named('h2');
    await old.plugIn();
    await waitUntil('h2 is up', { timeoutMs: 60_000 }, async () => /^state +up/m.test(await cloud.novact('manage', 'host', 'show', 'h2')));
    expect(await old.machine.virsh('qemu', 'list', '--all', '--name')).toBe('');
    expect(await hostOf(kept.id)).toBe('h1');
    expect(await bootOf(kept.login)).toBe(before);
    expect((await old.run('ip', ['-br', 'address'])).stdout).not.toContain(outside?.address);
    await outside?.untilHeard();
  });

  it('move back live, without their disks being copied', async () => {
    const before = await bootOf(kept.login);
    await cloud.novact('manage', 'instance', 'migrate', kept.id, '--live', '--to', 'h2');
    await untilRunsOn(kept.id, 'h2');
    expect(await untilSsh(cloud, kept.login, 'cat /root/file')).toBe('precious');
    expect(await bootOf(kept.login)).toBe(before);
  });

  it('leave nothing when all is terminated', terminateAll);
});

describe('the instances of a host that is lost for good, with its disks', () => {
  beforeAll(() => open('nvanew', { guests: 'lxc' }));
  afterAll(close);

  it('begin anew from their image, under their address, and the old host clears away what it has of them', async () => {
    const lost = await launchOnBoth();
    await ssh(cloud, lost.login, 'echo precious > /root/file; sync');
    await lose(lost.id);
    await expect(cloud.novact('manage', 'host', 'evacuate', 'h2')).rejects.toThrow('--rebuild');
    await cloud.novact('manage', 'host', 'evacuate', 'h2', '--rebuild');
    await untilRunsOn(lost.id, 'h1');
    await untilSsh(cloud, lost.login, 'true');
    expect(await ssh(cloud, lost.login, 'ls /root/file 2>&1 || true')).toContain('No such file');
    await cloud.named('h2').plugIn();
    await terminateAll();
  });
});
