// The nested guest of `npm run test:lab`: Debian with the kernel parts that this machine may lack, or the first domain of a real Xen, under
// QEMU in a network namespace of its own. Its commands are run by ssh as if they were this machine's own; the checkout lies in it, for
// reading, at the path that it has here, and so does a folder for both. Root only; one at a time, as it is emulated.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, realpathSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { createRun, type Run, type RunOptions } from '../../src/lib/exec.ts';
import { createGate } from '../../src/lib/gate.ts';
import { silentLog } from '../../src/lib/log.ts';
import { endNamespace, plugMachine } from './fabric.ts';
import { waitFor } from './patience.ts';

export interface LabOptions {
  /** Boot it as the first domain of Xen, with one processor; the tool stack and libvirtd run when it is up. */
  readonly xen?: boolean;
  /** Default 1536. Under Xen, of the machine: the first domain has it less `guestsMiB`. */
  readonly memoryMiB?: number;
  /** What Xen keeps for other domains. Default 700. */
  readonly guestsMiB?: number;
  /** Its place among others, instead of a cable of its own. It has one processor then, for the others need theirs. */
  readonly place?: LabPlace;
}

/** On the networks of a fabric (fabric.ts) that is there already: the first card is on that of the management, the second one on that of the guests. */
export interface LabPlace {
  /** The fabric's namespace. */
  readonly fabric: string;
  readonly number: number;
  readonly address: string;
  readonly gateway: string;
  /** Instead of a folder of its own for both sides. */
  readonly shared: string;
}

export interface Lab {
  /** Here: the namespace that its cable ends in. */
  readonly namespace: string;
  /** Here and there: files that both sides write. */
  readonly shared: string;
  /** Its own. */
  readonly address: string;
  /** Ours, on the same cable. */
  readonly gateway: string;
  /** In the guest. */
  readonly run: Run;
  /** Here, in the namespace. */
  readonly outside: Run;
  /** Words that make a command of what follows them: run here, in the namespace, it runs in the guest, with that environment. It does not hear signals. */
  prefix(env?: Environment): readonly string[];
  /** A socket here that ends at that socket in the guest. */
  forward(path: string): Promise<string>;
  /** As when somebody pulls its plug: what it had not written to its disk is lost. Connections to it hang. */
  switchOff(): Promise<void>;
  /** Reachable again, with the disk that it had. */
  switchOn(): Promise<void>;
  /** The machine is switched off; its folder is gone, and its namespace, if it was its own. Safe to repeat. */
  down(): Promise<void>;
}

const root = resolve(import.meta.dirname, '../..');
const image = join(root, 'build/lab');
const alone = { number: 2, address: '10.44.0.2', gateway: '10.44.0.1' } as const;
const cable = 'lab0';
const bootTimeoutMs = 240_000;

/** Why no lab can run here: a sentence, or undefined when one can. */
export function labObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'the lab needs root';
  if (!existsSync(join(image, 'manifest'))) return 'build/lab is not there: npm run test:lab builds it (three minutes, from Debian packages)';
  return undefined;
}

/** Switched on and reachable. What an earlier run left of it is removed first. `name` becomes the namespace: begin it with `lab-`. */
export async function startLab(name: string, options: LabOptions = {}): Promise<Lab> {
  const obstacle = labObstacle();
  if (obstacle !== undefined) throw new Error(obstacle);
  const lab = new NestedLab(name, options);
  await lab.down();
  try {
    await lab.up();
    return lab;
  } catch (error) {
    const said = await readFile(join(lab.folder, 'console'), 'utf8').catch(() => '');
    await lab.down();
    throw new Error(`the lab did not come up\n${said.slice(-2_000)}`, { cause: error });
  }
}

/** What is left of them when a spec file ends is killed. */
const living = new Set<ChildProcess>();
process.once('exit', () => living.forEach((child) => child.kill('SIGKILL')));

class NestedLab implements Lab {
  readonly folder: string;
  readonly outside: Run;
  readonly #here: Run = createRun({ log: silentLog });
  readonly #ssh: readonly string[];
  readonly #options: LabOptions;
  readonly #place: LabPlace;
  #machine: readonly string[] = [];
  #child: ChildProcess | undefined;
  readonly #servers: Server[] = [];
  /** The connection carries no more of them at once. */
  readonly #sessions = createGate(3);

