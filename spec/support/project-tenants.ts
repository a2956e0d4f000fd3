// What networks of two projects with one range are to each other, on two hosts in network namespaces, as a suite over the manager that makes them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inGuest, projectLab, serveWord, type LabHost, type ProjectGuest, type ProjectLab, type ProjectNetwork } from './project-lab.ts';

const range = { cidr: '10.0.0.0/24', gateway: '10.0.0.1' };

const given = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('not there');
  return value;
};

export interface TenantsOptions {
  /** Begins every namespace: unlike that of any other spec. */
  readonly name: string;
  readonly manager: 'vlan' | 'vxlan';
  /** The numbers of both networks. */
  readonly segments: readonly [number, number];
  /** See ProjectLabOptions. */
  readonly isSwitched?: boolean;
  /** Registers more tests, of what these guests were given. */
  readonly also?: (world: () => Tenants) => void;
}

/** Of each project a guest on both hosts: red and blue on the first one, then on the second. */
export interface Tenants {
  readonly lab: ProjectLab;
  readonly guests: readonly ProjectGuest[];
  /** Networks, DHCP and rules of all of them on both hosts, as the role wishes them at its rounds. */
  ensureAll(): Promise<unknown>;
}

/** Registers the suite. */
export function projectTenants({ name, manager, segments, isSwitched = false, also }: TenantsOptions): void {
  describe(`two projects with the same range on two hosts, by ${manager}${isSwitched ? ' of Open vSwitch' : ''}`, () => {
    const red: ProjectNetwork = { ...range, projectId: 'red', routerId: 'vpc-red00000000000000', segment: segments[0] };
    const blue: ProjectNetwork = { ...range, projectId: 'blue', routerId: 'vpc-blue0000000000000', segment: segments[1] };
    let lab: ProjectLab;
    let left: LabHost;
    let right: LabHost;
    let guests: ProjectGuest[] = [];
    let [redLeft, redRight, blueLeft, blueRight]: (ProjectGuest | undefined)[] = [];
    const stops: (() => void)[] = [];
    const ensureAll = () => Promise.all(lab.hosts.map((host) => lab.ensure(host, guests)));

    beforeAll(async () => {
      lab = await projectLab(name, { hosts: 2, manager, isSwitched });
      [left, right] = [given(lab.hosts[0]), given(lab.hosts[1])];
      await left.driver.probe(manager === 'vlan' ? { kind: manager, interface: lab.trunk } : { kind: manager });
      redLeft = await lab.guest(left, red, 10);
      blueLeft = await lab.guest(left, blue, 10);
      redRight = await lab.guest(right, red, 11);
      blueRight = await lab.guest(right, blue, 11);
      guests = [redLeft, blueLeft, redRight, blueRight];
      await ensureAll();
      for (const guest of guests) stops.push(await serveWord(inGuest(guest), `${guest.network.projectId} ${guest.host.name}`, 80));
    });
    afterAll(async () => {
      for (const stop of stops) stop();
      await lab?.down();
    });

    it('N3: every guest gets its address, gateway, domain and MTU from the DHCP server of its own host, however closed its groups are', async () => {
      for (const host of lab.hosts) await lab.ensure(host, guests, []);
      for (const guest of guests) {
        const said = await guest.lease();
        expect(said).toContain(`ip=${guest.port.address}\n`);
        expect(said).toContain('router=10.0.0.1\n');
        expect(said).toContain('mtu=1450\n');
      }
      await ensureAll();
    });

    it('N4: guests of one project reach each other across hosts, and never one of the other project', async () => {
      expect(await given(redLeft).hears('10.0.0.11', 80)).toBe('red h2 to 10.0.0.10');
      expect(await given(blueLeft).hears('10.0.0.11', 80)).toBe('blue h2 to 10.0.0.10');
      expect(await given(redRight).hears('10.0.0.10', 80)).toBe('red h1 to 10.0.0.11');
      expect(await given(blueRight).hears('10.0.0.10', 80)).toBe('blue h1 to 10.0.0.11');
    });

    it('the router of a network reaches the guests of its host, as an operator does who enters its namespace', async () => {
      const said = async (host: LabHost, guest: ProjectGuest) =>
        (await host.inRouter(guest.network)('nc', ['-w', '3', guest.port.address, '80'], { okCodes: [0, 1] })).stdout.trim();
      for (const guest of guests) expect(await said(guest.host, guest)).toBe(`${guest.network.projectId} ${guest.host.name} to 10.0.0.1`);
    });

    it('packets of the full MTU pass unfragmented', async () => {
      expect((await given(redLeft).run('ping', ['-c', '1', '-W', '2', '-M', 'do', '-s', '1422', '10.0.0.11'])).code).toBe(0);
    });

    it('N3: names resolve, also those of guests on the other host', async () => {
      const { stdout } = await given(redLeft).run('busybox', ['nslookup', '-type=a', `i-${red.segment}-11.novalocal`, '10.0.0.1']);
      expect(stdout).toContain('10.0.0.11');
      const foreign = await given(redLeft).run('busybox', ['nslookup', '-type=a', `i-${blue.segment}-11.novalocal`, '10.0.0.1'], { okCodes: [0, 1] });
      expect(foreign.code).toBe(1);
    });

    it('N7: the outside sees the host, for guests of either project at the same time', async () => {
      stops.push(await serveWord(['ip', 'netns', 'exec', `${name}-w`], 'outside', 7000));
      const answers = await Promise.all(guests.map((guest) => guest.hears('198.51.100.254', 7000)));
      expect(answers).toEqual(guests.map((guest) => `outside to ${guest.host.address}`));
    });

    it('a guest reaches nothing of its host, nor of another project by its router', async () => {
      stops.push(await serveWord(['ip', 'netns', 'exec', left.namespace], 'host', 9000));
      expect(await given(redLeft).hears(left.address, 9000)).toBeUndefined();
      const { stdout } = await left.run('ip', ['-j', 'address', 'show']);
      const transits = (JSON.parse(stdout) as { addr_info: { local: string }[] }[]).flatMap((link) => link.addr_info).map((entry) => entry.local)
        .filter((address) => address.startsWith('169.254.64.'));
      expect(transits).toHaveLength(2);
      for (const address of transits) expect(await given(redLeft).hears(address, 9000)).toBeUndefined();
      expect(await given(redLeft).hears('10.0.0.1', 9000)).toBeUndefined();
    });

    also?.(() => ({ lab, guests, ensureAll }));
  });
}
