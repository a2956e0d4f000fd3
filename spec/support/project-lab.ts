// Hosts in network namespaces, joined by a wire, with the Linux driver on each; networks of projects on them, and guests that are namespaces on
// veths named like taps. Root only.
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { networkSpecOf } from '../../src/actors/network/network-spec.ts';
import type { DhcpHost, FloatingAddress, TrafficRule, NetworkSpec, PortSpec } from '../../src/drivers/network/driver.ts';
import { createNamespaces } from '../../src/drivers/network/linux/namespace.ts';
import { createLinuxNetwork, type LinuxNetwork } from '../../src/drivers/network/linux/linux.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { leaseScript } from './network-lab.ts';
import { prepareOpenVswitch, trunkBridge, type OpenVswitch } from './open-vswitch.ts';

export interface ProjectNetwork {
  readonly projectId: string;
  readonly routerId: string;
  readonly segment: number;
  readonly cidr: string;
  readonly gateway: string;
  /** Where its routes lead to outside; may be changed, for the next `ensure`. Default: everywhere. */
  ways?: readonly string[];
}

export interface LabHost {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  readonly run: Run;
  readonly stateDirectory: string;
  driver: LinuxNetwork;
  /** The network as this host plumbs it; peers are all other hosts of the lab. */
  spec(network: ProjectNetwork): NetworkSpec;
  /** In the namespace of the network's router on this host. */
  inRouter(network: ProjectNetwork): Run;
}

export interface ProjectGuest {
  readonly namespace: string;
  readonly host: LabHost;
  readonly network: ProjectNetwork;
  readonly port: PortSpec;
  readonly dhcp: DhcpHost;
  readonly run: Run;
  lease(): Promise<string>;
  pings(address: string): Promise<boolean>;
  /** What a TCP server there says; undefined: no connection came about. */
  hears(address: string, port: number, input?: string): Promise<string | undefined>;
}

export interface ProjectLab {
  readonly hosts: readonly LabHost[];
  /** What carries VLANs on every host. */
  readonly trunk: string;
  /** Of every host, where they are. */
  readonly switches: readonly OpenVswitch[];
  /** On the wire, as the world outside the cloud: 198.51.100.254. */
  readonly outside: Run;
  guest(host: LabHost, network: ProjectNetwork, number: number): Promise<ProjectGuest>;
  /** The rules of a host for these guests, whoever of them is there. */
  applyRules(host: LabHost, guests: readonly ProjectGuest[], ingress?: readonly TrafficRule[], floating?: readonly FloatingAddress[]): Promise<void>;
  /** As above, with networks and DHCP. */
  ensure(host: LabHost, guests: readonly ProjectGuest[], ingress?: readonly TrafficRule[]): Promise<void>;
  anew(host: LabHost): Promise<void>;
  down(): Promise<void>;
}

const trunkOf = ({ isSwitched = false }: ProjectLabOptions): string => (isSwitched ? trunkBridge : 'eth0');
export const everything: TrafficRule = { protocol: '-1', fromPort: -1, toPort: -1, cidrs: ['0.0.0.0/0'] };
export const outsideAddress = '198.51.100.254';
const metadataPort = 8775;

export interface ProjectLabOptions {
  readonly hosts: number;
  /** Default `vxlan`. */
  readonly manager?: 'vlan' | 'vxlan';
  /** Each host has an Open vSwitch before its cable, which tags the frames of VLANs. Default false: the kernel does. */
  readonly isSwitched?: boolean;
}

