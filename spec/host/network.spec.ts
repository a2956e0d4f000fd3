// The Linux network driver on a host of namespaces: real bridges, real leases, real rules, guests that lie.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DhcpHost, NetworkSpec, TrafficRule } from '../../src/drivers/network/driver.ts';
import {
  arpFrame, labNetwork, networkLab, port, routerAdvertisement, sendFrames, sniffer, udpFrame, type Guest, type LabProcess, type NetworkLab,
} from '../support/network-lab.ts';
import { rulesInForce } from '../support/firewall-wishes.ts';
import { leaseMany } from '../support/lease-many.ts';
import { eventually, until } from '../support/waiting.ts';
import { findProcesses, type FoundProcess } from '../../src/lib/processes.ts';

let lab: NetworkLab;
let one: Guest;
let two: Guest;
let three: Guest;

const gatewayMac = async (): Promise<string> => {
  const { stdout } = await lab.run('cat', [`/sys/class/net/${labNetwork.bridge}/address`]);
  return stdout.trim();
};
const hex = (text: string): string => Buffer.from(text).toString('hex');
const host = (guest: Guest): DhcpHost => ({ mac: guest.mac, address: guest.address, hostname: guest.instanceId });
const tcp = (portNumber: number, ...cidrs: string[]): TrafficRule => ({ protocol: 'tcp', fromPort: portNumber, toPort: portNumber, cidrs });
const ping = (...cidrs: string[]): TrafficRule => ({ protocol: 'icmp', fromPort: 8, toPort: -1, cidrs });
const all = (...cidrs: string[]): TrafficRule => ({ protocol: '-1', fromPort: -1, toPort: -1, cidrs });
const anyone = '0.0.0.0/0';
const servers = (...bridges: string[]): Promise<FoundProcess[]> => findProcesses((args) =>
  (bridges.length === 0 ? [labNetwork.bridge] : bridges).some((bridge) => args.includes(`--pid-file=${lab.stateDirectory}/network/${bridge}/dnsmasq.pid`)));
/** The wish in which guest one has these rules, and the others none. */
const open = (...ingress: TrafficRule[]) => lab.driver.applyFirewall(lab.firewall([port(one, ingress), port(two), port(three)]));

const foreign = `table ip filter {
  chain FORWARD {
    type filter hook forward priority filter; policy accept;
    ip saddr 198.51.100.0/24 counter drop
  }
}
table inet other {
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport 9 drop
  }
}
`;
let foreignBefore = '';
const foreignNow = async (): Promise<string> => {
  const [filter, other] = await Promise.all(['ip filter', 'inet other'].map((table) => lab.run('nft', ['list', 'table', ...table.split(' ')])));
  return `${filter?.stdout}${other?.stdout}`;
};

beforeAll(async () => {
  lab = await networkLab('network');
  await lab.run('nft', ['-f', '-'], { input: foreign });
  foreignBefore = await foreignNow();
  // Bridges of others stay out of the firewall: novact's own must not need the switch for all. And a namespace begins as the machine is.
  await lab.run('tee', ['/proc/sys/net/bridge/bridge-nf-call-iptables', '/proc/sys/net/ipv4/ip_forward'], { input: '0' });
  await lab.driver.probe();
  await lab.driver.ensureNetwork(labNetwork, []);
  one = await lab.guest(1);
  two = await lab.guest(2);
  three = await lab.guest(3);
  await lab.driver.ensureNetwork(labNetwork, [one, two, three].map(host));
  await open();
});
afterAll(async () => {
  await lab.down();
});

