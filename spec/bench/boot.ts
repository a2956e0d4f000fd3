// From RunInstances to the first line on the guest's serial port and to the greeting of its ssh server, beside bare libvirt with the very
// same guest: the domain that novact made, on a fresh overlay, on the same bridge and port, by `virsh create`. Both in turn, so that what
// else the machine does hits both. Root only. `npm run bench -- boot`; NOVACT_BENCH_ROUNDS (default 7) says how often.
import { spawn } from 'node:child_process';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openBoto3, type Boto3 } from '../support/clients.ts';
import { startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { waitFor } from '../support/patience.ts';
import { atMost, median, type BenchRow } from './row.ts';

/** Seconds since the wish was uttered. */
interface Boot {
  readonly serial: number;
  readonly ssh: number;
}

interface Round {
  readonly novact: Boot;
  readonly answer: number;
  readonly bare: Boot;
  readonly overlay: number;
}

interface Guest {
  readonly id: string;
  readonly address: string;
}

type Described = { Reservations: { Instances: { InstanceId: string; PrivateIpAddress?: string; State: { Name: string } }[] }[] };

const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 7);
const bootTimeoutMs = 120_000;
const seconds = (since: number): number => (performance.now() - since) / 1_000;
const shortNumbers = (_key: string, value: unknown): unknown => (typeof value === 'number' ? Number(value.toFixed(3)) : value);

export async function run(): Promise<readonly BenchRow[]> {
  const cloud = await startCloudProcess('bench-boot', { guests: 'qemu', settings: { NOVACT_LOG_LEVEL: process.env['NOVACT_BENCH_LOG'] ?? 'info' } });
  const boto3 = openBoto3(cloud);
  try {
    const imageId = await prepare(boto3);
    await measure(cloud, boto3, imageId); // the first fetches the image into the cache
    const measured: Round[] = [];
    for (let round = 0; round < rounds; round += 1) {
      measured.push(await measure(cloud, boto3, imageId));
      console.error(`  boot, round ${round + 1} of ${rounds}: ${JSON.stringify(measured.at(-1), shortNumbers)}`);
    }
    return rowsOf(measured);
  } catch (error) {
    throw new Error(`the benchmark stopped\n${await cloud.tail()}`, { cause: error });
  } finally {
    await boto3.close();
    await cloud.down();
  }
}

async function prepare(boto3: Boto3): Promise<string> {
  const found = await boto3.call<{ Images: { ImageId: string }[] }>('ec2', 'describe_images', { Filters: [{ Name: 'name', Values: ['novact-tiny'] }] });
  const rule = { GroupName: 'default', IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' };
  await boto3.call('ec2', 'authorize_security_group_ingress', rule);
  const [image] = found.Images;
  if (image === undefined) throw new Error('this cloud has no novact-tiny: run bin/bootstrap');
  return image.ImageId;
}

async function measure(cloud: CloudProcess, boto3: Boto3, imageId: string): Promise<Round> {
  const startedAt = performance.now();
  const wish = { ImageId: imageId, InstanceType: 'm1.tiny', MinCount: 1, MaxCount: 1 };
  const launched = await boto3.call<{ Instances: { InstanceId: string }[] }>('ec2', 'run_instances', wish);
  const answer = seconds(startedAt);
  const id = launched.Instances[0]?.InstanceId ?? '';
  const novact = await watchBoot(cloud, { id, address: addressOf(cloud, boto3, id) }, startedAt);
  await boto3.call('ec2', 'stop_instances', { InstanceIds: [id], Force: true });
  await stateIs(boto3, id, 'stopped');
  const { boot: bare, overlay } = await bareBoot(cloud, { id, address: await addressOf(cloud, boto3, id) });
  await boto3.call('ec2', 'terminate_instances', { InstanceIds: [id] });
  await stateIs(boto3, id, 'terminated');
  return { novact, answer, bare, overlay };
}

/** The domain as novact has defined it, by virsh alone; its disk is made anew, so that a first boot is compared with a first boot. */
async function bareBoot(cloud: CloudProcess, guest: Guest): Promise<{ boot: Boot; overlay: number }> {
  const xmlFile = join(cloud.folder, 'bare.xml');
  await writeFile(xmlFile, await cloud.host.virsh('qemu', 'dumpxml', '--inactive', guest.id));
  const disk = join(cloud.state, 'instances', guest.id, 'root.qcow2');
  const info = JSON.parse((await cloud.run('qemu-img', ['info', '--output=json', disk])).stdout) as Record<string, unknown>;
  const [base, format, size] = [info['full-backing-filename'], info['backing-filename-format'], info['virtual-size']].map(String);
  await Promise.all([rm(disk), rm(consoleOf(cloud, guest.id), { force: true })]);
  const overlayAt = performance.now();
  await cloud.run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base ?? '', '-F', format ?? '', disk, size ?? '']);
  const overlay = seconds(overlayAt);
  const startedAt = performance.now();
  const created = cloud.host.virsh('qemu', 'create', xmlFile);
  const boot = await watchBoot(cloud, { id: guest.id, address: Promise.resolve(guest.address) }, startedAt);
  await created;
  return { boot, overlay };
}

