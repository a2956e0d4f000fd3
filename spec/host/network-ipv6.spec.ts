// N14: IPv6 of the Linux driver on a host of namespaces: addresses that guests make for themselves, names, rules, and guests that lie. Root only.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DhcpHost, FirewallSpec, NetworkSpec, TrafficRule } from '../../src/drivers/network/driver.ts';
import type { Run } from '../../src/lib/exec.ts';
import { gatewayAddress, linkLocalAddress, slaacAddress } from '../../src/lib/ipv6.ts';
import {
  ipv6Frame, labNetwork, networkLab, port, routerAdvertisement, sendFrames, sniffer, type Guest, type LabProcess, type NetworkLab,
} from '../support/network-lab.ts';
import { eventually } from '../support/waiting.ts';

const network: NetworkSpec = { ...labNetwork, ipv6: 'fd00:45::/64' };
const gateway = 'fd00:45::1';
const anyone: TrafficRule = { protocol: '-1', fromPort: -1, toPort: -1, cidrs: ['0.0.0.0/0', '::/0'] };
const tcp = (portNumber: number, ...cidrs: string[]): TrafficRule => ({ protocol: 'tcp', fromPort: portNumber, toPort: portNumber, cidrs });
const ping = (...cidrs: string[]): TrafficRule => ({ protocol: '58', fromPort: 128, toPort: -1, cidrs });
const hex = (text: string): string => Buffer.from(text).toString('hex');
const host = (guest: Guest): DhcpHost => ({ mac: guest.mac, address: guest.address, hostname: guest.instanceId });
const own = (guest: Guest): string => slaacAddress('fd00:45::/64', guest.mac);

let lab: NetworkLab;
let one: Guest;
let two: Guest;
let three: Guest;

interface Wish {
  readonly ingress?: readonly TrafficRule[];
  readonly egress?: readonly TrafficRule[];
}
/** Guest one lets this in, guest two sends that; all else is as it is for a new group. */
const apply = ({ ingress = [], egress }: Wish): Promise<void> => {
  const ports: FirewallSpec['ports'] = [port(one, ingress), { ...port(two), egress }, port(three)];
  return lab.driver.applyFirewall({ ...lab.firewall(ports), networks: [network] });
};
const pings = async (run: Run, address: string) => (await run('ping', ['-6', '-c', '1', '-W', '2', address], { okCodes: [0, 1, 2] })).code === 0;
const reaches = async (guest: Guest, address: string, to: number) =>
  (await guest.run('nc', ['-6', '-z', '-w', '2', address, String(to)], { okCodes: [0, 1] })).code === 0;

beforeAll(async () => {
  lab = await networkLab('netv6');
  await lab.driver.ensureNetwork(network, []);
  [one, two, three] = [await lab.guest(1), await lab.guest(2), await lab.guest(3)];
  await lab.driver.ensureNetwork(network, [one, two, three].map(host));
  await apply({});
  await Promise.all([one, two, three].map((guest) => guest.configure()));
});
afterAll(() => lab.down());

