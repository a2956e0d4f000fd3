// Run in the nested guest, as the drivers of networks work on the machine that Node runs on: two projects with one range as VLANs on two hosts, and what
// their guests and a witness on the cable between the hosts see, as one line of JSON.
import type { TrafficRule } from '../../src/drivers/network/driver.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { everything, inGuest, projectLab, serveWord, type LabHost, type ProjectGuest, type ProjectLab, type ProjectNetwork } from './project-lab.ts';

type Words = readonly (string | null)[];

export interface VlanFacts {
  readonly leases: readonly string[];
  /** What each guest hears of its neighbour on the other host. */
  readonly heard: { readonly open: Words; readonly closed: Words; readonly toLeftOnly: Words };
  /** Of its own host, by the host's address and by the gateway's. */
  readonly ofTheHost: Words;
  readonly frames: readonly string[];
  /** Of both hosts and of the machine that they are on, once the networks were removed. */
  readonly left: readonly string[];
}

const range = { cidr: '10.0.0.0/24', gateway: '10.0.0.1' };
const red: ProjectNetwork = { ...range, projectId: 'red', routerId: 'vpc-red00000000000000', segment: 101 };
const blue: ProjectNetwork = { ...range, projectId: 'blue', routerId: 'vpc-blue0000000000000', segment: 102 };
const [onLeft, onRight] = ['10.0.0.10', '10.0.0.11'] as const;
const fromRight: TrafficRule = { protocol: 'tcp', fromPort: 80, toPort: 80, cidrs: [`${onRight}/32`] };
const framesMin = 40;
const watchMs = 150_000;
const machine = createRun({ log: silentLog });
const stops: (() => void)[] = [];

async function makeGuests([left, right]: readonly [LabHost, LabHost]): Promise<readonly ProjectGuest[]> {
  const guests: ProjectGuest[] = [];
  for (const [host, number] of [[left, 10], [right, 11]] as const) for (const network of [red, blue]) guests.push(await lab.guest(host, network, number));
  await Promise.all(lab.hosts.map((host) => lab.ensure(host, guests)));
  for (const guest of guests) stops.push(await serveWord(inGuest(guest), `${guest.network.projectId} ${guest.host.name}`, 80));
  return guests;
}

/** What each hears under these rules. */
async function hear(guests: readonly ProjectGuest[], ingress: readonly TrafficRule[]): Promise<Words> {
  for (const host of lab.hosts) await lab.applyRules(host, guests, ingress);
  return Promise.all(guests.map(async (guest) => (await guest.hears(guest.port.address === onLeft ? onRight : onLeft, 80)) ?? null));
}

/** On the cable, while the guests of the first host ask for those of the second. */
async function watchCable(guests: readonly ProjectGuest[]): Promise<string[]> {
  const filter = 'net 10.0.0.0/24 or (vlan and net 10.0.0.0/24)';
  const watching = lab.outside('timeout', ['120', 'tcpdump', '-nne', '-l', '-c', String(framesMin), '-i', 'h1', filter], { timeoutMs: watchMs });
  const asking = guests.filter((guest) => guest.port.address === onLeft).map((guest) =>
    guest.run('ping', ['-c', '60', '-i', '0.3', '-W', '2', onRight], { timeoutMs: watchMs, okCodes: [0, 1] }));
  const { stdout } = await watching;
  await Promise.all(asking);
  return stdout.split('\n').filter((line) => line !== '');
}

async function look([left, right]: readonly [LabHost, LabHost]): Promise<Omit<VlanFacts, 'left'>> {
  await left.driver.probe({ kind: 'vlan', interface: 'eth0' });
  const guests = await makeGuests([left, right]);
  const leases = [];
  for (const guest of guests) leases.push(await guest.lease());
  const open = await hear(guests, [everything]);
  const frames = await watchCable(guests);
  const heard = { open, closed: await hear(guests, []), toLeftOnly: await hear(guests, [fromRight]) };
  stops.push(await serveWord(['ip', 'netns', 'exec', left.namespace], 'host', 9000));
  const [first] = guests;
  const ofTheHost = [(await first?.hears(left.address, 9000)) ?? null, (await first?.hears(range.gateway, 9000)) ?? null];
  return { leases, heard, ofTheHost, frames };
}

/** Links, rules and servers of the networks, and namespaces of their routers. */
async function remains(hosts: readonly LabHost[]): Promise<string[]> {
  const own = new Set(hosts.map((host) => host.namespace));
  const found = [];
  for (const host of hosts) {
    await host.driver.removeAll([host.spec(red), host.spec(blue)]);
    const links = (await host.run('ip', ['-br', 'link'])).stdout.split('\n').filter((line) => /^nv(s|p|t|br)/.test(line));
    const tables = (await host.run('nft', ['list', 'tables'])).stdout.split('\n').filter((line) => line !== '');
    found.push(...links, ...tables);
  }
  const namespaces = (await machine('ip', ['netns', 'list'])).stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
  const servers = (await machine('ps', ['-eo', 'args='])).stdout.split('\n').filter((line) => line.startsWith('dnsmasq'));
  return [...found, ...namespaces.filter((name) => name !== '' && !name.startsWith('nvl-') && !own.has(name)), ...servers];
}

const lab: ProjectLab = await projectLab('nvl', { hosts: 2, manager: 'vlan' });
try {
  const [left, right] = lab.hosts;
  if (left === undefined || right === undefined) throw new Error('there are no two hosts');
  const facts = await look([left, right]);
  const all: VlanFacts = { ...facts, left: await remains([left, right]) };
  process.stdout.write(`${JSON.stringify(all)}\n`);
} finally {
  for (const stop of stops) stop();
  await lab.down();
}
