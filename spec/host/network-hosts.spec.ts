// Two hosts of namespaces whose guests share one network over a wire: what crosses it, what stays at each host, and what nobody may pretend.
// A stranger on the wire listens to it and lies. Root only.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DhcpHost, TrafficRule, NetworkSpec } from '../../src/drivers/network/driver.ts';
import { createLinuxNetwork } from '../../src/drivers/network/linux/linux.ts';
import { bridgeMac, hostMac } from '../../src/drivers/network/linux/macs.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun, type Run } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import {
  arpFrame, labNetwork, networkLab, port, routerAdvertisement, sendFrames, sniffer, udpFrame, type Guest, type LabProcess, type NetworkLab,
} from '../support/network-lab.ts';

interface Side {
  readonly lab: NetworkLab;
  readonly network: NetworkSpec;
  readonly guests: Guest[];
}

const wire = 'nethosts-wire';
const root = createRun({ log: silentLog });
const onWire = createRun({ log: silentLog, networkNamespace: wire });
const all: TrafficRule = { protocol: '-1', fromPort: -1, toPort: -1, cidrs: ['0.0.0.0/0'] };
const ping = (...cidrs: string[]): TrafficRule => ({ protocol: 'icmp', fromPort: 8, toPort: -1, cidrs });
const gateway = labNetwork.gateway;
const gatewayMac = bridgeMac(labNetwork.id);
const hex = (text: string): string => Buffer.from(text).toString('hex');
const host = (guest: Guest): DhcpHost => ({ mac: guest.mac, address: guest.address, hostname: guest.instanceId });

let left: Side;
let right: Side;
/** Guests 1 and 2 are on the left, 3 and 4 on the right. */
let one: Guest;
let two: Guest;
let three: Guest;
let four: Guest;
let ears: LabProcess;

async function side(name: string, hostAddress: string, numbers: readonly number[]): Promise<Side> {
  const lab = await networkLab(name);
  const network = { ...labNetwork, flatInterface: 'fabric0', hostAddress };
  await root('ip', ['-n', `${name}-host`, 'link', 'add', 'fabric0', 'type', 'veth', 'peer', 'name', name, 'netns', wire]);
  await onWire('ip', ['link', 'set', name, 'master', 'wire0', 'up']);
  await lab.driver.applyFirewall({ ...lab.firewall([]), networks: [network] });
  await lab.driver.ensureNetwork(network, []);
  const guests: Guest[] = [];
  for (const number of numbers) guests.push(await lab.guest(number));
  return { lab, network, guests };
}

const apply = ({ lab, network, guests }: Side, ...ingress: TrafficRule[]) =>
  lab.driver.applyFirewall({ ...lab.firewall(guests.map((guest) => port(guest, ingress))), networks: [network] });
const ensure = ({ lab, network, guests }: Side, neighbours: readonly Guest[]) => lab.driver.ensureNetwork(network, guests.map(host), neighbours.map(host));
const pingsFrom = async (run: Run, address: string) => (await run('ping', ['-c', '1', '-W', '1', address], { okCodes: [0, 1, 2] })).code === 0;

beforeAll(async () => {
  await root('ip', ['netns', 'del', wire], { okCodes: [0, 1] });
  await root('ip', ['netns', 'add', wire]);
  await onWire('ip', ['link', 'add', 'wire0', 'type', 'bridge', 'forward_delay', '0']);
  await onWire('ip', ['link', 'set', 'wire0', 'up']);
  // The stranger's own end of the wire; what it sends enters the hosts like a frame of another host.
  await onWire('ip', ['link', 'add', 'plug', 'type', 'veth', 'peer', 'name', 'eth0']);
  await onWire('ip', ['link', 'set', 'plug', 'master', 'wire0', 'up']);
  await onWire('ip', ['link', 'set', 'eth0', 'up']);
  left = await side('nethosts-a', '10.45.0.101', [1, 2]);
  right = await side('nethosts-b', '10.45.0.102', [3, 4]);
  [one, two, three, four] = [...left.guests, ...right.guests] as [Guest, Guest, Guest, Guest];
  await Promise.all([ensure(left, right.guests), ensure(right, left.guests), apply(left), apply(right)]);
  ears = left.lab.start(wire, ...sniffer);
  await ears.saw('ready');
});
afterAll(async () => {
  await left?.lab.down();
  await right?.lab.down();
  await root('ip', ['netns', 'del', wire], { okCodes: [0, 1] });
});

