// A cloud whose hosts are nested guests (lab.ts), each a machine with a kernel of its own: for what this machine's kernel lacks. Their roles `network`
// and `compute` run in them, as an operator starts them, with containers for guests. What needs no kernel of theirs runs here, on the same network,
// where Node is ten times faster: PostgreSQL, Redis, the balancer, and for each host a machine `c1`, `c2` with API and scheduler. Root only.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { opsPortOf, type RoleName } from '../../src/config/options.ts';
import { openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { endNamespace, makeFabric } from './fabric.ts';
import { startLab, type Lab } from './lab.ts';
import { parseNovarc } from './novarc.ts';
import { waitFor } from './patience.ts';
import { isBuilt, productCommand } from './product-command.ts';
import { prepareRole, type RoleProcess } from './role-process.ts';
import type { SeedCloud, SeedHost } from './seed-world.ts';
import { lastLines, startAnew } from './start-anew.ts';
import { startSharedServers, type SharedServers } from './three-hosts-services.ts';

type Settings = Readonly<Record<string, string>>;

export interface LabHostsOptions {
  /** Of every role. */
  readonly settings: Settings;
}

const numbers = [1, 2] as const;
const management = '192.168.77';
const sharedAddress = `${management}.254`;
const addressOf = (number: number): string => `${management}.${10 + number}`;
/** Of what runs here and belongs to that host. */
const controlAddressOf = (number: number): string => `${management}.${20 + number}`;
/** In a nested guest: its second card, on which frames may be tagged. */
export const trunk = 'eth1';
const nestedState = '/var/lib/novact';
/** For four of the smallest guests. Of this machine's memory, a host takes what it uses. */
const memoryMiB = 2304;
const libvirtSocket = '/run/libvirt/libvirt-sock';
const readyMsMax = 400_000;
const bootMsMax = 120_000;

/** `name` begins every namespace and folder: unlike that of any other spec. */
export async function startLabHosts(name: string, options: LabHostsOptions): Promise<SeedCloud> {
  if (!isBuilt()) throw new Error('dist is older than src, and in a nested guest roles would take minutes to start from src: bin/bootstrap builds it');
  return startAnew(new LabHosts(name, options));
}

class LabHosts implements SeedCloud {
  readonly folder: string;
  readonly outside: Run;
  readonly host: { readonly namespace: string };
  hosts: readonly LabHost[] = [];
  environment: Record<string, string> = {};
  readonly #name: string;
  readonly #options: LabHostsOptions;
  #shared: SharedServers | undefined;

  constructor(name: string, options: LabHostsOptions) {
    this.#name = name;
    this.#options = options;
    this.host = { namespace: `${name}-net` };
    this.folder = `/tmp/${name}`;
    this.outside = createRun({ log: silentLog, networkNamespace: this.host.namespace });
  }

  get state(): string {
    return join(this.folder, 'c1');
  }

  readonly run: Run = (command, args, options = {}) =>
    this.outside(command, args, { cwd: this.folder, ...options, env: { ...this.environment, ...options.env } });

  named(name: string): LabHost {
    const host = this.hosts.find((one) => one.name === name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }

  async start(): Promise<void> {
    await mkdir(this.folder, { mode: 0o755 });
    const { namespace } = this.host;
    await makeFabric(namespace, sharedAddress);
    for (const number of numbers) await this.outside('ip', ['address', 'add', `${controlAddressOf(number)}/24`, 'dev', 'management']);
    await writeFile(join(this.folder, 'master.key'), randomBytes(32), { mode: 0o600 });
    this.#shared = await startSharedServers({
      namespace, folder: this.folder, address: sharedAddress, network: `${management}.0/24`, apis: numbers.map((number) => `${controlAddressOf(number)}:8773`),
    });
    const of = { name: this.#name, fabric: namespace, folder: this.folder, settings: this.#settings(this.#shared) };
    this.hosts = await Promise.all(numbers.map((number) => LabHost.prepare({ ...of, number })));
    // The objectstore alone, because it makes the cloud and its image; meanwhile the hosts boot.
    await Promise.all([this.named('h1').roles.get('objectstore')?.start(), ...this.hosts.map((host) => host.startMachine())]);
    await Promise.all(this.hosts.map((host) => host.startRoles()));
    this.environment = { ...parseNovarc(await readFile(join(this.state, 'novarc'), 'utf8')), HOME: this.folder };
  }

  #settings({ databaseUrl, redisUrl }: SharedServers): Settings {
    return {
      NOVACT_DATABASE_URL: databaseUrl, NOVACT_REDIS_URL: redisUrl, NOVACT_MASTER_KEY: join(this.folder, 'master.key'), NOVACT_API_PORT: '8773',
      NOVACT_EC2_URL: `http://${sharedAddress}:8773`, NOVACT_S3_PORT: '3333', NOVACT_S3_URL: `http://${controlAddressOf(1)}:3333`,
      NOVACT_METADATA_PORT: '8775', NOVACT_LIBVIRT_URI: 'lxc:///system', NOVACT_MEMORY_RESERVED_MIB: '0', NOVACT_DISK_RESERVED_GIB: '0',
      NOVACT_LOG_LEVEL: 'info', ...this.#options.settings,
    };
  }

  async novact(...args: readonly string[]): Promise<string> {
    const { command: [program, ...rest], environment } = productCommand();
    const operator = this.named('h1').roles.get('api')?.settings ?? {};
    return (await this.outside(program, [...rest, ...args], { env: { ...environment, ...operator }, timeoutMs: 60_000 })).stdout;
  }

  /** Through the socket in its folder, because this process is not on the management network. */
  async openDatabase(): Promise<OpenDatabase> {
    if (this.#shared === undefined) throw new Error('the servers do not run');
    return openDatabase(this.#shared.localDatabaseUrl, { connectionsMax: 2 });
  }

  tail(): string {
    return lastLines(this.hosts);
  }

  async down(): Promise<void> {
    for (const host of this.hosts) await host.down();
    await this.#shared?.close();
    await endNamespace(this.host.namespace);
    await rm(this.folder, { recursive: true, force: true });
  }
}

interface Prepared {
  readonly name: string;
  readonly number: number;
  readonly fabric: string;
  /** Here and in the nested guest. */
  readonly folder: string;
  readonly settings: Settings;
}

class LabHost implements SeedHost {
  readonly name: string;
  readonly machine: SeedHost['machine'];
  readonly roles = new Map<RoleName, RoleProcess>();
  readonly #of: Prepared;
  #lab: Lab | undefined;
  #isOn = false;

  private constructor(of: Prepared) {
    this.#of = of;
    this.name = `h${of.number}`;
    this.machine = {
      run: (...args) => this.#nested.run(...args),
      killLibvirtd: async () => void (await this.#shell('pkill -KILL -x libvirtd; while pgrep -x libvirtd > /dev/null; do sleep 0.1; done')),
      startLibvirtd: async () => void (await this.#shell(`rm -f ${libvirtSocket}; libvirtd -d; until [ -S ${libvirtSocket} ]; do sleep 0.1; done`)),
    };
  }

  /** Its roles are known; nothing runs. */
  static async prepare(of: Prepared): Promise<LabHost> {
    const host = new LabHost(of);
    const roles: RoleName[] = of.number === 1 ? ['objectstore', 'scheduler', 'api'] : ['scheduler', 'api'];
    for (const role of roles) host.roles.set(role, await host.#prepareHere(role));
    return host;
  }

  get #nested(): Lab {
    if (this.#lab === undefined) throw new Error(`${this.name} was never switched on`);
    return this.#lab;
  }

  #shell(script: string): ReturnType<Run> {
    return this.#nested.run('sh', ['-c', script], { timeoutMs: bootMsMax });
  }

  #prepareHere(role: RoleName): Promise<RoleProcess> {
    const { number, fabric, folder } = this.#of;
    const [host, address] = [`c${number}`, controlAddressOf(number)];
    const settings = { ...this.#of.settings, NOVACT_STATE: join(folder, host), NOVACT_ADDRESS: address, NOVACT_BIND: address };
    return prepareRole({ role, host, namespace: fabric, readyMsMax, settings });
  }

  /** Here, its state folder is where the connection to it is started. */
  #prepareNested(role: RoleName): Promise<RoleProcess> {
    const { number, fabric, folder } = this.#of;
    const address = addressOf(number);
    const settings = { ...this.#of.settings, NOVACT_ADDRESS: address, NOVACT_BIND: address, NOVACT_OPS_PORT: String(opsPortOf[role]) };
    const wrap = this.#nested.prefix({ ...settings, NOVACT_HOST: this.name, NOVACT_STATE: nestedState, NO_COLOR: 'yes' });
    const signal = async (name: NodeJS.Signals) => {
      if (this.#isOn) await this.#nested.run('pkill', [`-${name}`, '-f', `^node .*/bin/novact-${role}$`], { okCodes: [0, 1] });
    };
    const here = { ...settings, NOVACT_STATE: join(folder, this.name) };
    return prepareRole({ role, host: this.name, namespace: fabric, wrap, signal, readyMsMax, settings: here });
  }

  async startMachine(): Promise<void> {
    const { name, number, fabric, folder } = this.#of;
    const place = { fabric, number, address: addressOf(number), gateway: sharedAddress, shared: folder };
    this.#lab = await startLab(`${name}-${this.name}`, { memoryMiB, place });
    await this.#boot();
    for (const role of ['network', 'compute'] as const) this.roles.set(role, await this.#prepareNested(role));
  }

  /** What the init system of an ordinary host does. */
  async #boot(): Promise<void> {
    this.#isOn = true;
    // libvirt shows containers a /proc of their own by FUSE, and nothing else has loaded it.
    await this.#shell(`date -s @${Date.now() / 1000} > /dev/null && modprobe fuse && ip link set ${trunk} up`);
    await this.machine.startLibvirtd();
  }

  /** As their units do (`Restart=always`): a network role that has to plumb everything anew ends when an emulated host is too slow for it, and goes on then. */
  async startRoles(): Promise<void> {
    const stopped = [...this.roles.values()].filter((role) => role.pid() === undefined);
    await Promise.all(stopped.map((role) => waitFor(`${role.role} runs on ${this.name}`, { timeoutMs: readyMsMax, pollMs: 2_000 }, async () => {
      await role.start();
      return true;
    })));
  }

  inRouter(routerId: string): Run {
    const namespace = `novact-${this.name}-${routerId}`;
    const script = `[ -e "/run/netns/$0" ] || { echo "${this.name} has no router of ${routerId}" >&2; exit 125; }; exec ip netns exec "$0" "$@"`;
    return (command, args, options) => this.#nested.run('sh', ['-c', script, namespace, command, ...args], options);
  }

  async servers(program: 'dnsmasq' | 'tgtd'): Promise<number[]> {
    const { stdout } = await this.#nested.run('pgrep', ['-x', program], { okCodes: [0, 1] });
    return stdout.split('\n').filter((line) => line !== '').map(Number);
  }

  async killServers(program: 'dnsmasq' | 'tgtd'): Promise<void> {
    await this.#nested.run('pkill', ['-KILL', '-x', program], { okCodes: [0, 1] });
  }

  async pullPlug(): Promise<void> {
    this.#isOn = false;
    await this.#nested.switchOff();
    await Promise.all([...this.roles.values()].map((role) => role.kill9()));
  }

  async plugIn(): Promise<void> {
    await this.#nested.switchOn();
    await this.#boot();
    await this.startRoles();
  }

  async down(): Promise<void> {
    if (this.#lab !== undefined) await this.pullPlug();
    await Promise.all([...this.roles.values()].map((role) => role.kill9()));
    await this.#lab?.down();
  }
}
