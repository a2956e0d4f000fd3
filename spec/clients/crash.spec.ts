// What a cloud must survive: novact killed at any moment of a launch, libvirtd killed under running guests, a guest destroyed behind its
// back, a DHCP server that dies; and how soon it is there again. The moments are drawn from a seed, which is printed.
//   NOVACT_CRASH_ROUNDS   rounds of killing (default 3)
//   NOVACT_CRASH_GUESTS   lxc (default) or qemu
//   NOVACT_CRASH_SEED     default 1
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBoto3, ssh, untilSsh, writeKey, type Boto3 } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { expectNoLeftovers, hostLeftovers } from '../support/leftovers.ts';
import { waitFor, waitUntil } from '../support/patience.ts';

interface Instance {
  readonly InstanceId: string;
  readonly State: { readonly Name: string };
  readonly StateReason?: { readonly Code: string; readonly Message: string };
  readonly PrivateIpAddress: string;
}

const rounds = Number(process.env['NOVACT_CRASH_ROUNDS'] ?? 3);
const guests = process.env['NOVACT_CRASH_GUESTS'] === 'qemu' ? 'qemu' : 'lxc';
const seed = Number(process.env['NOVACT_CRASH_SEED'] ?? 1);
/** A launch of two takes about this long. */
const windowMs = guests === 'qemu' ? 3_000 : 1_500;
const recoveryMs = 60_000;
const readyMsMax = 5_000;

let cloud: CloudProcess;
let boto3: Boto3;
let imageId: string;
let keyFile: string;
const ec2 = <T = Record<string, unknown>>(method: string, parameters: Record<string, unknown> = {}) => boto3.call<T>('ec2', method, parameters);

async function launch(count: number, image = imageId): Promise<string[]> {
  const answer = await ec2<{ Instances: Instance[] }>('run_instances', {
    ImageId: image, InstanceType: 'm1.tiny', KeyName: 'crash', MinCount: count, MaxCount: count,
  });
  return answer.Instances.map((instance) => instance.InstanceId);
}