describe('each host by itself', () => {
  it('serves its own guests, and not a word of DHCP crosses the wire', async () => {
    const leases = await Promise.all([one, two, three, four].map((guest) => guest.lease()));
    for (const [index, guest] of [one, two, three, four].entries()) expect(leases[index]).toContain(`ip=${guest.address}\n`);
    expect(leases[0]).toContain(`router=${gateway}\ndns=${gateway}\n`);
    // Known at neither host: nobody offers, and nobody refuses what it had, so that a client that asks again keeps silent neighbours.
    await ensure(right, []);
    await right.lab.driver.ensureNetwork(right.network, [host(four)], [host(one), host(three)]);
    await right.lab.driver.releaseLease(right.network, host(three));
    await expect(three.lease()).rejects.toThrow('exit code 1');
    await ensure(right, left.guests);
    await three.lease();
    // The cookie that every message of DHCP has.
    expect(ears.output()).not.toContain('63825363');
  });

  it('each gateway answers with the same address and MAC, and no ARP about it crosses the wire', async () => {
    for (const guest of [one, three]) {
      await guest.run('ip', ['neigh', 'flush', 'dev', 'eth0']);
      expect(await guest.pings(gateway)).toBe(true);
      expect((await guest.run('ip', ['neigh', 'show', gateway])).stdout).toContain(gatewayMac);
    }
    expect(ears.output()).not.toMatch(/08060001080006040...(.{12}0a2d0001|.{32}0a2d0001)/);
    expect(ears.output()).not.toContain(gatewayMac.replaceAll(':', ''));
  });

  it('knows the names of the guests of the other', async () => {
    for (const [guest, other] of [[one, four], [four, one]] as const) {
      const { stdout } = await guest.run('busybox', ['nslookup', '-type=a', `${other.instanceId}.novalocal`, gateway]);
      expect(stdout).toContain(other.address);
    }
  });
});

describe('guests of two hosts', () => {
  it('reach each other only when the rules at the receiving host let them, with full frames', async () => {
    expect(await one.pings(three.address)).toBe(false);
    await apply(right, ping(`${one.address}/32`));
    expect(await one.pings(three.address)).toBe(true);
    expect(await two.pings(three.address)).toBe(false);
    expect(await three.pings(one.address)).toBe(false);
    const full = await one.run('ping', ['-c', '1', '-W', '1', '-M', 'do', '-s', String(labNetwork.mtu - 28), three.address], { okCodes: [0, 1, 2] });
    expect(full.code).toBe(0);
    await apply(right);
    expect(await one.pings(three.address)).toBe(false);
  });

  it('keep their own addresses on the way, and their connections when rules change', async () => {
    await apply(right, all);
    right.lab.start(three.name, 'busybox', 'nc', '-ll', '-p', '22', '-e', 'cat');
    const session = left.lab.start(one.name, 'nc', three.address, '22');
    session.write('before\n');
    await session.saw('before');
    expect((await right.lab.run('conntrack', ['-L', '-d', three.address])).stdout).toContain(`src=${one.address}`);
    await apply(right);
    session.write('after\n');
    await session.saw('after');
    expect(await one.reaches(three.address, 22)).toBe(false);
    session.stop();
  });

  it('a driver that starts again leaves no gap', async () => {
    await apply(right, all);
    await one.pings(three.address);
    const pinging = left.lab.start(one.name, 'ping', '-i', '0.01', '-c', '150', '-W', '1', three.address);
    const again = createLinuxNetwork({ run: right.lab.run, log: silentLog, clock: systemClock, stateDirectory: `${right.lab.stateDirectory}/network` });
    await again.applyFirewall({ ...right.lab.firewall(right.guests.map((guest) => port(guest, [all]))), networks: [right.network] });
    await again.ensureNetwork(right.network, right.guests.map(host), left.guests.map(host));
    await again.close();
    await pinging.saw('packets transmitted');
    expect(pinging.output()).toContain('150 received');
  });
});

