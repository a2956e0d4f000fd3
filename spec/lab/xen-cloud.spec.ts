// A cloud whose compute host is the first domain of a real Xen: compute and network run there as an operator starts them, everything else
// here; a user runs an instance, logs in to it, reads its console, and ends it.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RoleName } from '../../src/config/options.ts';
import { aws, ssh, untilSsh, writeKey, type ClientPlace } from '../support/clients.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { waitFor } from '../support/patience.ts';
import { prepareRole, type RoleProcess } from '../support/role-process.ts';
import { startSharedServers, type SharedServers } from '../support/three-hosts-services.ts';

const bootMs = 300_000;
const guests = '10.45.0.0/20';
let lab: Lab;
let servers: SharedServers;
let place: ClientPlace;
const roles: RoleProcess[] = [];

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly PrivateIpAddress?: string;
  readonly Hypervisor: string;
}

const ec2 = <T>(...args: readonly string[]) => aws<T>(place, 'ec2', ...args);
const virsh = async (...args: readonly string[]) => (await lab.run('virsh', ['-q', '-c', 'xen:///system', ...args])).stdout.trim();

async function instance(id: string): Promise<Instance> {
  const { Reservations: [reservation] } = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe-instances', '--instance-ids', id);
  const [found] = reservation?.Instances ?? [];
  if (found === undefined) throw new Error(`${id} is not shown`);
  return found;
}

const reaches = (id: string, state: string) =>
  waitFor(`${id} is ${state}`, { timeoutMs: bootMs, pollMs: 2_000 }, async () => ((await instance(id)).State.Name === state ? instance(id) : undefined));

async function startRoles(settings: Readonly<Record<string, string>>): Promise<void> {
  const start = async (role: RoleName, host: string, inLab: boolean) => {
    const own = { ...settings, NOVACT_HOST: host, NOVACT_STATE: join(lab.shared, host) };
    const inside = { ...own, NOVACT_STATE: '/var/lib/novact', NOVACT_ADDRESS: lab.address, NOVACT_LIBVIRT_URI: 'xen:///system' };
    const where = inLab ? { settings: inside, wrap: lab.prefix({ ...inside, NO_COLOR: 'yes' }) } : { settings: own };
    const process = await prepareRole({ role, host, namespace: lab.namespace, readyMsMax: bootMs, ...where });
    roles.push(process);
    // As systemd does: in there a step of a start may take longer than it may.
    await process.start().catch(() => process.start());
  };
  for (const role of ['objectstore', 'scheduler', 'api'] as const) await start(role, 'head', false);
  for (const role of ['network', 'compute'] as const) await start(role, 'xen', true);
}

beforeAll(async () => {
  lab = await startLab('lab-xen-cloud', { xen: true, memoryMiB: 2560, guestsMiB: 900 });
  const folder = join(lab.shared, 'servers');
  await mkdir(folder, { mode: 0o755 });
  servers = await startSharedServers({
    namespace: lab.namespace, folder, address: lab.gateway, network: '10.44.0.0/24', apis: [`${lab.gateway}:18773`],
  });
  const masterKey = join(lab.shared, 'master.key');
  await writeFile(masterKey, randomBytes(32), { mode: 0o600 });
  await startRoles({
    NOVACT_DATABASE_URL: servers.databaseUrl, NOVACT_REDIS_URL: servers.redisUrl, NOVACT_MASTER_KEY: masterKey, NOVACT_LOG_LEVEL: 'info',
    NOVACT_API_PORT: '18773', NOVACT_EC2_URL: `http://${lab.gateway}:8773`, NOVACT_S3_PORT: '3333', NOVACT_S3_URL: `http://${lab.gateway}:3333`,
    NOVACT_BIND: lab.gateway, NOVACT_MEMORY_RESERVED_MIB: '0', NOVACT_DISK_RESERVED_GIB: '0',
  });
  await lab.outside('ip', ['route', 'add', guests, 'via', lab.address]);
  const state = join(lab.shared, 'head');
  const lines = [...(await readFile(join(state, 'novarc'), 'utf8')).matchAll(/^export ([A-Z0-9_]+)=(.*)$/gm)];
  const environment = Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value.replace(/^'(.*)'$/, '$1')]));
  place = {
    folder: lab.shared, state, environment, host: lab,
    run: (command, args, options = {}) =>
      lab.outside(command, args, { cwd: lab.shared, ...options, env: { HOME: lab.shared, ...environment, ...options.env } }),
  };
});

afterAll(async () => {
  await Promise.all(roles.map((role) => role.kill9()));
  await servers?.close();
  await lab?.down();
});

describe('a compute host under Xen', () => {
  it('runs an instance that its user logs in to, and leaves nothing of it', async () => {
    const { Images: [image] } = await ec2<{ Images: { ImageId: string }[] }>('describe-images', '--filters', 'Name=image-type,Values=machine');
    const { KeyMaterial } = await ec2<{ KeyMaterial: string }>('create-key-pair', '--key-name', 'key');
    const keyFile = await writeKey(place, 'key', KeyMaterial);
    await ec2('authorize-security-group-ingress', '--group-name', 'default', '--protocol', 'tcp', '--port', '22', '--cidr', '0.0.0.0/0');
    const { Instances: [asked] } = await ec2<{ Instances: Instance[] }>(
      'run-instances', '--image-id', image?.ImageId ?? '', '--instance-type', 't2.nano', '--key-name', 'key',
      '--user-data', '#!/bin/sh\necho told > /run/told\n',
    );
    const id = asked?.InstanceId ?? '';
    const running = await reaches(id, 'running');
    expect(running.Hypervisor).toBe('xen');
    expect(await virsh('list', '--name')).toContain(id);
    const login = { address: running.PrivateIpAddress ?? '', keyFile };
    expect(await untilSsh(place, login, 'cat /sys/hypervisor/type', bootMs)).toBe('xen');
    await waitFor('user data ran', { timeoutMs: bootMs }, async () => ((await ssh(place, login, 'cat /run/told')) === 'told' ? true : undefined));
    expect(await ssh(place, login, 'cat /var/lib/novact/instance-id')).toBe(id);
    const { Output } = await ec2<{ Output: string }>('get-console-output', '--instance-id', id, '--latest');
    expect(Output).toContain('guest: ready at');

    const bootOf = () => ssh(place, login, 'cat /proc/sys/kernel/random/boot_id');
    const boot = await bootOf();
    await ec2('reboot-instances', '--instance-ids', id);
    await waitFor('the guest restarted', { timeoutMs: bootMs, pollMs: 2_000 }, async () => ((await bootOf()) === boot ? undefined : true));
    expect((await instance(id)).State.Name).toBe('running');

    await ec2('terminate-instances', '--instance-ids', id);
    await reaches(id, 'terminated');
    expect(await virsh('list', '--all', '--name')).toBe('Domain-0');
    expect((await lab.run('ls', ['/var/lib/novact/instances'])).stdout.trim()).toBe('');
  });
});
