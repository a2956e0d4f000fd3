// A host in a network namespace with the Linux driver on it, guests that are namespaces on veths named like taps, and an outside. Guests can
// ask for leases with a real client, serve, connect, and send frames that no honest guest would. Root only.
import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import ipaddr from 'ipaddr.js';
import { createLinuxNetwork, type LinuxNetwork } from '../../src/drivers/network/linux/linux.ts';
import type { FirewallSpec, TrafficRule, NetworkSpec, PortSpec } from '../../src/drivers/network/driver.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

export const labNetwork: NetworkSpec = {
  id: 'net-0123456789abcdef0', bridge: 'novact0', cidr: '10.45.0.0/20', gateway: '10.45.0.1', dnsDomain: 'novalocal', mtu: 1400, leaseSeconds: 3600,
};

export interface Guest {
  readonly name: string;
  readonly instanceId: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
  readonly run: Run;
  /** Asks for a lease with busybox's client, and takes it. What the server said, as `name=value` lines. */
  lease(): Promise<string>;
  /** Address and route without asking. */
  configure(): Promise<void>;
  /** Does a TCP connection to there come about? */
  reaches(address: string, port: number): Promise<boolean>;
  pings(address: string): Promise<boolean>;
}

export interface LabProcess {
  /** Resolves when the output holds the text. */
  saw(text: string): Promise<void>;
  output(): string;
  write(text: string): void;
  stop(): void;
}

export interface NetworkLab {
  readonly driver: LinuxNetwork;
  readonly run: Run;
  readonly stateDirectory: string;
  guest(number: number): Promise<Guest>;
  outside(): Promise<Run>;
  /** A long-lived command in a namespace of the lab. */
  start(namespace: string, command: string, ...args: readonly string[]): LabProcess;
  firewall(ports: readonly PortSpec[]): FirewallSpec;
  down(): Promise<void>;
}

export const port = (guest: Guest, ingress: readonly TrafficRule[] = []): PortSpec => ({
  instanceId: guest.instanceId, tap: guest.tap, bridge: labNetwork.bridge, mac: guest.mac, address: guest.address, ingress,
});

export const leaseScript = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
ip link set $interface mtu \${mtu:-1500}
for r in $router; do ip route replace default via $r; done
echo "ip=$ip"; echo "mask=$mask"; echo "router=$router"; echo "dns=$dns"; echo "mtu=$mtu"; echo "domain=$domain"; echo "lease=$lease"; echo "hostname=$hostname"
echo "routes=$staticroutes"
`;

/** `name` begins every namespace: unlike that of any other spec. */
export async function networkLab(name: string): Promise<NetworkLab> {
  const root = createRun({ log: silentLog });
  const stateDirectory = `/tmp/${name}`;
  const host = `${name}-host`;
  const namespaces = new Set<string>();
  const processes: ChildProcess[] = [];

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

  await rm(stateDirectory, { recursive: true, force: true });
  await mkdir(stateDirectory, { mode: 0o755 });
  await chmod(stateDirectory, 0o755);
  await writeFile(`${stateDirectory}/lease`, leaseScript, { mode: 0o755 });
  const run = await addNamespace(host);
  const driver = createLinuxNetwork({ run, machine: root, log: silentLog, clock: systemClock, stateDirectory: `${stateDirectory}/network` });

  return {
    driver, run, stateDirectory,
    async guest(number) {
      const namespace = `${name}-g${number}`;
      const inside = await addNamespace(namespace);
      const digits = String(number).padStart(2, '0');
      const tap = `nv0000000000${digits}`;
      const mac = `02:16:3e:00:00:${digits}`;
      const address = `10.45.0.${10 + number}`;
      await root('ip', ['-n', host, 'link', 'add', tap, 'type', 'veth', 'peer', 'name', 'eth0', 'address', mac, 'netns', namespace]);
      await run('ip', ['link', 'set', tap, 'master', labNetwork.bridge, 'up']);
      await inside('ip', ['link', 'set', 'eth0', 'up']);
      return guestOf({ name: namespace, instanceId: `i-0000000000${digits}00000`, tap, mac, address, run: inside }, stateDirectory);
    },
    async outside() {
      const namespace = `${name}-out`;
      const inside = await addNamespace(namespace);
      await root('ip', ['-n', host, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace]);
      await run('ip', ['addr', 'add', '192.0.2.1/24', 'dev', 'up0']);
      await run('ip', ['link', 'set', 'up0', 'up']);
      await inside('ip', ['addr', 'add', '192.0.2.2/24', 'dev', 'eth0']);
      await inside('ip', ['link', 'set', 'eth0', 'up']);
      return inside;
    },
    start(namespace, command, ...args) {
      const child = spawn('ip', ['netns', 'exec', namespace, command, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
      processes.push(child);
      return labProcess(child);
    },
    firewall: (ports) => ({ networks: [labNetwork], ports, metadataPort: 8775 }),
    async down() {
      for (const child of processes) child.kill('SIGKILL');
      await driver.close();
      for (const namespace of namespaces) await removeNamespace(namespace);
      await rm(stateDirectory, { recursive: true, force: true });
    },
  };
}

type Inside = Pick<Guest, 'name' | 'instanceId' | 'tap' | 'mac' | 'address' | 'run'>;

const guestOf = (guest: Inside, directory: string): Guest => ({
  ...guest,
  async lease() {
    const args = ['udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-t', '6', '-T', '1', '-O', 'mtu', '-O', 'staticroutes', '-s', `${directory}/lease`];
    return (await guest.run('busybox', args)).stdout;
  },
  async configure() {
    await guest.run('ip', ['addr', 'replace', `${guest.address}/20`, 'dev', 'eth0']);
    await guest.run('ip', ['route', 'replace', 'default', 'via', labNetwork.gateway]);
  },
  reaches: async (address, toPort) => (await guest.run('nc', ['-z', '-w', '1', address, String(toPort)], { okCodes: [0, 1] })).code === 0,
  pings: async (address) => (await guest.run('ping', ['-c', '1', '-W', '1', address], { okCodes: [0, 1, 2] })).code === 0,
});

function labProcess(child: ChildProcess): LabProcess {
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return {
    output: () => text,
    write: (line) => void child.stdin?.write(line),
    stop: () => void child.kill('SIGKILL'),
    saw: (wanted) => new Promise((resolve, reject) => {
      const deadline = setTimeout(() => reject(new Error(`never said ${wanted}, but: ${text.slice(-500)}`)), 30_000);
      const look = () => {
        if (!text.includes(wanted)) return;
        clearTimeout(deadline);
        child.stdout?.off('data', look);
        resolve();
      };
      child.stdout?.on('data', look);
      look();
    }),
  };
}

/** Prints every frame that arrives, as one line of hexadecimal digits, after a line `ready`. */
export const sniffer = ['/usr/bin/python3', '-u', '-c', `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind(('eth0', 0)); print('ready')
while True:
    data, meta = s.recvfrom(4096)
    if meta[2] != 4: print(data.hex())