describe('a host and the guests of the other', () => {
  it('reaches what is open, by an address and MAC of its own', async () => {
    await apply(right);
    expect(await pingsFrom(left.lab.run, three.address)).toBe(false);
    await apply(right, ping(`${left.network.hostAddress}/32`));
    await apply(left, all);
    expect(await pingsFrom(left.lab.run, three.address)).toBe(true);
    expect(await pingsFrom(left.lab.run, one.address)).toBe(true);
    expect(await pingsFrom(right.lab.run, three.address)).toBe(false);
    expect((await three.run('ip', ['neigh', 'show', left.network.hostAddress ?? ''])).stdout).toContain(hostMac(left.network.hostAddress ?? ''));
    // Long after its entry for the guest went stale, too.
    await left.lab.run('ip', ['neigh', 'flush', 'dev', labNetwork.bridge]);
    expect(await pingsFrom(left.lab.run, three.address)).toBe(true);
  });

  it('has that MAC for its own guests too, so that one that moves away keeps what it knows', async () => {
    const own = left.network.hostAddress ?? '';
    await apply(left, all);
    await one.run('ip', ['neigh', 'flush', 'dev', 'eth0']);
    expect(await pingsFrom(left.lab.run, one.address)).toBe(true);
    expect((await one.run('ip', ['neigh', 'show', own])).stdout).toContain(hostMac(own));
    // As one does that came from another host.
    await one.run('ip', ['neigh', 'replace', own, 'lladdr', hostMac(own), 'nud', 'permanent', 'dev', 'eth0']);
    expect(await pingsFrom(left.lab.run, one.address)).toBe(true);
    await one.run('ip', ['neigh', 'delete', own, 'dev', 'eth0']);
  });

  it('offers nothing of itself to them', async () => {
    await Promise.all([apply(left, all), apply(right, all)]);
    const own = left.network.hostAddress ?? '';
    left.lab.start('nethosts-a-host', 'busybox', 'nc', '-ll', '-p', '8775', '-e', 'cat');
    for (const address of [own, '192.0.2.1']) {
      expect(await three.reaches(address, 8775)).toBe(false);
      expect(await three.reaches(address, 53)).toBe(false);
      expect(await three.pings(address)).toBe(false);
    }
    expect(await one.reaches(gateway, 8775)).toBe(true);
  });
});