/** `name` begins every namespace: unlike that of any other spec. */
export async function projectLab(name: string, options: ProjectLabOptions): Promise<ProjectLab> {
  const root = createRun({ log: silentLog });
  const manager = options.manager ?? 'vxlan';
  const namespaces = new Set<string>();
  const directory = `/tmp/${name}`;
  const removeNamespace = async (namespace: string) => {
    const { stdout } = await root('ip', ['netns', 'pids', namespace], { okCodes: [0, 1, 255] });
    for (const pid of stdout.split('\n').filter((line) => line !== '')) await root('kill', ['-9', pid], { okCodes: [0, 1] });
    await root('ip', ['netns', 'del', namespace], { okCodes: [0, 1] });
  };
  const addNamespace = async (namespace: string): Promise<Run> => {
    await removeNamespace(namespace);
    await root('ip', ['netns', 'add', namespace]);
    namespaces.add(namespace);
    const run = createRun({ log: silentLog, networkNamespace: namespace });
    await run('ip', ['link', 'set', 'lo', 'up']);
    return run;
  };
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o755 });
  await writeFile(`${directory}/lease`, leaseScript, { mode: 0o755 });
  const wire = `${name}-w`;
  const outside = await addNamespace(wire);
  await outside('ip', ['link', 'add', 'wire0', 'type', 'bridge']);
  await outside('ip', ['address', 'add', `${outsideAddress}/24`, 'dev', 'wire0']);
  await outside('ip', ['link', 'set', 'wire0', 'up']);
  // For frames of guests alone, where the hosts have switches.
  await outside('ip', ['link', 'add', 'wire1', 'type', 'bridge']);
  await outside('ip', ['link', 'set', 'wire1', 'up']);
  const addressOf = (number: number): string => `198.51.100.${number}`;
  const driverOf = (run: Run, stateDirectory: string) => createLinuxNetwork({ run, machine: root, log: silentLog, clock: systemClock, stateDirectory });

  const switches: OpenVswitch[] = [];

  async function makeHost(number: number): Promise<LabHost> {
    const namespace = `${name}-h${number}`;
    const plainRun = await addNamespace(namespace);
    await root('ip', ['-n', wire, 'link', 'add', `h${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace]);
    await outside('ip', ['link', 'set', `h${number}`, 'master', 'wire0', 'up']);
    await plainRun('ip', ['address', 'add', `${addressOf(number)}/24`, 'dev', 'eth0']);
    await plainRun('ip', ['link', 'set', 'eth0', 'up']);
    await plainRun('ip', ['route', 'add', 'default', 'via', outsideAddress]);
    const stateDirectory = `${directory}/h${number}`;
    const ownSwitch = options.isSwitched === true
      ? await prepareOpenVswitch({ run: plainRun, namespace, folder: `${directory}/switch-${number}`, cable: 'guests0' }) : undefined;
    const run: Run = (command, args, more = {}) => plainRun(command, args, { ...more, env: { ...ownSwitch?.environment, ...more.env } });
    if (ownSwitch !== undefined) {
      switches.push(ownSwitch);
      await root('ip', ['-n', wire, 'link', 'add', `g${number}`, 'type', 'veth', 'peer', 'name', 'guests0', 'netns', namespace]);
      await outside('ip', ['link', 'set', `g${number}`, 'master', 'wire1', 'up']);
      await ownSwitch.start();
    }
    const peers = Array.from({ length: options.hosts }, (_, index) => index + 1).filter((other) => other !== number).map(addressOf);
    const trunk = trunkOf(options);
    const spec = ({ projectId, routerId, segment, cidr, gateway, ways }: ProjectNetwork): NetworkSpec => networkSpecOf({
      id: `net-${segment}`, name: `net-${segment}`, manager, cidr, gateway, bridge: `nvbr${manager === 'vxlan' ? 'x' : 'l'}${segment}`, mtu: 1450,
      createdAt: new Date(0), projectId, routerId, segment, ipv6Cidr: null, isDefault: true,
    }, { host: `${name}-h${number}`, dnsDomain: 'novalocal', leaseSeconds: 3_600, address: addressOf(number), vlanInterface: trunk }, { peers, ways });
    return {
      name: `h${number}`, namespace, address: addressOf(number), run, stateDirectory, driver: driverOf(run, stateDirectory), spec,
      inRouter: (network) => createNamespaces({ machine: root, clock: systemClock, log: silentLog }).inside(spec(network).router?.namespace ?? ''),
    };
  }
  const hosts = await Promise.all(Array.from({ length: options.hosts }, (_, index) => makeHost(index + 1)));
  const used = new Map<string, { host: LabHost; network: ProjectNetwork }>();

  /** With a member of one of a router's networks come the others. */
  function networksOn(host: LabHost): ProjectNetwork[] {
    const routers = new Set([...used.values()].filter((one) => one.host === host).map((one) => one.network.routerId));
    return [...new Set([...used.values()].map((one) => one.network))].filter((network) => routers.has(network.routerId));
  }
  const applyRules: ProjectLab['applyRules'] = async (host, guests, ingress = [everything], floating = []) => {
    const ports = guests.filter((guest) => guest.host === host).map((guest) => ({ ...guest.port, ingress }));
    await host.driver.applyFirewall({ networks: networksOn(host).map(host.spec), ports, metadataPort, floating });
  };

  return {
    hosts, outside, trunk: trunkOf(options), switches,
    async guest(host, network, number) {
      const namespace = `${name}-g${network.segment}-${number}`;
      const run = await addNamespace(namespace);
      const tap = `nv${network.segment}00${String(number).padStart(6, '0')}`;
      const mac = `02:16:3e:00:${(network.segment % 100).toString().padStart(2, '0')}:${number.toString(16).padStart(2, '0')}`;
      const address = network.cidr.replace(/\d+\/\d+$/, String(number));
      const spec = host.spec(network);
      await root('ip', ['-n', host.namespace, 'link', 'add', tap, 'type', 'veth', 'peer', 'name', 'eth0', 'address', mac, 'netns', namespace]);
      await host.driver.ensureNetwork(spec, []);
      await host.run('ip', ['link', 'set', tap, 'master', spec.bridge, 'up']);
      await run('ip', ['link', 'set', 'eth0', 'up']);
      used.set(`${host.name} ${network.segment}`, { host, network });
      const instanceId = `i-${network.segment}-${number}`;
      return {
        namespace, host, network, run,
        port: { instanceId, tap, bridge: spec.bridge, mac, address, ingress: [everything] },
        dhcp: { mac, address, hostname: instanceId },
        async lease() {
          const args = ['udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-t', '8', '-T', '1', '-O', 'mtu', '-O', 'staticroutes', '-s', `${directory}/lease`];
          return (await run('busybox', args)).stdout;
        },
        pings: async (to) => (await run('ping', ['-c', '1', '-W', '2', to], { okCodes: [0, 1, 2] })).code === 0,
        async hears(to, port, input = '') {
          const { code, stdout } = await run('nc', ['-w', '3', to, String(port)], { okCodes: [0, 1], input });
          return code === 0 && stdout !== '' ? stdout.trim() : undefined;
        },
      };
    },
    applyRules,
    async ensure(host, guests, ingress) {
      await applyRules(host, guests, ingress);
      const own = guests.filter((guest) => guest.host === host);
      for (const network of networksOn(host)) {
        const [here, there] = [own, guests.filter((guest) => guest.host !== host)].map((some) =>
          some.filter((guest) => guest.network === network).map((guest) => guest.dhcp));
        await host.driver.ensureNetwork(host.spec(network), here ?? [], there);
      }
    },
    async anew(host) {
      await host.driver.close();
      host.driver = driverOf(host.run, host.stateDirectory);
    },
    async down() {
      for (const host of hosts) {
        await host.driver.removeAll([...used.values()].filter((one) => one.host === host).map((one) => host.spec(one.network))).catch(() => undefined);
        await host.driver.close();
      }
      for (const one of switches) await one.stop();
      for (const namespace of namespaces) await removeNamespace(namespace);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A server in a namespace that says a word to whoever connects, or who is asking. */
export async function serveWord(namespace: readonly string[], word: string, port: number): Promise<() => void> {
  const answer = `(s) => { s.on('error', () => {}); s.end(${JSON.stringify(word)} + ' to ' + s.remoteAddress.replace('::ffff:', '') + '\\n') }`;
  const script = `require('net').createServer(${answer}).listen(${port}, () => console.log('up'))`;
  const [command = '', ...rest] = [...namespace, process.execPath, '-e', script];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return () => void child.kill('SIGKILL');
}

export const inGuest = (guest: ProjectGuest): string[] => ['ip', 'netns', 'exec', guest.namespace];