describe('leases and names', () => {
  it('a guest gets its own address, the gateway, the route to the metadata, the MTU and the domain', async () => {
    const [answer] = await Promise.all([one.lease(), two.lease(), three.configure()]);
    expect(answer).toContain(`ip=${one.address}\n`);
    expect(answer).toContain('mask=20\nrouter=10.45.0.1\ndns=10.45.0.1\nmtu=1400\ndomain=novalocal\nlease=3600\n');
    expect(answer).toContain('routes=169.254.169.254/32 10.45.0.1 0.0.0.0/0 10.45.0.1');
  });

  it('a guest finds another by name, before that one has asked for a lease', async () => {
    const { stdout } = await one.run('busybox', ['nslookup', '-type=a', `${three.instanceId}.novalocal`, labNetwork.gateway]);
    expect(stdout).toContain(three.address);
  });

  it('a stranger gets no lease', async () => {
    await lab.driver.applyFirewall(lab.firewall([{ ...port(one) }, port(two), { ...port(three), mac: '02:16:3e:00:00:77' }]));
    await three.run('ip', ['link', 'set', 'eth0', 'address', '02:16:3e:00:00:77']);
    await expect(three.lease()).rejects.toThrow('exit code 1');
    await three.run('ip', ['link', 'set', 'eth0', 'address', three.mac]);
    await three.configure();
    await open();
  });

  it.each(['lives', 'is dead'])('N5: an address can be given to another guest when its lease was released while the server %s', async (server) => {
    if (server === 'is dead') for (const { pid } of await servers()) process.kill(pid, 'SIGKILL');
    for (const guest of [one, two]) await lab.driver.releaseLease(labNetwork, host(guest));
    await lab.driver.ensureNetwork(labNetwork, [{ ...host(one), mac: two.mac }, { ...host(two), mac: one.mac }]);
    expect(await two.lease()).toContain(`ip=${one.address}\n`);
    await lab.driver.ensureNetwork(labNetwork, [one, two, three].map(host));
    expect(await one.lease()).toContain(`ip=${one.address}\n`);
    expect(await two.lease()).toContain(`ip=${two.address}\n`);
  });
});

describe('security groups', () => {
  it('everything is closed by default, for neighbours and for the host', async () => {
    lab.start(one.name, 'busybox', 'nc', '-ll', '-p', '22', '-e', 'cat');
    lab.start(one.name, 'busybox', 'nc', '-ll', '-p', '80', '-e', 'cat');
    await open();
    expect(await two.reaches(one.address, 22)).toBe(false);
    expect(await two.pings(one.address)).toBe(false);
    expect((await lab.run('nc', ['-z', '-w', '1', one.address, '22'], { okCodes: [0, 1] })).code).toBe(1);
  });

  it('a rule opens just its port, to just its sources, as soon as it is applied', async () => {
    await open(tcp(22, `${two.address}/32`));
    expect(await two.reaches(one.address, 22)).toBe(true);
    expect(await two.reaches(one.address, 80)).toBe(false);
    expect(await three.reaches(one.address, 22)).toBe(false);
    expect(await two.pings(one.address)).toBe(false);
  });

  it('the host reaches what is open to anyone, and pings only if that is open too', async () => {
    await open(tcp(22, anyone));
    expect((await lab.run('nc', ['-z', '-w', '1', one.address, '22'], { okCodes: [0, 1] })).code).toBe(0);
    expect((await lab.run('ping', ['-c', '1', '-W', '1', one.address], { okCodes: [0, 1] })).code).toBe(1);
    await open(ping(anyone));
    expect((await lab.run('ping', ['-c', '1', '-W', '1', one.address], { okCodes: [0, 1] })).code).toBe(0);
    expect(await two.pings(one.address)).toBe(true);
    expect(await two.reaches(one.address, 22)).toBe(false);
  });

  it('an open connection goes on when its rule is revoked, and no new one comes about', async () => {
    await open(tcp(22, anyone));
    const session = lab.start(two.name, 'nc', one.address, '22');
    session.write('before\n');
    await session.saw('before');
    await open();
    session.write('after\n');
    await session.saw('after');
    expect(await two.reaches(one.address, 22)).toBe(false);
    session.stop();
  });

  it('releasing an address cuts the connections of its last owner', async () => {
    await open(tcp(22, anyone));
    const session = lab.start(two.name, 'nc', one.address, '22');
    session.write('before\n');
    await session.saw('before');
    expect((await lab.run('conntrack', ['-L', '-d', one.address])).stdout).toContain('dport=22');
    await lab.driver.releaseLease(labNetwork, host(one));
    expect((await lab.run('conntrack', ['-L', '-d', one.address])).stdout).not.toContain('dport=22');
    session.stop();
  });
});

