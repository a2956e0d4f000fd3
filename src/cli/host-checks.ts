// What this machine has and lacks: the preflight of `up`, and the checks that `novact doctor` shows with the command that mends each.
import { constants } from 'node:fs';
import { access, readFile, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';
import { environmentKey, type OptionName, type RoleName } from '../config/options.ts';
import { networkDriverOf, statePaths, type Settings } from '../config/settings.ts';
import { postgresObstacle } from '../drivers/postgres/cluster.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import type { Run } from '../lib/exec.ts';
import { lockHolder } from '../lib/lock.ts';
import {
  clientRequirements, databaseRequirements, driveRequirements, hypervisorRequirements, imageRequirements, missingOf, networkRequirements, type Requirement,
} from './requirements.ts';

export interface CheckResult {
  readonly name: string;
  /** `notice`: novact works without it, but less well. */
  readonly state: 'ok' | 'notice' | 'missing';
  readonly detail: string;
  /** The command that mends it. */
  readonly remedy?: string;
}

const isRoot = (): boolean => process.getuid?.() === 0;

/** Before `up` or a role changes anything. Throws SetupError naming all that is missing at once. */
export async function checkHost(settings: Settings, role?: RoleName): Promise<void> {
  const requirements = requirementsOf(settings, role);
  const wantsHost = [...hypervisorRequirements, ...networkRequirements].some((one) => requirements.includes(one) && !imageRequirements.includes(one));
  if (wantsHost && !isRoot()) {
    throw new SetupError(
      'real guests and networks need root',
      'Run it as root (sudo npm start), or try everything but real guests as you are: bin/novact up --hypervisor sim',
    );
  }
  const missing = missingOf(requirements);
  if (missing.length === 0) return;
  throw new SetupError(
    `missing on this machine: ${missing.map(({ program, purpose }) => `${program} (${purpose})`).join(', ')}`,
    `Run bin/bootstrap, or: ${installCommand(missing)}`,
  );
}

const guestRequirements = ({ networkManager }: Settings): readonly Requirement[] =>
  networkManager === 'flat' ? [...hypervisorRequirements, ...driveRequirements] : hypervisorRequirements;

function requirementsOf(settings: Settings, role: RoleName | undefined): readonly Requirement[] {
  const has = (one: RoleName) => role === undefined || role === one;
  const images = has('compute') ? guestRequirements(settings) : has('objectstore') ? imageRequirements : [];
  return [
    ...(settings.hypervisor === 'libvirt' ? images : []),
    ...(networkDriverOf(settings) === 'linux' && has('network') ? networkRequirements : []),
    ...(settings.databaseUrl === undefined && isRoot() ? databaseRequirements : []),
  ];
}

/** Every check, in the order in which things are needed. */
export async function examineHost(settings: Settings, run: Run): Promise<readonly CheckResult[]> {
  const wantsGuests = settings.hypervisor === 'libvirt';
  const wantsNetwork = networkDriverOf(settings) === 'linux';
  const checks: (CheckResult | Promise<CheckResult>)[] = [
    { name: 'node', state: 'ok', detail: process.version },
    checkRoot(wantsGuests || wantsNetwork),
    ...(wantsGuests ? [checkPrograms('hypervisor programs', guestRequirements(settings)), ...checkHypervisor(settings), checkImage(settings)] : []),
    ...(wantsNetwork ? [checkPrograms('network programs', networkRequirements), checkNftables(run), checkForwarding()] : []),
    checkDatabase(settings),
    checkPrograms('client programs', clientRequirements),
    checkState(settings),
    checkDisk(settings),
    checkMemory(),
    ...portsOf(settings).map((optionName) => checkPort(settings, optionName)),
  ];
  return Promise.all(checks);
}

const installCommand = (missing: readonly Requirement[]): string =>
  `${isRoot() ? '' : 'sudo '}apt-get install -y --no-install-recommends ${[...new Set(missing.map((requirement) => requirement.package))].join(' ')}`;

function checkPrograms(name: string, requirements: readonly Requirement[]): CheckResult {
  const missing = missingOf(requirements);
  if (missing.length === 0) return { name, state: 'ok', detail: requirements.map(({ program }) => program).join(', ') };
  return { name, state: 'missing', detail: missing.map(({ program, purpose }) => `${program} (${purpose})`).join(', '), remedy: installCommand(missing) };
}

function checkRoot(isNeeded: boolean): CheckResult {
  if (isRoot()) return { name: 'root', state: 'ok', detail: 'running as root' };
  if (!isNeeded) return { name: 'root', state: 'ok', detail: 'not needed for sim' };
  return { name: 'root', state: 'missing', detail: 'real guests and networks need root', remedy: 'sudo npm start' };
}

function checkHypervisor({ libvirtUri }: Settings): Promise<CheckResult>[] {
  if (libvirtUri.startsWith('lxc:')) return [];
  return [libvirtUri.startsWith('xen:') ? checkXen('/sys/hypervisor', '/proc/xen/capabilities') : checkKvm()];
}

/** Only the first domain, which Xen boots and gives control to, can make others. */
export async function checkXen(sysfs: string, capabilities: string): Promise<CheckResult> {
  const name = 'xen';
  const read = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).trim();
  if ((await read(join(sysfs, 'type'))) !== 'xen') {
    return {
      name, state: 'missing', detail: 'this kernel was not booted by Xen',
      remedy: 'apt-get install -y --no-install-recommends xen-system-amd64 qemu-system-xen libvirt-daemon-driver-xen, then boot the entry with Xen',
    };
  }
  if (!(await read(capabilities)).includes('control_d')) {
    return {
      name, state: 'missing', detail: `this is not the first domain, or ${capabilities} cannot be read`,
      remedy: 'systemctl start xenstored xenconsoled xen-init-dom0',
    };
  }
  const [major, minor] = await Promise.all(['major', 'minor'].map((part) => read(join(sysfs, 'version', part))));
  return { name, state: 'ok', detail: `the first domain of Xen ${major}.${minor}` };
}