describe('a stranger on the wire', () => {
  let guestEars: LabProcess;
  let hostEars: LabProcess;
  const stranger = { run: onWire } as Guest;
  const udp = (mark: string, of: { from?: string; to?: string; source?: string; target?: string; ports?: readonly [number, number] } = {}) =>
    udpFrame({
      from: of.from ?? three.mac, to: of.to ?? one.mac, source: of.source ?? three.address, target: of.target ?? one.address,
      ports: of.ports ?? [6868, 6868], mark,
    });

  beforeAll(async () => {
    await Promise.all([apply(left, all), apply(right, all)]);
    guestEars = left.lab.start(one.name, ...sniffer);
    await guestEars.saw('ready');
    hostEars = left.lab.start('nethosts-a-host', '/usr/bin/python3', '-u', '-c', `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53535)); print('ready')
while True: print(s.recv(999).hex())
`);
    await hostEars.saw('ready');
  });

  it('reaches a guest only as a guest of another host would', async () => {
    const arp = (last: number, of: { from?: string; sender: string; senderMac?: string }) => arpFrame({
      from: of.from ?? three.mac, to: one.mac, senderMac: of.senderMac ?? of.from ?? three.mac, sender: of.sender, mark: `10.45.9.${last}`,
    });
    const lies = [
      udp('lie a gateway', { from: gatewayMac, source: gateway }),
      udp('lie address of gateway', { source: gateway }),
      udp('lie neighbour', { from: two.mac, source: two.address }),
      udp('lie address of neighbour', { source: two.address }),
      udp('lie mac of neighbour', { from: two.mac }),
      udp('lie outside', { source: '8.8.8.8' }),
      udp('lie foreign mac', { from: '52:54:00:00:00:01' }),
      udp('lie dhcp', { ports: [67, 68] }),
      udp('lie all', { to: 'ff:ff:ff:ff:ff:ff', target: '255.255.255.255' }),
      udp('lie host', { source: left.network.hostAddress ?? '' }),
      routerAdvertisement(three.mac, 'lie router'),
      udp('lie tagged').replace(/^(.{24})0800/, '$1810000010800'),
      arp(1, { sender: gateway, from: gatewayMac }), arp(2, { sender: gateway }), arp(3, { sender: two.address }),
      arp(4, { sender: two.address, from: two.mac }), arp(5, { sender: '8.8.8.8' }), arp(6, { sender: left.network.hostAddress ?? '' }),
      arp(7, { sender: three.address, senderMac: gatewayMac }),
    ];
    await sendFrames(stranger, [...lies, arp(99, { sender: three.address }), udp('honest at the end')]);
    await guestEars.saw(hex('honest at the end'));
    expect(guestEars.output()).toContain('0a2d0963');
    expect(guestEars.output()).not.toContain(hex('lie '));
    expect(guestEars.output()).not.toMatch(/0a2d090[1-7]/);
  });

  it('does not reach the host, by whatever address', async () => {
    const own = left.network.hostAddress ?? '';
    const { stdout } = await left.lab.run('cat', ['/sys/class/net/fabric0/address']);
    const lies = [gateway, own, '255.255.255.255', '10.45.15.255'].flatMap((target) =>
      [gatewayMac, hostMac(own), stdout.trim(), 'ff:ff:ff:ff:ff:ff'].map((to) => udp(`lie to ${target}`, { to, target, ports: [6868, 53535] })));
    // The check can succeed: a guest's broadcast to the same socket is dropped by rule, the host's own is heard.
    await sendFrames(stranger, [...lies, udp('honest after lies')]);
    await guestEars.saw(hex('honest after lies'));
    await left.lab.run('/usr/bin/python3', ['-c', "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'own', ('127.0.0.1', 53535))"]);
    await hostEars.saw(hex('own'));
    expect(hostEars.output()).not.toContain(hex('lie'));
  });

  it('hears nothing that guests of one host say to each other, and a guest nothing that is for another', async () => {
    const before = guestEars.output().length;
    await two.run('ip', ['neigh', 'replace', four.address, 'lladdr', four.mac, 'dev', 'eth0']);
    await sendFrames(two, [udp('to one', { from: two.mac, source: two.address })]);
    // Nobody has seen this MAC: the bridges flood.
    await sendFrames(two, [udp('to nobody', { from: two.mac, source: two.address, to: '02:16:3e:00:00:55', target: '10.45.0.55' })]);
    await sendFrames(two, [udp('to one again', { from: two.mac, source: two.address })]);
    await guestEars.saw(hex('to one again'));
    await ears.saw(hex('to nobody'));
    expect(guestEars.output().slice(before)).not.toContain(hex('to nobody'));
    expect(ears.output()).not.toContain(hex('to one'));
  });

  it('a guest cannot speak over the wire as another, or as a gateway', async () => {
    await sendFrames(two, [
      udp('false mac', { from: three.mac, to: four.mac, source: two.address, target: four.address }),
      udp('false address', { from: two.mac, to: four.mac, source: three.address, target: four.address }),
      udp('false gateway', { from: gatewayMac, to: four.mac, source: gateway, target: four.address }),
      udp('to the gateways', { from: two.mac, to: 'ff:ff:ff:ff:ff:ff', source: two.address, target: gateway }),
      arpFrame({ from: two.mac, to: four.mac, senderMac: two.mac, sender: gateway, mark: '10.45.9.201' }),
      arpFrame({ from: two.mac, to: four.mac, senderMac: two.mac, sender: two.address, mark: gateway }),
      udp('true word', { from: two.mac, to: four.mac, source: two.address, target: four.address }),
    ]);
    await ears.saw(hex('true word'));
    for (const lie of ['false mac', 'false address', 'false gateway', 'to the gateways']) expect(ears.output()).not.toContain(hex(lie));
    expect(ears.output()).not.toContain('0a2d09c9');
  });
});

