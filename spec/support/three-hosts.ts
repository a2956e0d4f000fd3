// Several whole hosts on this machine: each a network namespace with its own state folder, libvirtd and QEMU guests; joined by a management
// network, on which PostgreSQL, Redis and a balancer before two APIs are reached, and by a second one for the guests. The roles are
// processes as an operator starts them. Root only.
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openDatabase, type OpenDatabase } from '../../src/db/connect.ts';
import type { RoleName } from '../../src/config/options.ts';
import { namespacePath } from '../../src/drivers/network/linux/namespace.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { findProcesses, signalProcess } from '../../src/lib/processes.ts';
import { writeRedisUsers } from '../../src/roles/redis-users.ts';
import { endNetworks } from './end-networks.ts';
import { connectHost, endNamespace, makeFabric } from './fabric.ts';
import { makeCertificates } from './certificates.ts';
import { up, type TestHost } from './host.ts';
import { parseNovarc } from './novarc.ts';
import { prepareOpenVswitch, trunkBridge, type OpenVswitch } from './open-vswitch.ts';
import { waitFor } from './patience.ts';
import { prepareRole, type RoleProcess } from './role-process.ts';
import { productCommand } from './product-command.ts';
import { lastLines, startAnew } from './start-anew.ts';
import { securedRedisUrl, startSharedServers, type SharedServers } from './three-hosts-services.ts';

export interface Host {
  /** `h1`: its name in the cloud. */
  readonly name: string;
  readonly address: string;
  readonly machine: TestHost;
  readonly state: string;
  readonly roles: ReadonlyMap<RoleName, RoleProcess>;
  /** A command in its namespace, with the clients' environment. */
  readonly run: Run;
  /** A command where the router of that VPC is on it. */
  inRouter(routerId: string): Run;
  /** Process ids of the servers that novact has on it. */
  servers(program: 'dnsmasq' | 'tgtd'): Promise<readonly number[]>;
  /** `kill -9` of them all. */
  killServers(program: 'dnsmasq' | 'tgtd'): Promise<void>;
  /** Its roles and guests end at once and its network is gone, as when somebody pulls the plug. */
  pullPlug(): Promise<void>;
  /** Network and daemon are there again, and its roles start. */
  plugIn(): Promise<void>;
}

export interface Hosts {
  readonly hosts: readonly Host[];
  readonly guests: 'qemu' | 'lxc';
  /** Where the clients are: on the first host. As clients.ts wants it. */
  readonly host: { readonly namespace: string };
  readonly folder: string;
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly run: Run;
  /** On the management network, as the world outside of the cloud. */
  readonly outside: Run;
  readonly shared: SharedServers;
  /** The settings of the first host, for `novact`. */
  readonly operator: Readonly<Record<string, string>>;
  named(name: string): Host;
  /** `novact ARGS` on the first host. */
  novact(...args: readonly string[]): Promise<string>;
  openDatabase(): Promise<OpenDatabase>;
  /** The last lines of every role, for failures. */
  tail(): string;
  down(): Promise<void>;
}

export interface HostsOptions {
  /** Default `qemu`. */
  readonly guests?: 'qemu' | 'lxc';
  /** Default 3. */
  readonly count?: number;
  /**
   * As docs/guide/many-hosts.md has it: PostgreSQL, Redis and the hypervisors speak TLS under one authority, and each role of each host is a Redis
   * user of its own. Default false: passwords only.
   */
  readonly secured?: boolean;
  /** All hosts have the disks of their instances on one folder. Default false. */
  readonly instancesShared?: boolean;
  /** Each host keeps volumes. Default false. */
  readonly volumes?: boolean;
  /** Each host has an Open vSwitch before the guests' network, which tags the frames of VLANs: this machine's kernel may not. Default false. */
  readonly switched?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
}

/** The roles of each host: the first two have the API and the scheduler, the first one the objects. */
const rolesOf = (index: number, volumes = false): readonly RoleName[] => [
  ...(index === 0 ? ['objectstore' as const] : []), ...(index < 2 ? ['scheduler' as const, 'api' as const] : []), 'network', 'compute',
  ...(volumes ? ['volume' as const] : []),
];

const root = createRun({ log: silentLog });
const management = '192.168.77';
const sharedAddress = `${management}.254`;
const addressOf = (number: number): string => `${management}.${10 + number}`;

/** `name` begins every namespace and folder: at most eight characters, unlike that of any other spec. */
export function startHosts(name: string, options: HostsOptions = {}): Promise<Hosts> {
  return startAnew(new ThreeHosts(name, options));
}

