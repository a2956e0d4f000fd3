// `novact try`: what a new user would do first, step by step and with times: a key pair, a group that lets ssh in, a guest of the
// ready-made image, a login, and everything put away again.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endpointsOf, statePaths, type Settings } from '../config/settings.ts';
import type { Clock } from '../lib/clock.ts';
import { ApiError, DriverError, messageOf, SetupError } from '../lib/errors.ts';
import type { Run } from '../lib/exec.ts';
import { trusting, type Trust } from '../lib/web-request.ts';
import { createEc2Client, itemsAt, textAt, type Ec2Client, type Xml } from './ec2-client.ts';
import { connectOps } from './ops-client.ts';
import type { Output } from './output.ts';

export interface TryOptions {
  readonly settings: Settings;
  readonly output: Output;
  readonly clock: Clock;
  readonly run: Run;
  readonly instanceType: string;
  readonly image: string;
  /** Leaves the guest, its key and its group, and says how to log in. */
  readonly keep: boolean;
}

interface Trial extends TryOptions {
  readonly ec2: Ec2Client;
  readonly name: string;
  readonly folder: string;
  readonly isSimulated: boolean;
  step<T>(text: string, work: () => Promise<T>, shown?: (value: T) => string): Promise<T>;
}

interface Guest {
  readonly instanceId: string;
  readonly address: string;
}

const deadlineMs = { image: 60_000, running: 120_000, ssh: 120_000, terminated: 60_000 };
const pollMs = 250;

/** The API of this host, or the one that its settings name. */
async function whereToTry(settings: Settings): Promise<{ endpoint: string; isSimulated: boolean }> {
  const processes = await (await connectOps(settings)).processes();
  if (!processes.every(({ answer }) => answer?.isReady === true)) throw new SetupError('novact is still starting', 'Wait until it says that it is ready.');
  const api = processes.find(({ role }) => role === 'all' || role === 'api')?.answer;
  const isSimulated = processes.some(({ answer }) => answer?.hypervisor === 'sim') || settings.hypervisor === 'sim';
  return { endpoint: api?.endpoints?.['ec2'] ?? `${endpointsOf(settings).ec2}/`, isSimulated };
}

/** Throws what went wrong; the steps before it are on the screen, and what was made is put away. */
export async function tryGuest(options: TryOptions): Promise<void> {
  const { settings, output, clock } = options;
  const { endpoint, isSimulated } = await whereToTry(settings);
  const trust = endpoint.startsWith('https:') ? await ownAuthority(settings) : undefined;
  const ec2 = createEc2Client({ endpoint, region: settings.region, clock, trust, ...(await ownKey(settings)) });
  const folder = await mkdtemp(join(tmpdir(), 'novact-try-'));
  const trial: Trial = {
    ...options, ec2, folder, name: `try-${randomBytes(4).toString('hex')}`, isSimulated,
    step: (text, work, shown) => step(options, text, work, shown),
  };
  const startedAt = clock.now();
  const undo: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  let isDone = false;
  try {
    const guest = await launch(trial, undo);
    if (trial.isSimulated) output.line('  the hypervisor is sim: there is no real guest to log in to');
    else await logIn(trial, guest);
    isDone = true;
    output.line(`${output.tint('green', 'it works')}: ${seconds(clock.now() - startedAt)} from the first call to here`);
    if (options.keep) sayKept(trial, guest);
  } finally {
    if (!options.keep || !isDone) await putAway(trial, undo);
  }
}