describe('what a guest may reach', () => {
  it('it reaches the metadata service at its gateway, with its own address, and nothing else of the host', async () => {
    const answer = '(q, s) => s.end(`${q.socket.remoteAddress} at ${q.socket.localAddress}`)';
    const echo = `require("http").createServer(${answer}).listen(+process.argv[1], process.argv[2], () => console.log("up"))`;
    await lab.start('network-host', 'node', '-e', echo, '8775', labNetwork.gateway).saw('up');
    await lab.start('network-host', 'node', '-e', echo, '9000', '0.0.0.0').saw('up');
    const request = 'GET / HTTP/1.0\r\n\r\n';
    const { stdout } = await two.run('nc', ['-w', '2', '169.254.169.254', '80'], { input: request });
    expect(stdout).toContain(`${two.address} at ${labNetwork.gateway}`);
    expect(await two.reaches(labNetwork.gateway, 9000)).toBe(false);
    expect((await lab.run('nc', ['-z', '-w', '1', labNetwork.gateway, '9000'])).code).toBe(0);
    expect(await two.pings(labNetwork.gateway)).toBe(true);
  });

  it('it reaches the outside under the address of the host, and the outside does not reach it', async () => {
    const outside = await lab.outside();
    const echo = 'require("net").createServer((s) => s.end(`you are ${s.remoteAddress}\\n`)).listen(7000, "192.0.2.2", () => console.log("up"))';
    await lab.start('network-out', 'node', '-e', echo).saw('up');
    const { stdout } = await two.run('nc', ['-w', '2', '192.0.2.2', '7000']);
    expect(stdout).toBe('you are 192.0.2.1\n');
    expect((await lab.run('conntrack', ['-L', '-s', two.address, '-p', 'tcp', '--dport', '7000'])).stdout).toContain('dst=192.0.2.1');
    await outside('ip', ['route', 'add', '10.45.0.0/20', 'via', '192.0.2.1']);
    await open();
    expect((await outside('nc', ['-z', '-w', '1', one.address, '22'], { okCodes: [0, 1] })).code).toBe(1);
    await open(tcp(22, '192.0.2.0/24'));
    expect((await outside('nc', ['-z', '-w', '1', one.address, '22'], { okCodes: [0, 1] })).code).toBe(0);
  });

  it('it is not masqueraded on its way to a neighbour', async () => {
    const echo = 'require("net").createServer((s) => s.end(`you are ${s.remoteAddress}\\n`)).listen(7000, () => console.log("up"))';
    await lab.start(one.name, 'node', '-e', echo).saw('up');
    await open(tcp(7000, `${two.address}/32`));
    const { stdout } = await two.run('nc', ['-w', '2', one.address, '7000']);
    expect(stdout).toContain(two.address);
  });
});

describe('N16 guests that lie', () => {
  let ears: LabProcess;
  let mac: string;

  interface Sent {
    readonly frame: string;
    readonly mark: string;
  }

  /**
   * Guest two sends lies to guest one, which is open to all; the last frame, an honest one, shows that those before it had their time.
   * Without our rules all of them arrive, so it is the rules that keep them away. Frames of the two rounds bear different marks.
   */
  async function expectKeptAway(make: (round: 'free' | 'kept') => { lies: readonly Sent[]; honest: Sent }): Promise<void> {
    const send = async (round: 'free' | 'kept'): Promise<string[]> => {
      const { lies, honest } = make(round);
      await sendFrames(two, [...lies, honest].map(({ frame }) => frame));
      await ears.saw(honest.mark);
      return lies.filter(({ mark }) => ears.output().includes(mark)).map(({ mark }) => mark);
    };
    await lab.run('nft', ['-f', '-'], { input: 'delete table inet novact\ndelete table bridge novact\n' });
    expect(await send('free')).toEqual(make('free').lies.map(({ mark }) => mark));
    await open(all(anyone));
    expect(await send('kept')).toEqual([]);
  }
  const udp = (mark: string, of: { from?: string; source?: string; ports?: readonly [number, number] } = {}): Sent => ({
    frame: udpFrame({ from: of.from ?? two.mac, to: one.mac, source: of.source ?? two.address, target: one.address, ports: of.ports ?? [6868, 68], mark }),
    mark: hex(mark),
  });

  beforeAll(async () => {
    await open(all(anyone));
    mac = await gatewayMac();
    ears = lab.start(one.name, ...sniffer);
    await ears.saw('ready');
  });

  it('a false MAC or address does not pass', async () => {
    await expectKeptAway((round) => ({
      lies: [
        udp(`${round} false mac`, { from: '02:16:3e:00:00:77' }),
        udp(`${round} mac of the gateway`, { from: mac }),
        udp(`${round} false address`, { source: '10.45.0.99' }),
        udp(`${round} address of three`, { source: three.address }),
        udp(`${round} address of the world`, { source: '8.8.8.8' }),
      ],
      honest: udp(`${round} honest address`),
    }));
  });

  it('false ARP does not pass', async () => {
    await expectKeptAway((round) => {
      const arp = (last: number, of: { sender: string; senderMac?: string }): Sent => ({
        frame: arpFrame({
          from: two.mac, to: one.mac, senderMac: of.senderMac ?? two.mac, sender: of.sender, mark: `${round === 'free' ? '203.0.113' : '198.51.100'}.${last}`,
        }),
        mark: (round === 'free' ? 'cb0071' : 'c63364') + last.toString(16).padStart(2, '0'),
      });
      return {
        lies: [
          arp(1, { sender: labNetwork.gateway }), arp(2, { sender: three.address }),
          arp(3, { sender: two.address, senderMac: three.mac }), arp(4, { sender: '0.0.0.0' }),
        ],
        honest: arp(9, { sender: two.address }),
      };
    });
  });

  it('it is no DHCP server and no router, and speaks no IPv6 and no VLAN', async () => {
    await expectKeptAway((round) => {
      const tagged = udp(`${round} tagged`, { source: '8.8.8.8' });
      return {
        lies: [
          udp(`${round} offer`, { ports: [67, 68] }),
          { frame: routerAdvertisement(two.mac, `${round} router`), mark: hex(`${round} router`) },
          { frame: tagged.frame.replace(/^(.{24})0800/, '$1810000010800'), mark: tagged.mark },
        ],
        honest: udp(`${round} honest service`),
      };
    });
  });

  it('an interface on the bridge that no one wished for is deaf and mute', async () => {
    const stranger = await lab.guest(4);
    await stranger.configure();
    expect(await stranger.pings(labNetwork.gateway)).toBe(false);
    await lab.driver.applyFirewall(lab.firewall([port(one, [all(anyone)]), port(two), port(three), port(stranger)]));
    // Its kernel has asked for the gateway's card in vain, and may give that up before it asks again.
    await eventually(() => stranger.pings(labNetwork.gateway));
  });
});

