// Run in the nested guest, as the drivers of networks work on the machine that Node runs on: two projects with one range as VLANs on two hosts, and what
// their guests and a witness on the cable between the hosts see, as one line of JSON.
import { inGuest, projectLab, serveWord, type ProjectLab, type ProjectNetwork } from './project-lab.ts';

export interface VlanFacts {
  readonly leases: readonly string[];
  /** What each guest hears of its neighbour on the other host. */
  readonly heard: readonly (string | undefined)[];
  /** Of its own host, by the host's address and by the gateway's. */
  readonly ofTheHost: readonly (string | undefined)[];
  readonly frames: readonly string[];
  readonly left: readonly string[];
}

const range = { cidr: '10.0.0.0/24', gateway: '10.0.0.1' };
const red: ProjectNetwork = { ...range, projectId: 'red', routerId: 'vpc-red00000000000000', segment: 101 };
const blue: ProjectNetwork = { ...range, projectId: 'blue', routerId: 'vpc-blue0000000000000', segment: 102 };
const watchMs = 150_000;
const stops: (() => void)[] = [];

async function look(lab: ProjectLab): Promise<Omit<VlanFacts, 'left'>> {
  const [left, right] = lab.hosts;
  if (left === undefined || right === undefined) throw new Error('there are no two hosts');
  await left.driver.probe('vlan');
  const guests = [
    await lab.guest(left, red, 10), await lab.guest(left, blue, 10), await lab.guest(right, red, 11), await lab.guest(right, blue, 11),
  ] as const;
  await Promise.all(lab.hosts.map((host) => lab.ensure(host, guests)));
  for (const guest of guests) stops.push(await serveWord(inGuest(guest), `${guest.network.projectId} ${guest.host.name}`, 80));
  const leases = [];
  for (const guest of guests) leases.push(await guest.lease());
  const heard = [];
  for (const guest of guests) heard.push(await guest.hears(guest.host === left ? '10.0.0.11' : '10.0.0.10', 80));
  stops.push(await serveWord(['ip', 'netns', 'exec', left.namespace], 'host', 9000));
  const ofTheHost = [await guests[0].hears(left.address, 9000), await guests[0].hears('10.0.0.1', 9000)];
  const filter = 'net 10.0.0.0/24 or (vlan and net 10.0.0.0/24)';
  const watching = lab.outside('timeout', ['120', 'tcpdump', '-nne', '-l', '-c', '16', '-i', 'h1', filter], { timeoutMs: watchMs });
  const speaking = guests.slice(0, 2).map((guest) =>
    guest.run('ping', ['-c', '30', '-i', '0.5', '-W', '2', '10.0.0.11'], { timeoutMs: watchMs, okCodes: [0, 1] }));
  const frames = (await watching).stdout.split('\n').filter((line) => line !== '');
  await Promise.all(speaking);
  return { leases, heard, ofTheHost, frames };
}

const lab = await projectLab('nvl', { hosts: 2, manager: 'vlan' });
const [left] = lab.hosts;
const facts = await look(lab).finally(() => stops.forEach((stop) => stop()));
await left?.driver.removeAll([left.spec(red), left.spec(blue)]);
const links = (await left?.run('ip', ['-br', 'link']))?.stdout ?? '';
await lab.down();
const all: VlanFacts = { ...facts, left: links.split('\n').filter((line) => /^nv(s|p|br)/.test(line)) };
process.stdout.write(`${JSON.stringify(all)}\n`);