async function launch(trial: Trial, undo: (() => Promise<unknown>)[]): Promise<Guest> {
  const { ec2, name, folder, step: doStep } = trial;
  const imageId = await doStep(`find the image ${trial.image}`, () => waitForImage(trial), (id) => id);
  await doStep('create a key pair', async () => {
    const answer = await ec2.call('CreateKeyPair', { KeyName: name });
    undo.push(() => ec2.call('DeleteKeyPair', { KeyName: name }));
    await writeFile(join(folder, 'key'), textAt(answer, 'keyMaterial') ?? '', { mode: 0o600 });
    return textAt(answer, 'keyFingerprint') ?? '';
  }, (fingerprint) => fingerprint);
  const groupId = await doStep('create a security group that lets ssh in', async () => {
    const id = textAt(await ec2.call('CreateSecurityGroup', { GroupName: name, GroupDescription: 'novact try' }), 'groupId') ?? '';
    undo.push(() => ec2.call('DeleteSecurityGroup', { GroupId: id }));
    await ec2.call('AuthorizeSecurityGroupIngress', { GroupId: id, IpProtocol: 'tcp', FromPort: '22', ToPort: '22', CidrIp: '0.0.0.0/0' });
    return id;
  }, (id) => id);
  const instanceId = await doStep('run an instance', async () => {
    const answer = await ec2.call('RunInstances', {
      ImageId: imageId, InstanceType: trial.instanceType, MinCount: '1', MaxCount: '1', KeyName: name, 'SecurityGroupId.1': groupId,
    });
    const id = textAt(itemsAt(answer, 'instancesSet')[0] ?? '', 'instanceId') ?? '';
    undo.push(() => terminate(trial, id));
    return id;
  }, (id) => id);
  const address = await doStep('wait until it is running', () => waitForRunning(trial, instanceId), (text) => text);
  return { instanceId, address };
}

/** An image of that name, or the id itself. */
function waitForImage({ ec2, image, clock }: Trial): Promise<string> {
  const filters: Record<string, string> = image.startsWith('ami-') ? { 'ImageId.1': image } : { 'Filter.1.Name': 'name', 'Filter.1.Value.1': image };
  return poll(clock, deadlineMs.image, `the image ${image} is not available; see: bin/novact doctor`, async () => {
    const images = itemsAt(await ec2.call('DescribeImages', filters), 'imagesSet');
    const failed = images.find((entry) => textAt(entry, 'imageState') === 'failed');
    if (images.length === 0) throw new SetupError(`there is no image ${image}`, 'See what is missing with: bin/novact doctor');
    const ready = images.find((entry) => textAt(entry, 'imageState') === 'available');
    if (ready === undefined && failed !== undefined) throw new Error(`${image} failed: ${textAt(failed, 'stateReason', 'message') ?? 'without a reason'}`);
    return ready === undefined ? undefined : textAt(ready, 'imageId');
  });
}

function waitForRunning(trial: Trial, instanceId: string): Promise<string> {
  return poll(trial.clock, deadlineMs.running, `${instanceId} is not running; see: bin/novact explain ${instanceId}`, async () => {
    const instance = await describe(trial, instanceId);
    const state = textAt(instance, 'instanceState', 'name');
    if (state === 'running') return textAt(instance, 'privateIpAddress');
    if (state === 'pending') return undefined;
    throw new Error(`${instanceId} is ${state}: ${textAt(instance, 'stateReason', 'message') ?? 'without a reason'}`);
  });
}

async function describe({ ec2 }: Trial, instanceId: string): Promise<Xml> {
  const answer = await ec2.call('DescribeInstances', { 'InstanceId.1': instanceId });
  return itemsAt(itemsAt(answer, 'reservationSet')[0] ?? '', 'instancesSet')[0] ?? '';
}

async function logIn(trial: Trial, guest: Guest): Promise<void> {
  const { output } = trial;
  const shut = `${guest.address} does not let us in; see: aws ec2 get-console-output --instance-id ${guest.instanceId}`;
  await trial.step(`ssh root@${guest.address}`, () => poll(trial.clock, deadlineMs.ssh, shut, () => ssh(trial, guest, 'true')));
  await trial.step('compare its host key with the one on its console', () => compareHostKeys(trial, guest), (text) => text);
  const said = await trial.step('ask it who it is', () => ssh(trial, guest, 'uname -snrm; df -h / | tail -1; uptime'));
  for (const text of (said ?? '').trim().split('\n')) output.line(`      ${output.tint('cyan', text.trim())}`);
}

/** What the command printed; undefined while the guest does not answer. */
async function ssh({ run, folder }: Trial, guest: Guest, command: string): Promise<string | undefined> {
  try {
    const known = `UserKnownHostsFile=${join(folder, 'known_hosts')}`;
    const options = ['BatchMode=yes', 'ConnectTimeout=3', 'StrictHostKeyChecking=accept-new', known, 'LogLevel=ERROR'].flatMap((text) => ['-o', text]);
    return (await run('ssh', ['-F', '/dev/null', ...options, '-i', join(folder, 'key'), `root@${guest.address}`, command], { timeoutMs: 8_000 })).stdout;
  } catch (error) {
    if (error instanceof DriverError && error.kind !== 'unsupported') return undefined;
    throw error;
  }
}