class ThreeHosts implements Hosts {
  readonly folder: string;
  readonly guests: 'qemu' | 'lxc';
  readonly outside: Run;
  readonly #name: string;
  readonly #fabric: string;
  readonly #options: HostsOptions;
  readonly #count: number;
  hosts: OneHost[] = [];
  environment: Record<string, string> = {};
  #shared: SharedServers | undefined;

  constructor(name: string, options: HostsOptions) {
    this.#name = name;
    this.#fabric = `${name}-net`;
    this.outside = createRun({ log: silentLog, networkNamespace: this.#fabric });
    this.folder = `/tmp/${name}`;
    this.#options = options;
    this.guests = options.guests ?? 'qemu';
    this.#count = options.count ?? 3;
  }

  get shared(): SharedServers {
    if (this.#shared === undefined) throw new Error('the servers do not run');
    return this.#shared;
  }

  get host(): { namespace: string } {
    return this.#first.machine;
  }

  get state(): string {
    return this.#first.state;
  }

  get #first(): OneHost {
    return this.named('h1');
  }

  readonly run: Run = (command, args, options) => this.#first.run(command, args, options);

  named(name: string): OneHost {
    const host = this.hosts.find((one) => one.name === name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }

  async start(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o755 });
    await makeFabric(this.#fabric, sharedAddress);
    const masterKey = join(this.folder, 'master.key');
    await writeFile(masterKey, randomBytes(32), { mode: 0o600 });
    const numbers = Array.from({ length: this.#count }, (_, index) => index + 1);
    const apis = numbers.slice(0, 2).map((number) => `${addressOf(number)}:8773`);
    const security = this.#options.secured === true ? await makeSecurity(this.folder, this.#count, this.#options.volumes) : undefined;
    const machines = await Promise.all(numbers.map((number) => up(`${this.#name}-h${number}`, security?.machine(number))));
    for (const [index, machine] of machines.entries()) {
      await connectHost(this.#fabric, machine.namespace, { number: index + 1, address: addressOf(index + 1), gateway: sharedAddress });
    }
    this.#shared = await startSharedServers({
      namespace: this.#fabric, folder: this.folder, address: sharedAddress, network: `${management}.0/24`, apis, secured: security?.servers,
    });
    const settings = {
      NOVACT_DATABASE_URL: this.shared.databaseUrl, NOVACT_REDIS_URL: this.shared.redisUrl, NOVACT_MASTER_KEY: masterKey,
      NOVACT_EC2_URL: `http://${sharedAddress}:8773`, NOVACT_S3_URL: `http://${management}.11:3333`, NOVACT_FLAT_INTERFACE: 'guests0',
      NOVACT_MEMORY_RESERVED_MIB: '0', NOVACT_DISK_RESERVED_GIB: '0', NOVACT_LOG_LEVEL: 'info', NOVACT_LIBVIRT_URI: `${this.guests}:///system`,
      ...this.#options.switched === true && { NOVACT_VLAN_INTERFACE: trunkBridge }, ...security?.settings, ...this.#options.settings,
    };
    const instances = this.#options.instancesShared === true ? join(this.folder, 'instances') : undefined;
    if (instances !== undefined) await mkdir(instances, { mode: 0o711 });
    for (const [index, machine] of machines.entries()) {
      const environment = () => this.environment;
      const { volumes, switched } = this.#options;
      const shared = { fabric: this.#fabric, folder: this.folder, settings, security, instances, volumes, switched, environment };
      this.hosts.push(await OneHost.prepare({ ...shared, machine, number: index + 1 }));
    }
    await this.#startRoles();
    this.environment = { ...parseNovarc(await readFile(join(this.state, 'novarc'), 'utf8')), HOME: this.folder };
  }

  /** The objectstore alone, because it makes the cloud and its image; all others at once. */
  async #startRoles(): Promise<void> {
    await this.#first.roles.get('objectstore')?.start();
    await Promise.all(this.hosts.map((host) => host.startRoles()));
  }

  get operator(): Readonly<Record<string, string>> {
    return this.#first.roles.get('api')?.settings ?? {};
  }

  async novact(...args: readonly string[]): Promise<string> {
    const { command: [program, ...rest], environment } = productCommand();
    const { stdout } = await this.#first.runOnBoot(program, [...rest, ...args], { env: { ...environment, ...this.operator }, timeoutMs: 60_000 });
    return stdout;
  }

  /** Through the socket in its folder, because this process is not on the management network. */
  openDatabase(): Promise<OpenDatabase> {
    return openDatabase(this.shared.localDatabaseUrl, { connectionsMax: 2 });
  }

  tail(): string {
    return lastLines(this.hosts);
  }

  async down(): Promise<void> {
    await Promise.all(this.hosts.flatMap((host) => [...host.roles.values()].map((role) => role.kill9())));
    for (const host of this.hosts) await endNetworks(host.state, host.machine.run);
    await Promise.all(this.hosts.map((host) => host.removeSwitch()));
    await Promise.all(Array.from({ length: this.#count }, (_, index) =>
      root(hostUp, ['down', `${this.#name}-h${index + 1}`, hostFolder(this.#name, index + 1)], { timeoutMs: 60_000 })));
    await this.#shared?.close();
    await endNamespace(this.#fabric);
    await waitFor(`${this.folder} can be removed`, { timeoutMs: 60_000 }, async () => {
      await rm(this.folder, { recursive: true, force: true });
      return true;
    });
  }
}

const hostUp = join(import.meta.dirname, 'host-up.sh');
const hostFolder = (name: string, number: number): string => `/tmp/novact-host-${name}-h${number}`;

interface Prepared {
  readonly fabric: string;
  readonly machine: TestHost;
  readonly number: number;
  readonly folder: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly security: Security | undefined;
  /** The folder that the hosts share, if they do. */
  readonly instances: string | undefined;
  readonly volumes: boolean | undefined;
  readonly switched: boolean | undefined;
  readonly environment: () => Readonly<Record<string, string>>;
}

/** What the guide has an operator make with openssl and `novact redis-users`. */
interface Security {
  readonly servers: { readonly certificates: string; readonly users: string };
  /** Of every role. */
  readonly settings: Readonly<Record<string, string>>;
  /** So that Node believes the certificate of PostgreSQL. */
  readonly env: Readonly<Record<string, string>>;
  machine(number: number): { readonly certificates: string };
  redisUrl(host: string, role: RoleName): Promise<string>;
}

async function makeSecurity(folder: string, count: number, volumes?: boolean): Promise<Security> {
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const [shared = '', ...own] = await makeCertificates(join(folder, 'pki'), [sharedAddress, ...numbers.map(addressOf)]);
  const users = join(folder, 'users');
  const hosts = numbers.map((number) => ({ host: `h${number}`, roles: rolesOf(number - 1, volumes) }));
  await writeRedisUsers({ hosts, url: securedRedisUrl(sharedAddress), folder: users });
  const authority = join(shared, 'ca-cert.pem');
  return {
    servers: { certificates: shared, users: join(users, 'users.acl') },
    // On machines of their own, certificates lie in /etc/pki; here each daemon has its folder, and all of them ask with the one of the first.
    settings: { NOVACT_REDIS_CA: authority, NOVACT_MIGRATION_URI: `qemu+tls://{address}/system?pkipath=${own[0]}` },
    env: { NODE_EXTRA_CA_CERTS: authority },
    machine: (number) => ({ certificates: own[number - 1] ?? '' }),
    redisUrl: async (host, role) => /^NOVACT_REDIS_URL=(.*)$/m.exec(await readFile(join(users, host, `novact-${role}.env`), 'utf8'))?.[1] ?? '',
  };
}

class OneHost implements Host {
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly machine: TestHost;
  readonly roles = new Map<RoleName, RoleProcess>();
  readonly #of: Prepared;
  #switch: OpenVswitch | undefined;

  private constructor(of: Prepared) {
    this.#of = of;
    this.machine = of.machine;
    this.name = `h${of.number}`;
    this.address = addressOf(of.number);
    this.state = join(of.folder, this.name);
  }

  static async prepare(of: Prepared): Promise<OneHost> {
    const host = new OneHost(of);
    const settings = {
      ...of.settings, NOVACT_STATE: host.state, NOVACT_ADDRESS: host.address, NOVACT_BIND: host.address, NOVACT_API_PORT: '8773', NOVACT_S3_PORT: '3333',
      NOVACT_METADATA_PORT: '8775', NOVACT_LIBVIRT_SOCKET: of.machine.socket, NOVACT_INSTANCES_SHARED: of.instances === undefined ? 'no' : 'yes',
    };
    await host.#newBoot();
    if (of.instances !== undefined) {
      await mkdir(host.state, { mode: 0o711 });
      await symlink(of.instances, join(host.state, 'instances'));
    }
    if (of.switched === true) {
      const { machine: { run, namespace } } = of;
      host.#switch = await prepareOpenVswitch({ run, namespace, folder: join(of.folder, `${host.name}-switch`), cable: 'guests0' });
      await host.#switch.start();
    }
    const env = { ...of.security?.env, ...host.#switch?.environment };
    for (const role of rolesOf(of.number - 1, of.volumes)) {
      const own = of.security === undefined ? {} : { NOVACT_REDIS_URL: await of.security.redisUrl(host.name, role) };
      host.roles.set(role, await prepareRole({
        role, host: host.name, namespace: of.machine.namespace, wrap: host.#wrap, settings: { ...settings, ...own }, env,
      }));
    }
    return host;
  }

  readonly run: Run = (command, args, options = {}) =>
    this.machine.run(command, args, { cwd: this.#of.folder, ...options, env: { ...this.#of.environment(), ...options.env } });

  /** As `run`, for who asks whether a process of this boot still lives: `novact` itself. */
  readonly runOnBoot: Run = (command, args, options) => {
    const [program = command, ...rest] = this.#wrap;
    return this.machine.run(program, [...rest, command, ...args], options);
  };

  /** A machine that was restarted has another boot id; what lives in the namespaces of one kernel has to pretend. */
  get #wrap(): string[] {
    return ['unshare', '-m', '--propagation', 'private', 'sh', '-c', `mount --bind ${this.#bootId} /proc/sys/kernel/random/boot_id && exec "$@"`, 'sh'];
  }

  get #bootId(): string {
    return join(this.#of.folder, `${this.name}.boot-id`);
  }

  #newBoot(): Promise<void> {
    return writeFile(this.#bootId, `${randomUUID()}\n`);
  }

  async startRoles(): Promise<void> {
    await Promise.all([...this.roles.values()].filter((role) => role.pid() === undefined).map((role) => role.start()));
  }

  inRouter(routerId: string): Run {
    return async (command, args, options) => {
      const path = await namespacePath(`novact-${this.name}-${routerId}`);
      if (path === undefined) throw new Error(`${this.name} has no router of ${routerId}`);
      return root('nsenter', [`--net=${path}`, command, ...args], options);
    };
  }

  async servers(program: 'dnsmasq' | 'tgtd'): Promise<number[]> {
    const found = await findProcesses(([command = '', ...args]) =>
      command.split('/').at(-1) === program && args.some((arg) => arg.replace(/^--pid-file=/, '').startsWith(`${this.state}/`)));
    return found.map(({ pid }) => pid);
  }

  async killServers(program: 'dnsmasq' | 'tgtd'): Promise<void> {
    for (const pid of await this.servers(program)) signalProcess(pid, 'SIGKILL');
  }

  async pullPlug(): Promise<void> {
    // Nothing of the host is heard from this moment on; only then it ends, so that no one can say goodbye.
    for (const link of ['management0', 'guests0']) await this.machine.run('ip', ['link', 'set', link, 'down']);
    await Promise.all([...this.roles.values()].map((role) => role.kill9()));
    await this.machine.killLibvirtd();
    const { stdout } = await root('ip', ['netns', 'pids', this.machine.namespace]);
    for (const pid of await withDescendants(words(stdout))) await root('kill', ['-9', pid], { okCodes: [0, 1] });
    // What lives in the kernel only does not survive either.
    for (const table of ['inet', 'bridge']) await this.machine.run('nft', ['delete', 'table', table, 'novact'], { okCodes: [0, 1] });
    await this.machine.run('ip', ['link', 'delete', 'novact0'], { okCodes: [0, 1] });
    await endNetworks(this.state, this.machine.run);
    await rm(join(this.machine.directory, 'run'), { recursive: true, force: true });
  }

  async removeSwitch(): Promise<void> {
    await this.#switch?.stop();
  }

  async plugIn(): Promise<void> {
    for (const link of ['management0', 'guests0']) await this.machine.run('ip', ['link', 'set', link, 'up']);
    await this.machine.run('ip', ['route', 'replace', 'default', 'via', sharedAddress]);
    await this.#newBoot();
    await this.#switch?.start();
    await this.machine.startLibvirtd();
    await this.startRoles();
  }
}

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** A container is in a network namespace of its own, but a child of who started it. Children first. */
async function withDescendants(pids: readonly string[]): Promise<string[]> {
  const found = new Set(pids);
  const { stdout } = await root('ps', ['-eo', 'ppid=,pid=', '--sort=start_time']);
  for (const line of stdout.trim().split('\n')) {
    const [parent = '', pid = ''] = words(line);
    if (found.has(parent)) found.add(pid);
  }
  return [...found].toReversed();
}