const consoleOf = (cloud: CloudProcess, id: string): string => join(cloud.state, 'instances', id, 'console.log');

async function watchBoot(cloud: CloudProcess, guest: { id: string; address: Promise<string> }, startedAt: number): Promise<Boot> {
  const line = async () => ((await stat(consoleOf(cloud, guest.id))).size > 0 ? seconds(startedAt) : undefined);
  const [serial, ssh] = await Promise.all([
    waitFor('a first serial line', { timeoutMs: bootTimeoutMs, pollMs: 20 }, line),
    guest.address.then(async (address) => {
      await untilGreeting(cloud, address);
      return seconds(startedAt);
    }),
  ]);
  return { serial, ssh };
}

/** Connects again and again, inside the namespace, until the peer says SSH-2.0. */
const greetingProgram = `
const { connect } = require('node:net');
const again = () => setTimeout(attempt, 50);
function attempt() {
  const socket = connect({ host: process.argv[1], port: 22 });
  const timer = setTimeout(() => socket.destroy(), 1000);
  socket.on('error', () => undefined).on('close', () => (clearTimeout(timer), again()));
  socket.on('data', (data) => { if (data.toString('latin1').startsWith('SSH-2.0')) process.exit(0); });
}
attempt();`;

function untilGreeting(cloud: CloudProcess, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('ip', ['netns', 'exec', cloud.host.namespace, process.execPath, '-e', greetingProgram, address], { stdio: 'ignore' });
    const timer = setTimeout(() => child.kill('SIGKILL'), bootTimeoutMs);
    child.once('exit', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve();
      else reject(new Error(`no ssh server at ${address} within ${bootTimeoutMs} ms`));
    });
  });
}

async function described(boto3: Boto3, id: string): Promise<Described['Reservations'][number]['Instances'][number] | undefined> {
  return (await boto3.call<Described>('ec2', 'describe_instances', { InstanceIds: [id] })).Reservations[0]?.Instances[0];
}

function addressOf(cloud: CloudProcess, boto3: Boto3, id: string): Promise<string> {
  return waitFor(`an address of ${id}; ${cloud.folder}`, { timeoutMs: 30_000, pollMs: 100 }, async () => (await described(boto3, id))?.PrivateIpAddress);
}

async function stateIs(boto3: Boto3, id: string, name: string): Promise<void> {
  await waitFor(`${id} ${name}`, { timeoutMs: 60_000, pollMs: 100 }, async () => ((await described(boto3, id))?.State.Name === name ? true : undefined));
}

function rowsOf(measured: readonly Round[]): BenchRow[] {
  const of = (pick: (round: Round) => number): number => median(measured.map(pick));
  const beside = (name: string, pick: (boot: Boot) => number): BenchRow[] => {
    const [novact, bare] = [of((round) => pick(round.novact)), of((round) => pick(round.bare))];
    const onTop = of((round) => pick(round.novact) - pick(round.bare));
    return [
      {
        name: `RunInstances to ${name}`, value: novact, unit: 's',
        baseline: `virsh create, ${bare.toFixed(2)} s`, ratio: novact / bare, target: atMost(novact / bare, 1.15, '×'),
      },
      { name: `RunInstances to ${name}, on top of bare`, value: onTop, unit: 's', baseline: 'virsh create', target: atMost(onTop, 1.5, 's') },
    ];
  };
  return [
    { name: 'RunInstances, call to answer (boto3)', value: of((round) => round.answer * 1_000), unit: 'ms' },
    ...beside('first serial line', (boot) => boot.serial),
    ...beside('ssh answers', (boot) => boot.ssh),
    { name: 'qemu-img create of the overlay, not counted for bare', value: of((round) => round.overlay * 1_000), unit: 'ms' },
    { name: 'rounds', value: measured.length, unit: '' },
  ];
}