`] as const;

/** Sends frames, given as hexadecimal text, in order. */
export const sendFrames = (guest: Guest, frames: readonly string[]): Promise<unknown> => guest.run('/usr/bin/python3', ['-c', `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))
for frame in sys.argv[1:]: s.send(bytes.fromhex(frame))
`, ...frames]);

const hexMac = (mac: string): string => mac.replaceAll(':', '');
const hexAddress = (address: string): string => address.split('.').map((part) => Number(part).toString(16).padStart(2, '0')).join('');
const hex16 = (value: number): string => value.toString(16).padStart(4, '0');

/** An ARP reply; `mark` is its target address, by which a sniffer knows it again. */
export const arpFrame = (of: { from: string; to: string; senderMac: string; sender: string; mark: string }): string =>
  `${hexMac(of.to)}${hexMac(of.from)}08060001080006040002${hexMac(of.senderMac)}${hexAddress(of.sender)}${hexMac(of.to)}${hexAddress(of.mark)}`;

/** A UDP datagram over IPv4 whose payload is the marking text. */
export function udpFrame(of: { from: string; to: string; source: string; target: string; ports: readonly [number, number]; mark: string }): string {
  const payload = Buffer.from(of.mark).toString('hex');
  const udp = `${hex16(of.ports[0])}${hex16(of.ports[1])}${hex16(8 + of.mark.length)}0000${payload}`;
  const header = (sum: string) => `4500${hex16(28 + of.mark.length)}000000004011${sum}${hexAddress(of.source)}${hexAddress(of.target)}`;
  return `${hexMac(of.to)}${hexMac(of.from)}0800${header(checksum(header('0000')))}${udp}`;
}

/** The Internet checksum of hexadecimal text. */
function checksum(text: string): string {
  const words = text.match(/.{4}/g)?.map((word) => Number.parseInt(word, 16)) ?? [];
  let sum = words.reduce((a, b) => a + b, 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return hex16(0xffff - sum);
}

/** An IPv6 router advertisement to all nodes, with a mark of at most twelve characters at its end. A bridge that snoops looks at its checksum. */
export function routerAdvertisement(from: string, mark: string): string {
  const ends = `fe80${'00'.repeat(13)}01ff02${'00'.repeat(13)}01`;
  const message = (sum: string) => `8600${sum}${Buffer.from(mark).toString('hex').padEnd(24, '0')}`;
  const sum = checksum(`${ends}000000100000003a${message('0000')}`);
  return `333300000001${hexMac(from)}86dd6000000000103aff${ends}${message(sum)}`;
}

interface IPv6Frame {
  readonly from: string;
  readonly to: string;
  readonly source: string;
  readonly target: string;
  readonly next: 17 | 58;
  /** A datagram, or what a neighbour says of an address; its last bytes are the marking text. */
  readonly payload: { readonly mark: string } & ({ readonly ports: readonly [number, number] } | { readonly about: string });
}

/** With a checksum where a firewall looks at it. */
export function ipv6Frame({ from, to, source, target, next, payload }: IPv6Frame): string {
  const mark = Buffer.from(payload.mark).toString('hex');
  const advertisement = (about: string, sum: string) => `8800${sum}20000000${hexIPv6(about)}${mark}`;
  const ends = `${hexIPv6(source)}${hexIPv6(target)}`;
  const sumOf = (text: string) => checksum(`${ends}0000${hex16(text.length / 2)}0000003a${text.padEnd(text.length + text.length % 4, '0')}`);
  const body = 'ports' in payload
    ? `${hex16(payload.ports[0])}${hex16(payload.ports[1])}${hex16(8 + payload.mark.length)}0000${mark}`
    : advertisement(payload.about, sumOf(advertisement(payload.about, '0000')));
  return `${hexMac(to)}${hexMac(from)}86dd60000000${hex16(body.length / 2)}${next.toString(16).padStart(2, '0')}ff${hexIPv6(source)}${hexIPv6(target)}${body}`;
}

const hexIPv6 = (address: string): string => Buffer.from(ipaddr.IPv6.parse(address).toByteArray()).toString('hex');