/** Guests run under an account of the group kvm; where it may not open the device, libvirt asks QEMU again and again what it can do. */
async function checkKvm(): Promise<CheckResult> {
  const name = 'kvm';
  const device = await stat('/dev/kvm').catch(() => undefined);
  if (device === undefined) {
    return {
      name, state: 'notice', detail: 'no /dev/kvm: guests run under TCG, some ten times slower',
      remedy: 'turn on virtualization in the firmware; modprobe kvm_intel or kvm_amd',
    };
  }
  const group = /^kvm:[^:]*:(\d+):/m.exec(await readFile('/etc/group', 'utf8').catch(() => ''))?.[1];
  const isOpenToGuests = (device.mode & 0o006) === 0o006 || (String(device.gid) === group && (device.mode & 0o060) === 0o060);
  if (isOpenToGuests) return { name, state: 'ok', detail: 'guests may open /dev/kvm; up proves it by booting one under it' };
  return {
    name, state: 'notice', detail: 'guests may not open /dev/kvm: they run under TCG, and start slowly',
    remedy: 'chgrp kvm /dev/kvm && chmod 660 /dev/kvm',
  };
}

async function checkImage(settings: Settings): Promise<CheckResult> {
  const path = join(settings.tinyImage, 'manifest.json');
  const isThere = await stat(path).then(() => true, () => false);
  return isThere
    ? { name: 'novact-tiny', state: 'ok', detail: settings.tinyImage }
    : {
        name: 'novact-tiny', state: 'notice', detail: `not built (${path} is missing): there will be no ready-made image`,
        remedy: `images/tiny/build.sh ${settings.tinyImage}`,
      };
}

async function checkNftables(run: Run): Promise<CheckResult> {
  if (!isRoot()) return { name: 'nftables', state: 'notice', detail: 'only root can look' };
  try {
    await run('nft', ['--check', '-f', '-'], { input: 'table inet novact_probe { }\n', timeoutMs: 5_000 });
    return { name: 'nftables', state: 'ok', detail: 'the kernel takes rules' };
  } catch (error) {
    return { name: 'nftables', state: 'missing', detail: messageOf(error), remedy: 'modprobe nf_tables' };
  }
}