describe('N14: a guest of a network with IPv6', () => {
  it('makes the predicted address of what its host advertises, finds its gateway, and takes no default route of a prefix that nobody knows', async () => {
    // As it does when it boots: its card comes up, and it asks for a router.
    for (const guest of [one, two, three]) await guest.run('sh', ['-c', 'ip link set eth0 down; ip link set eth0 up']);
    await Promise.all([one, two, three].map((guest) => guest.configure()));
    for (const guest of [one, two, three]) {
      const held = () => guest.run('ip', ['-6', '-o', 'address', 'show', 'dev', 'eth0']);
      await eventually(async () => (await held()).stdout.includes(`inet6 ${own(guest)}/64 scope global`), `${own(guest)} by SLAAC`);
      await eventually(async () => !(await held()).stdout.includes('tentative'));
    }
    expect((await one.run('ip', ['-6', 'route', 'show', 'default'])).stdout).toBe('');
    expect(await pings(one.run, gateway)).toBe(true);
  });

  it('finds others by name, at either address of its gateway', async () => {
    for (const server of [labNetwork.gateway, gateway]) {
      const { stdout } = await one.run('busybox', ['nslookup', '-type=aaaa', `${two.instanceId}.novalocal`, server]);
      expect(stdout).toContain(own(two));
    }
  });

  it('is closed by default, and rules of IPv4 open nothing', async () => {
    lab.start(one.name, 'busybox', 'nc', '-ll', '-p', '22', '-e', 'cat');
    await apply({ ingress: [tcp(22, '0.0.0.0/0'), { protocol: 'icmp', fromPort: -1, toPort: -1, cidrs: ['0.0.0.0/0'] }] });
    await eventually(() => two.reaches(one.address, 22));
    expect(await reaches(two, own(one), 22)).toBe(false);
    expect(await pings(two.run, own(one))).toBe(false);
    expect(await pings(two.run, `${linkLocalAddress(one.mac)}%eth0`)).toBe(false);
    expect(await pings(lab.run, own(one))).toBe(false);
  });

  it('is reached as rules of IPv6 say: by whom, by what, and by the host', async () => {
    await apply({ ingress: [tcp(22, `${own(two)}/128`), ping('::/0')] });
    expect(await reaches(two, own(one), 22)).toBe(true);
    expect(await reaches(three, own(one), 22)).toBe(false);
    expect(await two.reaches(one.address, 22)).toBe(false);
    for (const run of [two.run, three.run, lab.run]) expect(await pings(run, own(one))).toBe(true);
    await apply({ ingress: [tcp(22, 'fd00:45::/64', '::/0', `${own(two)}/128`)] });
    expect(await reaches(three, own(one), 22)).toBe(true);
    expect(await pings(three.run, own(one))).toBe(false);
  });

  it('sends only what its groups let it, but for what its gateway serves', async () => {
    await apply({ ingress: [anyone], egress: [tcp(22, '0.0.0.0/0'), ping(`${own(one)}/128`)] });
    expect(await reaches(two, own(one), 22)).toBe(false);
    expect(await pings(two.run, own(one))).toBe(true);
    await apply({ ingress: [anyone], egress: [tcp(22, '::/0')] });
    expect(await reaches(two, own(one), 22)).toBe(true);
    expect(await pings(two.run, own(one))).toBe(false);
    expect(await pings(two.run, gateway)).toBe(true);
  });
});

describe('N14: a guest that lies in IPv6', () => {
  let ears: LabProcess;
  beforeAll(async () => {
    ears = lab.start(one.name, ...sniffer);
    await ears.saw('ready');
  });

  interface Sent {
    readonly frame: string;
    readonly mark: string;
  }
  const to = () => ({ from: two.mac, to: one.mac, source: own(two), target: own(one) });
  const udp = (mark: string, changes: Partial<ReturnType<typeof to>> = {}, ports: readonly [number, number] = [6868, 6868]): Sent =>
    ({ frame: ipv6Frame({ ...to(), ...changes, next: 17, payload: { ports, mark } }), mark: hex(mark) });
  const advertise = (mark: string, about: string): Sent => ({ frame: ipv6Frame({ ...to(), next: 58, payload: { about, mark } }), mark: hex(mark) });

  it('is not heard; without our rules it is', async () => {
    const made = (round: string) => [
      udp(`${round} address of three`, { source: own(three) }), udp(`${round} address of gateway`, { source: gateway }),
      udp(`${round} link-local of three`, { source: linkLocalAddress(three.mac) }), udp(`${round} mac of three`, { from: three.mac }),
      udp(`${round} of the world`, { source: '2001:db8::1' }), udp(`${round} dhcp server`, {}, [547, 546]),
      advertise(`${round} gateway is me`, gatewayAddress('fd00:45::/64')), advertise(`${round} three is me`, own(three)),
      { frame: routerAdvertisement(two.mac, `${round} route`), mark: hex(`${round} route`) },
    ];
    const send = async (round: string): Promise<string[]> => {
      const honest = [advertise(`${round} honest word`, own(two)), udp(`${round} honest end`)];
      await sendFrames(two, [...made(round), ...honest].map(({ frame }) => frame));
      await ears.saw(hex(`${round} honest end`));
      expect(ears.output()).toContain(hex(`${round} honest word`));
      return made(round).filter(({ mark }) => ears.output().includes(mark)).map(({ mark }) => Buffer.from(mark, 'hex').toString());
    };
    await lab.run('nft', ['-f', '-'], { input: 'delete table inet novact\ndelete table bridge novact\n' });
    expect(await send('free')).toHaveLength(made('free').length);
    await apply({ ingress: [anyone] });
    expect(await send('kept')).toEqual([]);
  });

  it('of a network without IPv6 hears and says nothing of it', async () => {
    const ports = [port(one, [anyone]), port(two), port(three)];
    await lab.driver.ensureNetwork(labNetwork, [one, two, three].map(host));
    await lab.driver.applyFirewall(lab.firewall(ports));
    expect(await pings(two.run, own(one))).toBe(false);
    expect((await lab.run('ip', ['-6', 'address', 'show', 'dev', labNetwork.bridge])).stdout).toBe('');
    await lab.driver.ensureNetwork(network, [one, two, three].map(host));
    await apply({ ingress: [anyone] });
    await eventually(() => pings(two.run, own(one)));
  });
});