  constructor(name: string, options: LabOptions) {
    this.#options = options;
    this.folder = `/tmp/novact-${name}`;
    this.#place = options.place ?? { ...alone, fabric: name, shared: join(this.folder, 'shared') };
    this.outside = createRun({ log: silentLog, networkNamespace: this.namespace });
    const settings = {
      IdentityFile: join(this.folder, 'key'), ControlMaster: 'auto', ControlPath: join(this.folder, 'ssh'), ControlPersist: 'yes',
      StrictHostKeyChecking: 'no', UserKnownHostsFile: '/dev/null', LogLevel: 'ERROR', ConnectTimeout: '30', BatchMode: 'yes',
    };
    this.#ssh = [...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]), `root@${this.address}`];
  }

  get namespace(): string {
    return this.#place.fabric;
  }

  get shared(): string {
    return this.#place.shared;
  }

  get address(): string {
    return this.#place.address;
  }

  get gateway(): string {
    return this.#place.gateway;
  }

  readonly run: Run = (command, args, { cwd, env, ...options } = {}) =>
    this.#sessions.pass(() => this.outside('ssh', [...this.#ssh, shellLine(command, args, { cwd, env })], options));

  async up(): Promise<void> {
    for (const folder of [this.folder, this.shared]) await mkdir(folder, { recursive: true });
    await this.#here('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'lab', '-f', join(this.folder, 'key')]);
    await this.#here('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', join(image, 'disk.ext4'), '-F', 'raw', join(this.folder, 'disk')]);
    const isAlone = this.#options.place === undefined;
    const plugs = isAlone ? [await this.#ownCable()] : await plugMachine(this.namespace, this.#place.number);
    const folders = foldersOf(this.shared);
    const publicKey = (await readFile(join(this.folder, 'key.pub'), 'utf8')).split(' ')[1] ?? '';
    const kernelArguments = [
      'quiet', 'mitigations=off', 'no_timer_check', 'net.ifnames=0', `lab.address=${this.address}/24`, `lab.gateway=${this.gateway}`, `lab.key=${publicKey}`,
      `lab.folders=${folders.map(({ tag, path, readOnly }) => `${tag}:${path}:${readOnly ? 'ro,cache=loose' : 'rw'}`).join(';')}`,
    ].join(' ');
    const { xen = false, memoryMiB = 1536, guestsMiB = 700 } = this.#options;
    this.#machine = [
      '-m', String(memoryMiB), '-drive', `file=${join(this.folder, 'disk')},if=virtio,cache=unsafe`,
      ...plugs.flatMap((plug, card) => cardDevice(plug, { card, number: this.#place.number })),
      ...folders.flatMap((folder) => ['-virtfs', folderDevice(folder)]),
      ...(xen ? xenMachine(kernelArguments, memoryMiB - guestsMiB) : plainMachine(kernelArguments, isAlone ? 2 : 1)),
    ];
    await this.switchOn();
  }

  /** In a namespace of its own. */
  async #ownCable(): Promise<string> {
    await this.#here('ip', ['netns', 'add', this.namespace]);
    await this.outside('ip', ['link', 'set', 'lo', 'up']);
    await this.outside('ip', ['tuntap', 'add', cable, 'mode', 'tap']);
    await this.outside('ip', ['addr', 'add', `${this.gateway}/24`, 'dev', cable]);
    await this.outside('ip', ['link', 'set', cable, 'up']);
    return cable;
  }

  prefix(env?: Environment): readonly string[] {
    // Not through the shared connection, which carries few at once.
    return ['ssh', '-o', 'ControlPath=none', ...this.#ssh, ...wordsWith(env).map(quoted)];
  }

  /** Dropbear forwards no sockets of that kind: each connection becomes a command. */
  async forward(path: string): Promise<string> {
    const here = join(this.folder, `forwarded-${this.#servers.length}`);
    const server = createServer((socket) => {
      const command = ['netns', 'exec', this.namespace, 'ssh', ...this.#ssh, shellLine('nc', ['-U', path], {})];
      const child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
      living.add(child);
      child.once('exit', () => {
        living.delete(child);
        socket.destroy();
      });
      child.stdin.on('error', () => socket.destroy());
      socket.on('error', () => child.kill());
      socket.on('close', () => child.kill());
      socket.pipe(child.stdin);
      child.stdout.pipe(socket);
    });
    this.#servers.push(server);
    server.listen(here);
    await once(server, 'listening');
    return here;
  }

  async switchOn(): Promise<void> {
    const child = spawn('ip', [
      'netns', 'exec', this.namespace, 'qemu-system-x86_64', '-name', this.namespace, '-accel', 'tcg,thread=multi', '-display', 'none', '-no-reboot',
      '-serial', `file:${join(this.folder, 'console')}`, ...this.#machine,
    ], { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = createWriteStream(join(this.folder, 'qemu.out'), { flags: 'a' });
    child.stdout.pipe(output, { end: false });
    child.stderr.pipe(output, { end: false });
    this.#child = child;
    living.add(child);
    child.once('exit', () => living.delete(child));
    await waitFor('ssh into the lab', { timeoutMs: bootTimeoutMs, pollMs: 300 }, async () => {
      if (child.exitCode !== null) throw new Error(`QEMU ended with ${child.exitCode}`);
      return this.run('true', []);
    });
    if (this.#options.xen === true) await this.run('start-xen', [], { timeoutMs: bootTimeoutMs });
  }

  async switchOff(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    // Its own end, in which the guest has no part: the image of the disk is left whole, what is in the guest's memory is lost.
    if (child !== undefined && child.exitCode === null && child.kill('SIGTERM')) await once(child, 'exit');
    await this.#here('ssh', ['-O', 'exit', ...this.#ssh], { okCodes: [0, 255] });
  }

  async down(): Promise<void> {
    for (const server of this.#servers.splice(0)) server.close();
    await this.switchOff();
    if (this.#options.place === undefined) await endNamespace(this.namespace);
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** By its number on the fabric no card is another's. */
const cardDevice = (plug: string, { card, number }: { readonly card: number; readonly number: number }): string[] => [
  '-netdev', `tap,id=card${card},ifname=${plug},script=no,downscript=no`, '-device', `virtio-net-pci,netdev=card${card},mac=02:16:3e:0${card}:ff:0${number}`,
];

function plainMachine(kernelArguments: string, processors: number): string[] {
  const [kernel, ramdisk] = [join(image, 'vmlinuz'), join(image, 'initrd.gz')];
  return ['-cpu', 'max', '-smp', String(processors), '-kernel', kernel, '-initrd', ramdisk, '-append', `console=ttyS0 nokaslr ${kernelArguments}`];
}

/** QEMU boots Xen as a kernel, and Linux and its ramdisk as Xen's modules. With newer processors the first domain's kernel does not start. */
function xenMachine(kernelArguments: string, memoryMiB: number): string[] {
  const xenArguments = `console=com1 com1=115200,8n1 dom0_mem=${memoryMiB}M,max:${memoryMiB}M smt=0 spec-ctrl=no xpti=0 loglvl=error guest_loglvl=error`;
  const escaped = `${join(image, 'vmlinuz')} console=hvc0 ${kernelArguments}`.replaceAll(',', ',,');
  return ['-cpu', 'Westmere', '-smp', '1', '-kernel', join(image, 'xen'), '-append', xenArguments, '-initrd', `${escaped},${join(image, 'initrd.gz')}`];
}

interface Folder {
  readonly tag: string;
  /** Here and there. */
  readonly path: string;
  readonly readOnly: boolean;
}

const folderDevice = ({ tag, path, readOnly }: Folder): string => `local,path=${path},mount_tag=${tag},security_model=none,readonly=${readOnly ? 'on' : 'off'}`;

/** The checkout, what it links to outside of itself, and the folder for both. */
function foldersOf(shared: string): Folder[] {
  const modules = realpathSync(join(root, 'node_modules'));
  const paths = modules.startsWith(`${root}/`) ? [root] : [root, modules];
  return [...paths.map((path) => ({ path, readOnly: true })), { path: shared, readOnly: false }].map((folder, index) => ({ tag: `folder${index}`, ...folder }));
}

function shellLine(command: string, args: readonly string[], { cwd, env }: { cwd?: string | undefined; env?: Environment | undefined }): string {
  const line = [...wordsWith(env), command, ...args].map(quoted).join(' ');
  return cwd === undefined ? line : `cd ${quoted(cwd)} && ${line}`;
}

type Environment = NonNullable<RunOptions['env']>;

const wordsWith = (env: Environment = {}): string[] => ['exec', 'env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
