// Networks of projects as VLANs that Open vSwitch tags, on two hosts in network namespaces: what this machine's kernel needs no 8021q for. By the kernel:
// spec/lab/vlan.spec.ts.
import { expect, it } from 'vitest';
import { projectTenants, type Tenants } from '../support/project-tenants.ts';

const segments = [101, 102] as const;
const framesMin = 24;

/** The names of the ports that each host's switch has beside its own and the cable. */
async function portsOf({ lab }: Tenants): Promise<string[][]> {
  return Promise.all(lab.hosts.map(async (host) => {
    const { stdout } = await host.run('ovs-vsctl', ['--timeout=30', 'list-ports', lab.trunk]);
    return stdout.split('\n').filter((line) => line.startsWith('nv')).toSorted();
  }));
}

/** What each guest hears of its neighbour on the other host. */
const heard = ({ guests }: Tenants) =>
  Promise.all(guests.map((guest) => guest.hears(guest.port.address.endsWith('.10') ? '10.0.0.11' : '10.0.0.10', 80)));

projectTenants({
  name: 'nvl', manager: 'vlan', segments, isSwitched: true,
  also(world) {
    it('N4: every frame between the hosts has the number of its project, and there are those of both', async () => {
      const { lab, guests } = world();
      const filter = 'net 10.0.0.0/24 or (vlan and net 10.0.0.0/24)';
      const watching = lab.outside('timeout', ['60', 'tcpdump', '-nne', '-l', '-c', String(framesMin), '-i', 'g1', filter], { timeoutMs: 70_000 });
      const asking = guests.slice(0, 2).map((guest) => guest.run('ping', ['-c', '40', '-i', '0.2', '-W', '2', '10.0.0.11'], { okCodes: [0, 1] }));
      const frames = (await watching).stdout.split('\n').filter((line) => line !== '');
      await Promise.all(asking);
      const numbersOf = (mac: string) => [...new Set(frames.filter((line) => line.includes(mac)).map((line) => Number(/\bvlan (\d+)\b/.exec(line)?.[1])))];
      expect(frames.length).toBeGreaterThanOrEqual(framesMin);
      expect(frames.every((line) => line.includes('802.1Q'))).toBe(true);
      expect([numbersOf('02:16:3e:00:01:'), numbersOf('02:16:3e:00:02:')]).toEqual([[101], [102]]);
    });

    it('a switch that was killed and is back carries them again from the next round on, and a port with another number is mended', async () => {
      const { lab, ensureAll } = world();
      const expected = await heard(world());
      expect(expected.every((word) => word !== undefined)).toBe(true);
      const [first] = lab.switches;
      await first?.kill();
      expect((await heard(world())).every((word) => word === undefined)).toBe(true);
      await first?.start();
      await lab.hosts[1]?.run('ovs-vsctl', ['--timeout=30', 'set', 'port', 'nvsl101', 'tag=102']);
      await ensureAll();
      expect(await heard(world())).toEqual(expected);
    });

    it('leaves no port in the switches when the networks go', async () => {
      const { lab, guests } = world();
      expect(await portsOf(world())).toEqual([['nvsl101', 'nvsl102'], ['nvsl101', 'nvsl102']]);
      for (const guest of guests) await guest.host.driver.removeNetwork(guest.host.spec(guest.network));
      expect(await portsOf(world())).toEqual([[], []]);
      expect(lab.switches).toHaveLength(2);
    });
  },
});