/** The ready-made image under another id: no host has it in its cache yet, so that fetching it is a part of the launch. */
async function freshImage(name: string): Promise<string> {
  type Shown = { readonly KernelId?: string; readonly RamdiskId?: string; readonly ImageLocation: string };
  const { Images: [known] } = await ec2<{ Images: Shown[] }>('describe_images', { ImageIds: [imageId] });
  const { ImageId: fresh } = await ec2<{ ImageId: string }>('register_image', {
    Name: name, ImageLocation: known?.ImageLocation.replace(/^\d+\//, ''), KernelId: known?.KernelId, RamdiskId: known?.RamdiskId,
  });
  await ec2('wait:image_available', { ImageIds: [fresh], WaiterConfig: { Delay: 1, MaxAttempts: 60 } });
  return fresh;
}

async function describeAll(ids: readonly string[]): Promise<Instance[]> {
  const answer = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe_instances', { InstanceIds: ids });
  return answer.Reservations.flatMap((reservation) => reservation.Instances);
}

/** In ms. Says what it saw last when it gives up, and whether there was still a libvirtd. */
const untilAll = (ids: readonly string[], state: string, timeoutMs = recoveryMs) =>
  waitUntil(`${ids.length} instances are ${state}`, { timeoutMs }, async () => {
    const others = (await describeAll(ids)).filter((instance) => instance.State.Name !== state);
    if (others.length === 0) return true;
    const seen = others.map(({ InstanceId, State, StateReason }) => `${InstanceId} ${State.Name} ${StateReason?.Message ?? ''}`.trim());
    throw new Error(`${seen.join(', ')}; ${await cloud.host.libvirtdState()}`);
  });

async function terminateAll(ids: readonly string[]): Promise<void> {
  await ec2('terminate_instances', { InstanceIds: ids });
  await untilAll(ids, 'terminated');
  await expectNoLeftovers(cloud);
}

/** How long until it is ready, in ms. libvirt 9.0 may crash when a client of it dies in the middle of a call; systemd starts it again. */
async function startAgain(): Promise<number> {
  await cloud.host.startLibvirtd();
  return cloud.start();
}

/** What a guest has been since it booted: adopted guests keep it. */
const bootOf = (address: string) => ssh(cloud, { address, keyFile }, "awk '{ print $22 }' /proc/1/stat; cat /proc/sys/kernel/random/boot_id");

/** mulberry32: the same moments for the same seed. */
function randomFrom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-crash', { guests });
  boto3 = openBoto3(cloud);
  const { Images } = await ec2<{ Images: { ImageId: string }[] }>('describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  imageId = Images[0]?.ImageId ?? '';
  const { KeyMaterial } = await ec2<{ KeyMaterial: string }>('create_key_pair', { KeyName: 'crash' });
  keyFile = await writeKey(cloud, 'crash', KeyMaterial);
  await ec2('authorize_security_group_ingress', { GroupName: 'default', IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' });
});
afterAll(async () => {
  await boto3?.close();
  await cloud?.down();
});
onFailureShow(() => cloud);

describe(`novact killed with SIGKILL, ${guests} guests`, () => {
  it(`at a random moment of a launch, ${rounds} times: every instance comes to run, or ends with a reason, within a minute`, async () => {
    const random = randomFrom(seed);
    const recoveries: number[] = [];
    const lines: string[] = [];
    for (let round = 1; round <= rounds; round++) {
      const delayMs = Math.round(random() * windowMs);
      const image = await freshImage(`crash-${round}`);
      const ids = await launch(2, image);
      await pause(delayMs);
      const before = (await describeAll(ids)).map((instance) => instance.State.Name);
      await cloud.kill9();
      const startedAt = performance.now();
      const readyMs = await startAgain();
      await waitUntil('every instance runs or has ended', { timeoutMs: recoveryMs - readyMs }, async () =>
        (await describeAll(ids)).every((instance) => instance.State.Name === 'running' || instance.State.Name === 'terminated'));
      const recoveryTook = Math.round(performance.now() - startedAt);
      const after = await describeAll(ids);
      for (const instance of after.filter(({ State }) => State.Name === 'terminated')) expect(instance.StateReason?.Message ?? '').not.toBe('');
      for (const { PrivateIpAddress: address } of after.filter(({ State }) => State.Name === 'running')) await untilSsh(cloud, { address, keyFile }, 'true');
      await terminateAll(ids);
      await ec2('deregister_image', { ImageId: image });
      recoveries.push(recoveryTook);
      const states = after.map(({ State }) => State.Name).join(', ');
      lines.push(`${round}: killed ${delayMs} ms after the answer (${before.join(', ')}), ready in ${readyMs} ms, ${states} after ${recoveryTook} ms`);
    }
    console.log(`crash rounds with ${guests}, seed ${seed}: ${recoveries.length}/${rounds}, slowest ${Math.max(...recoveries)} ms\n${lines.join('\n')}`);
    expect(recoveries).toHaveLength(rounds);
  }, 60_000 + rounds * 100_000);

  it.each([5, 20, 40])('%i ms after a launch was asked for: asked again with its client token, there is one launch and no other', async (delayMs) => {
    const ClientToken = `asked-again-${delayMs}`;
    const parameters = { ImageId: imageId, InstanceType: 'm1.tiny', KeyName: 'crash', MinCount: 2, MaxCount: 2, ClientToken };
    const lost = ec2('run_instances', parameters).then(() => 'was answered', () => 'was not answered');
    await pause(delayMs);
    await cloud.kill9();
    console.log(`killed after ${delayMs} ms: the launch ${await lost}`);
    await startAgain();
    const { Instances } = await ec2<{ Instances: Instance[] }>('run_instances', parameters);
    const ids = Instances.map((instance) => instance.InstanceId);
    const Filters = [{ Name: 'client-token', Values: [ClientToken] }];
    const found = await ec2<{ Reservations: { Instances: Instance[] }[] }>('describe_instances', { Filters });
    expect(found.Reservations.flatMap((reservation) => reservation.Instances.map((instance) => instance.InstanceId)).toSorted()).toEqual(ids.toSorted());
    expect(ids).toHaveLength(2);
    await untilAll(ids, 'running');
    await terminateAll(ids);
  });

  it('during stop and terminate: what was wished happens', async () => {
    const [one = '', two = ''] = await launch(2);
    await untilAll([one, two], 'running');
    await ec2('stop_instances', { InstanceIds: [one], Force: true });
    await ec2('terminate_instances', { InstanceIds: [two] });
    await cloud.kill9();
    await startAgain();
    await untilAll([one], 'stopped');
    await untilAll([two], 'terminated');
    await terminateAll([one]);
  });

  it('leaves guests and their database alone: they are adopted, and it is ready in less than five seconds', async () => {
    const [id = ''] = await launch(1);
    await untilAll([id], 'running');
    const address = (await describeAll([id]))[0]?.PrivateIpAddress ?? '';
    await untilSsh(cloud, { address, keyFile }, 'true');
    const boot = await bootOf(address);
    await cloud.kill9();
    expect(await bootOf(address)).toBe(boot);
    const afterKillMs = await startAgain();
    expect(await bootOf(address)).toBe(boot);
    expect(await cloud.stop()).toBe(0);
    expect(await bootOf(address)).toBe(boot);
    const afterStopMs = await startAgain();
    expect((await describeAll([id]))[0]?.State.Name).toBe('running');
    console.log(`ready: ${afterKillMs} ms after SIGKILL, ${afterStopMs} ms after a clean stop`);
    // The least of three: what else the machine does at the moment must not count.
    const all = [afterStopMs];
    while (Math.min(...all) >= readyMsMax && all.length < 3) {
      expect(await cloud.stop()).toBe(0);
      all.push(await startAgain());
    }
    expect(Math.min(...all)).toBeLessThan(readyMsMax);
    await terminateAll([id]);
  });
});

describe('the parts that novact does not run itself', () => {
  it('libvirtd killed and started again: guests go on and can be worked with', async () => {
    const [id = ''] = await launch(1);
    await untilAll([id], 'running');
    const address = (await describeAll([id]))[0]?.PrivateIpAddress ?? '';
    await untilSsh(cloud, { address, keyFile }, 'true');
    const boot = await bootOf(address);
    await cloud.host.killLibvirtd();
    expect(await bootOf(address)).toBe(boot);
    expect((await describeAll([id]))[0]?.State.Name).toBe('running');
    await cloud.host.startLibvirtd();
    expect(await bootOf(address)).toBe(boot);
    await ec2('stop_instances', { InstanceIds: [id], Force: true });
    await untilAll([id], 'stopped');
    await terminateAll([id]);
  });

  it('a guest destroyed behind our back is shown as stopped, with a reason, and can be started again', async () => {
    const [id = ''] = await launch(1);
    await untilAll([id], 'running');
    await cloud.host.virsh(guests, 'destroy', id);
    const tookMs = await untilAll([id], 'stopped', 35_000);
    console.log(`a destroyed guest was noticed after ${tookMs} ms`);
    expect((await describeAll([id]))[0]?.StateReason).toMatchObject({ Code: 'Server.InternalError', Message: expect.stringContaining('outside novact') });
    await ec2('start_instances', { InstanceIds: [id] });
    await untilAll([id], 'running');
    await terminateAll([id]);
  });

  it('a DHCP server that is killed comes back, and guests get addresses', async () => {
    const pidFile = join(cloud.state, 'networks/novact0/dnsmasq.pid');
    const killed = Number(await readFile(pidFile, 'utf8'));
    process.kill(killed, 'SIGKILL');
    const tookMs = await waitUntil('another server runs', { timeoutMs: 25_000 }, async () => {
      const pid = Number(await readFile(pidFile, 'utf8'));
      return pid !== killed && (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'dnsmasq';
    });
    console.log(`dnsmasq was back after ${tookMs} ms`);
    const [id = ''] = await launch(1);
    await untilAll([id], 'running');
    await untilSsh(cloud, { address: (await describeAll([id]))[0]?.PrivateIpAddress ?? '', keyFile }, 'true');
    await waitFor('its lease is written', { timeoutMs: 30_000 }, async () => ((await hostLeftovers(cloud)).leases.length > 0 ? true : undefined));
    await terminateAll([id]);
  });

  it('a database that is killed comes back, and nothing is lost', async () => {
    const [id = ''] = await launch(1);
    await untilAll([id], 'running');
    const [postmaster] = (await readFile(join(cloud.state, 'postgres/data/postmaster.pid'), 'utf8')).split('\n');
    process.kill(Number(postmaster), 'SIGKILL');
    const tookMs = await waitUntil('the API answers again', { timeoutMs: 30_000 }, async () => (await describeAll([id]))[0]?.State.Name === 'running');
    console.log(`the API answered ${tookMs} ms after its database was killed`);
    await terminateAll([id]);
  });
});