async function checkForwarding(): Promise<CheckResult> {
  const value = await readFile('/proc/sys/net/ipv4/ip_forward', 'utf8').catch(() => '');
  const detail = value.trim() === '1' ? 'on' : 'off: up turns it on for guests';
  return { name: 'ip forwarding', state: 'ok', detail };
}

function checkDatabase(settings: Settings): CheckResult {
  const name = 'database';
  if (settings.databaseUrl !== undefined) return { name, state: 'ok', detail: `named by ${environmentKey('databaseUrl')}` };
  const obstacle = postgresObstacle();
  if (obstacle === undefined) return { name, state: 'ok', detail: 'a private PostgreSQL in the state folder' };
  return {
    name, state: 'notice', detail: `${obstacle}: PGlite is used, which a power cut may damage`,
    remedy: 'apt-get install -y --no-install-recommends postgresql-15',
  };
}

async function checkState(settings: Settings): Promise<CheckResult> {
  const folder = await nearestFolder(settings.state);
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    return { name: 'state folder', state: 'ok', detail: settings.state };
  } catch {
    return { name: 'state folder', state: 'missing', detail: `${folder} is not writable`, remedy: 'choose another: NOVACT_STATE' };
  }
}

async function checkDisk(settings: Settings): Promise<CheckResult> {
  const { bavail, bsize } = await statfs(await nearestFolder(settings.state));
  const freeGiB = (bavail * bsize) / 2 ** 30;
  const detail = `${freeGiB.toFixed(1)} GiB free beside ${settings.state}`;
  if (freeGiB >= settings.diskReservedGiB + 1) return { name: 'disk', state: 'ok', detail };
  return { name: 'disk', state: 'notice', detail: `${detail}: too little for guests`, remedy: 'make room, or choose another folder: NOVACT_STATE' };
}

/** Free memory and what caches hold can be given to guests. */
async function checkMemory(): Promise<CheckResult> {
  const line = /^MemAvailable:\s+(\d+) kB/m.exec(await readFile('/proc/meminfo', 'utf8').catch(() => ''));
  const availableMiB = line?.[1] === undefined ? freemem() / 2 ** 20 : Number(line[1]) / 1024;
  const detail = `${Math.round(availableMiB)} MiB available`;
  if (availableMiB >= 768) return { name: 'memory', state: 'ok', detail };
  return { name: 'memory', state: 'notice', detail: `${detail}: novact itself takes 300`, remedy: 'end something else' };
}

const portsOf = (settings: Settings): readonly OptionName[] =>
  settings.hypervisor === 'sim' ? ['apiPort', 's3Port', 'opsPort'] : ['apiPort', 's3Port', 'metadataPort', 'opsPort'];

async function checkPort(settings: Settings, optionName: OptionName): Promise<CheckResult> {
  const port = Number(settings[optionName]);
  const name = `port ${port}`;
  const owner = await lockHolder(statePaths(settings).lock).catch(() => undefined);
  if (owner !== undefined) return { name, state: 'ok', detail: `novact is running (process ${owner.pid})` };
  const problem = await bindProblem(optionName === 'opsPort' ? '127.0.0.1' : settings.bind, port);
  if (problem === undefined) return { name, state: 'ok', detail: `free (${environmentKey(optionName)})` };
  return {
    name, state: 'missing', detail: `${problem} (${environmentKey(optionName)})`,
    remedy: `ss -ltnp 'sport = :${port}', or choose another: ${environmentKey(optionName)}`,
  };
}

/** Why a server cannot listen there; undefined when it can. */
export function bindProblem(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve('in use by another program');
      else if (error.code === 'EADDRNOTAVAIL') resolve(`this machine has no address ${host}`);
      else if (error.code === 'EACCES') resolve('may not be opened by this user');
      else resolve(error.message);
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

async function nearestFolder(path: string): Promise<string> {
  if (path === dirname(path)) return path;
  return (await stat(path).then((entry) => entry.isDirectory(), () => false)) ? path : nearestFolder(dirname(path));
}