describe('the DHCP server', () => {
  it('N13: killed ones of two networks are back by themselves, each once, before anybody ensures anything', async () => {
    const other: NetworkSpec = { ...labNetwork, id: 'net-0123456789abcdef1', bridge: 'novact1', cidr: '10.46.0.0/24', gateway: '10.46.0.1' };
    await lab.driver.ensureNetwork(other, []);
    const alive = () => servers(labNetwork.bridge, other.bridge);
    const before = await alive();
    const deaths: string[] = [];
    const unsubscribe = lab.driver.subscribe(({ networkId }) => deaths.push(networkId));
    const killedAt = performance.now();
    for (const { pid } of before) process.kill(pid, 'SIGKILL');
    await until(() => deaths.length === 2);
    unsubscribe();
    process.stdout.write(`two killed DHCP servers were back after ${Math.round(performance.now() - killedAt)} ms\n`);
    expect(deaths.toSorted()).toEqual([labNetwork.id, other.id]);
    const after = await alive();
    expect([before.length, after.length]).toEqual([2, 2]);
    expect(after.filter(({ pid }) => before.some((server) => server.pid === pid))).toEqual([]);
    expect(await two.lease()).toContain(`ip=${two.address}\n`);
    await Promise.all([1, 2, 3].map(() => lab.driver.ensureNetwork(labNetwork, [one, two, three].map(host))));
    expect((await alive()).map(({ pid }) => pid)).toEqual(after.map(({ pid }) => pid));
    await lab.driver.removeNetwork(other);
    expect(await alive()).toEqual(await servers());
  });

  it('an unchanged one is adopted, also when its pid file is lost; a changed one is replaced without a word of a death', async () => {
    const [before] = await servers();
    await lab.run('rm', [`${lab.stateDirectory}/network/novact0/dnsmasq.pid`]);
    await lab.driver.ensureNetwork(labNetwork, [one, two].map(host));
    expect((await servers()).map((server) => server.pid)).toEqual([before?.pid]);
    const deaths: string[] = [];
    const unsubscribe = lab.driver.subscribe((event) => deaths.push(event.networkId));
    await lab.driver.ensureNetwork({ ...labNetwork, leaseSeconds: 7200 }, [one, two].map(host));
    const after = await servers();
    expect(after).toHaveLength(1);
    expect(after[0]?.pid).not.toBe(before?.pid);
    expect(await two.lease()).toContain('lease=7200\n');
    expect(deaths).toEqual([]);
    unsubscribe();
  });

  it('N13: it serves a network of four thousand addresses, and gives three hundred leases at once', async () => {
    const many = Array.from({ length: 4000 }, (_, n): DhcpHost => ({
      mac: `02:16:3e:01:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
      address: `10.45.${1 + (n >> 8) % 15}.${n & 255}`, hostname: `i-${n}`,
    })).filter((entry, index, list) => list.findIndex((other) => other.address === entry.address) === index);
    await lab.driver.ensureNetwork(labNetwork, [host(two), ...many]);
    expect(await two.lease()).toContain(`ip=${two.address}\n`);
    const { stdout } = await two.run('busybox', ['nslookup', '-type=a', 'i-1700.novalocal', labNetwork.gateway]);
    expect(stdout).toContain('10.45.7.164');
    // Clients with other MACs than their port's: no rule may be in their way.
    await lab.run('nft', ['-f', '-'], { input: 'delete table inet novact\ndelete table bridge novact\n' });
    const given = (await leaseMany(two, many.slice(0, 300).map(({ mac }) => mac))).trim().split('\n');
    expect(given.toSorted()).toEqual(many.slice(0, 300).map(({ mac, address }) => `${mac} ${address}`).toSorted());
    await open();
  });
});

describe('the rules as a whole', () => {
  it('two hundred ports are in force, and unchanged rules are left alone', async () => {
    const ports = Array.from({ length: 200 }, (_, n) => ({
      instanceId: `i-${n}`, tap: `nvtap${n}`, bridge: labNetwork.bridge, mac: `02:16:3e:02:00:${n.toString(16).padStart(2, '0')}`, address: `10.45.2.${n}`,
      ingress: [tcp(22, anyone), ping(anyone), tcp(1000 + n, '10.0.0.0/8', '192.168.0.0/16')],
    }));
    const wish = lab.firewall(ports);
    const live = async () => (await lab.run('nft', ['-a', 'list', 'table', 'inet', 'novact'])).stdout; // Handles change when a table is made again.
    await lab.driver.applyFirewall(wish);
    const before = await live();
    for (const { address } of ports) expect(before).toContain(`"novact0" . ${address} : goto `);
    await lab.driver.applyFirewall(wish);
    expect(await live()).toBe(before);
    await open();
    await lab.driver.applyFirewall(wish);
    expect(await live()).not.toBe(before);
  });

  it('rules that somebody flushed come back though the wish is the same', async () => {
    await open(tcp(22, anyone));
    const before = await rulesInForce(lab.run);
    for (const done of [['flush', 'table', 'inet', 'novact'], ['delete', 'table', 'bridge', 'novact']]) {
      await lab.run('nft', done);
      await open(tcp(22, anyone));
      expect(await rulesInForce(lab.run)).toBe(before);
    }
  });

  it('a foreign rule that drops everything is told of, with the remedy', async () => {
    expect(await lab.driver.foreignDropNotices()).toEqual([]);
    await lab.run('nft', ['chain ip filter FORWARD { policy drop; }']);
    const [notice] = await lab.driver.foreignDropNotices();
    await lab.run('nft', ['chain ip filter FORWARD { policy accept; }']);
    expect(notice).toContain('ip filter FORWARD');
    expect(notice).toContain('iptables -I FORWARD -i BRIDGE -j ACCEPT');
  });

  it('N11: rules of others are byte for byte as they were', async () => {
    expect(await foreignNow()).toBe(foreignBefore);
  });

  it('a bridge of others is left alone, and the network refused', async () => {
    await lab.run('ip', ['link', 'add', 'theirs', 'type', 'bridge']);
    await expect(lab.driver.ensureNetwork({ ...labNetwork, id: 'net-2', bridge: 'theirs' }, [])).rejects.toThrow("not novact's");
    await lab.driver.removeAll([{ ...labNetwork, bridge: 'theirs' }]);
    await lab.run('ip', ['link', 'show', 'theirs']);
  });

  it('removing all leaves nothing of novact and everything of others', async () => {
    await lab.driver.ensureNetwork(labNetwork, [host(one)]);
    await open(tcp(22, anyone));
    await lab.driver.removeAll([labNetwork]);
    await lab.driver.removeAll([labNetwork]);
    expect(await servers()).toEqual([]);
    expect((await lab.run('ip', ['link', 'show', labNetwork.bridge], { okCodes: [0, 1] })).code).toBe(1);
    expect((await lab.run('nft', ['list', 'tables'])).stdout).toBe('table ip filter\ntable inet other\n');
    expect((await lab.run('cat', ['/proc/sys/net/ipv4/ip_forward'])).stdout.trim()).toBe('0');
    expect((await lab.run('ls', ['-A', lab.stateDirectory])).stdout.trim()).toBe('lease');
    expect(await foreignNow()).toBe(foreignBefore);
  });
});