/** The console is written through the hypervisor, ssh comes over the network: equal keys prove that it is the same machine. */
async function compareHostKeys(trial: Trial, { instanceId }: Guest): Promise<string> {
  const known = (await readFile(join(trial.folder, 'known_hosts'), 'utf8')).trim().split(' ')[2] ?? '';
  const fingerprint = `SHA256:${createHash('sha256').update(Buffer.from(known, 'base64')).digest('base64').replace(/=+$/, '')}`;
  const output = textAt(await trial.ec2.call('GetConsoleOutput', { InstanceId: instanceId }), 'output') ?? '';
  if (!Buffer.from(output, 'base64').toString('utf8').includes(fingerprint)) {
    throw new Error(`the host key ${fingerprint} is not on the console of ${instanceId}`);
  }
  return `${fingerprint.slice(0, 24)}… is the same`;
}

async function terminate(trial: Trial, instanceId: string): Promise<void> {
  await trial.ec2.call('TerminateInstances', { 'InstanceId.1': instanceId });
  await poll(trial.clock, deadlineMs.terminated, `${instanceId} does not end; see: bin/novact explain ${instanceId}`, async () =>
    (textAt(await describe(trial, instanceId), 'instanceState', 'name') === 'terminated' ? true : undefined));
}

async function putAway(trial: Trial, undo: (() => Promise<unknown>)[]): Promise<void> {
  await trial.step('terminate it and put everything away', async () => {
    for (const one of undo.splice(0).toReversed()) {
      await one().catch((error: unknown) => trial.output.note(`      ${error instanceof ApiError ? error.code : messageOf(error)}`));
    }
  });
}

function sayKept({ output, folder, name }: Trial, { instanceId, address }: Guest): void {
  output.line('It is kept. Log in with:');
  output.line(`  ${output.tint('cyan', `ssh -i ${join(folder, 'key')} root@${address}`)}`);
  output.line(`End it with: aws ec2 terminate-instances --instance-ids ${instanceId}; its key pair and security group are named ${name}.`);
}

async function step<T>({ output, clock }: TryOptions, text: string, work: () => Promise<T>, shown?: (value: T) => string): Promise<T> {
  const startedAt = clock.now();
  try {
    const value = await work();
    const more = shown === undefined ? '' : `  ${output.tint('dim', shown(value))}`;
    output.line(`  ${output.tint('green', 'ok')}  ${seconds(clock.now() - startedAt).padStart(7)}  ${text}${more}`);
    return value;
  } catch (error) {
    output.line(`  ${output.tint('red', '--')}  ${seconds(clock.now() - startedAt).padStart(7)}  ${text}`);
    throw error;
  }
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

/** Until there is an answer, or the deadline with its reason. */
async function poll<T>(clock: Clock, timeoutMs: number, reason: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = clock.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    if (clock.now() > deadline) throw new Error(`${reason} (waited ${seconds(timeoutMs)})`);
    await clock.sleep(pollMs);
  }
}

/** The first user's key, from the file that `up` writes. */
async function ownKey(settings: Settings): Promise<{ accessKeyId: string; secretAccessKey: string }> {
  const path = statePaths(settings).novarc;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new SetupError(`cannot read ${path}: ${messageOf(cause)}`, 'Run it as the user who started novact.', { cause });
  }
  const valueOf = (name: string) => new RegExp(`^export ${name}=(.*)$`, 'm').exec(text)?.[1]?.replaceAll("'", '') ?? '';
  return { accessKeyId: valueOf('AWS_ACCESS_KEY_ID'), secretAccessKey: valueOf('AWS_SECRET_ACCESS_KEY') };
}

/** The cloud's, from the file that `up` writes beside it; without one the endpoint's is one that everybody believes. */
async function ownAuthority(settings: Settings): Promise<Trust | undefined> {
  const text = await readFile(statePaths(settings).authority, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : trusting(text);
}