describe('the rules of joined hosts', () => {
  it('two hundred ports are in force, and unchanged rules are left alone', async () => {
    const ports = Array.from({ length: 200 }, (_, n) => ({
      instanceId: `i-${n}`, tap: `nvtap${n}`, bridge: labNetwork.bridge, mac: `02:16:3e:02:00:${n.toString(16).padStart(2, '0')}`, address: `10.45.2.${n}`,
      ingress: [ping('10.45.0.0/20'), { protocol: 'tcp', fromPort: 1000 + n, toPort: 1000 + n, cidrs: ['10.0.0.0/8', '192.168.0.0/16'] } as const],
    }));
    const wish = { ...left.lab.firewall(ports), networks: [left.network] };
    // With the handles, which are others as soon as a chain is made again.
    const live = () => Promise.all(['bridge', 'inet'].map(async (family) => (await left.lab.run('nft', ['-a', 'list', 'table', family, 'novact'])).stdout));
    await left.lab.driver.applyFirewall(wish);
    const before = await live();
    for (const { tap, address } of ports) expect(before[0]).toContain(`"${tap}" . ${address}`);
    await left.lab.driver.applyFirewall(wish);
    expect(await live()).toEqual(before);
    await apply(left);
    await left.lab.driver.applyFirewall(wish);
    expect(await live()).not.toEqual(before);
  });

  it('a port on its way between hosts is heard from either side', async () => {
    await Promise.all([apply(left, all), apply(right, all)]);
    await three.pings(one.address);
    const applyWith = (isMoving: boolean) => {
      const ports = [...left.guests.map((guest) => port(guest, [all])), { ...port(three, [all]), isMoving }];
      return left.lab.driver.applyFirewall({ ...left.lab.firewall(ports), networks: [left.network] });
    };
    await applyWith(true);
    expect(await three.pings(one.address)).toBe(true);
    // The check can fail: whoever lives here is not heard from there.
    await applyWith(false);
    expect(await three.pings(one.address)).toBe(false);
  });
});

describe('the interface that joins', () => {
  const refused = (changes: Partial<NetworkSpec>) => left.lab.driver.ensureNetwork({ ...left.network, ...changes }, left.guests.map(host));

  it('is refused, with the remedy, when it is missing, has an address, is part of another bridge, or carries too little', async () => {
    const { run } = left.lab;
    await run('ip', ['link', 'add', 'busy0', 'mtu', '1200', 'type', 'veth', 'peer', 'name', 'busy1']);
    await run('ip', ['link', 'add', 'theirs', 'type', 'bridge']);
    await expect(refused({ flatInterface: 'absent0' })).rejects.toThrow(/there is no such interface; make it/);
    await expect(refused({ flatInterface: 'lo' })).rejects.toThrow(/no port/);
    await expect(refused({ flatInterface: 'theirs' })).rejects.toThrow(/no port/);
    await expect(refused({ flatInterface: 'busy0' })).rejects.toThrow(/its MTU is 1200, the network's 1400; raise it \(ip link set busy0 mtu 1400\)/);
    await run('ip', ['address', 'add', '192.0.2.77/24', 'dev', 'busy0']);
    await expect(refused({ flatInterface: 'busy0' })).rejects.toThrow(/carries the address 192.0.2.77\/24.*ip address delete 192.0.2.77\/24 dev busy0/);
    await run('ip', ['link', 'set', 'busy1', 'master', 'theirs']);
    await expect(refused({ flatInterface: 'busy1' })).rejects.toThrow(/part of theirs.*ip link set busy1 nomaster/);
    expect((await run('ip', ['address', 'show', 'busy0'])).stdout).toContain('192.0.2.77/24');
    expect((await run('ip', ['link', 'show', 'busy1'])).stdout).toContain('master theirs');
    await run('ip', ['link', 'delete', 'busy0']);
    await run('ip', ['link', 'delete', 'theirs']);
  });

  it('is let go when the network is no longer joined, also by a driver that starts anew, and comes back', async () => {
    const { run } = left.lab;
    const master = async () => /master (\S+)/.exec((await run('ip', ['link', 'show', 'fabric0'])).stdout)?.[1];
    await ensure(left, right.guests);
    expect(await master()).toBe(labNetwork.bridge);
    const again = createLinuxNetwork({ run, log: silentLog, clock: systemClock, stateDirectory: `${left.lab.stateDirectory}/network` });
    await again.ensureNetwork(labNetwork, left.guests.map(host));
    await again.close();
    expect(await master()).toBeUndefined();
    await ensure(left, right.guests);
    await Promise.all([apply(left, all), apply(right, all)]);
    // Who was pretended to be elsewhere must speak first, so that the switch finds it again.
    expect(await three.pings(one.address)).toBe(true);
    await left.lab.driver.removeAll([left.network]);
    expect(await master()).toBeUndefined();
    expect((await run('nft', ['list', 'tables'])).stdout).toBe('');
  });
});
